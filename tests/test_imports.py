"""What commands import: start-up is half of a small conversion, and torch's alone would be ten times it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from converters import convert
from tests.helpers.paths import REPOSITORY

CODE = """
import json, sys
before = set(sys.modules)
from converters.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(set(sys.modules) - before)]), file=sys.stderr)
"""

HEAVY = {
    "asyncio",
    "concurrent",
    "ctypes",
    "difflib",
    "email",
    "http",
    "importlib.metadata",
    "importlib.resources",
    "logging",
    "multiprocessing",
    "pathlib",
    "pickle",
    "safetensors",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "typing_extensions",
    "unittest",
    "urllib",
    "zipfile",
}


def imported(*words: object, code: int = 0) -> set[str]:
    """The modules that a command imports in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    found, modules = json.loads(done.stderr.splitlines()[-1])
    assert found == code, done.stderr
    assert "converters.cli.main" in modules
    return set(modules)


@pytest.fixture(scope="module")
def outputs(r2d, tmp_path_factory):
    """One file of each output format."""
    folder = tmp_path_factory.mktemp("outputs")
    paths = [folder / "out.pth", folder / "out.safetensors"]
    for path in paths:
        convert(r2d, path, source="vmz")
    return paths


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
def test_a_conversion_imports_neither_torch_nor_numpy(r2d, tmp_path, name):
    modules = imported("vmz", r2d, tmp_path / name)
    assert (tmp_path / name).stat().st_size > r2d.stat().st_size * 0.99
    commands = {
        name.removeprefix("converters.cli.") for name in modules if name.startswith("converters.cli.")
    }
    assert commands == {"main", "overview", "parser", "options", "convert"}
    assert not any(name.startswith("converters.batches") for name in modules)
    assert not modules & {"torch", "numpy", *HEAVY}


def test_other_layouts_and_verification_do_not_either(r2d, tmp_path):
    assert not imported("auto", r2d, tmp_path / "out.pth", "--to", "native") & {
        "torch",
        "numpy",
        *HEAVY,
    }


@pytest.mark.parametrize("index", [0, 1])
def test_the_way_back_does_not_either(outputs, tmp_path, index):
    modules = imported("vmz-pt", outputs[index], tmp_path / "back.pkl", "--to", "vmz")
    assert not modules & {"torch", "numpy", *HEAVY}


def test_a_mapping_of_ones_own_imports_neither(r2d, tmp_path):
    names = [
        row.source for row in convert(r2d, tmp_path / "x.pth", source="vmz", dry_run=True).rows if row.source
    ]
    rows = "".join(f'"{name}" = "my.{name}"\n' for name in names)
    (tmp_path / "map.toml").write_text(f"[tensors]\n{rows}")
    modules = imported(r2d, tmp_path / "out.pth", "--mapping", tmp_path / "map.toml")
    assert not modules & {"torch", "numpy", *HEAVY}


def test_planning_imports_neither(r2d, tmp_path):
    modules = imported("vmz", r2d, tmp_path / "out.pth", "--dry-run")
    assert not modules & {"torch", "numpy", *HEAVY}
    assert not any(name.startswith("converters.formats.pytorch.writer") for name in modules)


def test_inspecting_imports_neither(r2d, outputs):
    for path in (r2d, *outputs):
        assert not imported("inspect", path) & {"torch", "numpy", "hashlib", *HEAVY}


def test_only_statistics_import_numpy(r2d):
    modules = imported("inspect", r2d, "--stats")
    assert "numpy" in modules
    assert "torch" not in modules


def test_the_version_imports_next_to_nothing():
    modules = imported("--version")
    assert not modules & {"argparse", "json", "typing", "re", "tomllib", "collections", "converters.errors"}
    assert {name for name in modules if name.startswith("converters.")} == {
        "converters._version",
        "converters.cli",
        "converters.cli.main",
    }


@pytest.mark.parametrize("command", ["inspect", "verify", "diff", "batch", "publish", "suggest", "inflate"])
def test_the_help_of_a_command_imports_no_tables(command):
    modules = imported(command, "--help")
    assert "tomllib" not in modules
    ours = {name for name in modules if name.startswith(("converters.mapping", "converters.conversion"))}
    assert ours <= {"converters.conversion", "converters.conversion.options"}


def test_the_table_and_the_help_read_no_file(tmp_path):
    for words in (["models"], ["--help"], ["--version"], ["vmz", "--help"]):
        modules = imported(*words)
        assert not modules & {"torch", "numpy", "hashlib", *(HEAVY - {"shutil"})}
        assert "converters.formats.checkpoint" not in modules


@pytest.mark.parametrize("module", ["run", "worker"])
def test_a_batch_starts_without_what_only_some_rows_need(module):
    code = f"import converters.batches.{module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    allowed = {"subprocess"} if module == "run" else set()
    assert not set(done.stdout.split()) & {"torch", "numpy", "dataclasses", *(HEAVY - allowed)}


def test_a_change_of_values_imports_numpy_but_not_torch(r3d, tmp_path):
    modules = imported("vmz", r3d, tmp_path / "out.pth", "--to", "torchvision")
    assert "numpy" in modules
    assert "torch" not in modules


def test_an_error_imports_no_more(tmp_path):
    (tmp_path / "page.pkl").write_text("<html></html>")
    modules = imported("vmz", tmp_path / "page.pkl", tmp_path / "out.pth", code=3)
    assert not modules & {"torch", "numpy", "hashlib", *HEAVY}


def test_the_package_itself_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", "import converters, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    modules = set(done.stdout.split())
    assert "converters" in modules
    assert not modules & {"torch", "numpy", "converters.conversion.convert", "argparse"}


def test_equal_files_are_compared_without_numpy(r2d, outputs):
    assert not imported("diff", r2d, outputs[0]) & {"torch", "numpy", "hashlib", *HEAVY}
