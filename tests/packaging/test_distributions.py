"""The wheel and the sdist, installed without anything around them, and the files for other people's pipelines."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from converters import __version__
from converters.mapping.table_files import layout_names, network_names
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY

pytestmark = pytest.mark.full


def run(*words: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """A folder with the wheel, built from the sdist, which was built from the files that git has."""
    folder = tmp_path_factory.mktemp("dist")
    names = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")[:-1]
    with tarfile.open(folder / "checkout.tar", "w") as archive:
        for name in names:
            if (REPOSITORY / name).exists():
                archive.add(REPOSITORY / name, name)
    with tarfile.open(folder / "checkout.tar") as archive:
        archive.extractall(folder / "checkout", filter="data")
    (folder / "checkout.tar").unlink()
    build = "from hatchling.build import {0} as build; print(build({1!r}))"
    run(sys.executable, "-c", build.format("build_sdist", str(folder)), cwd=folder / "checkout")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (unpacked,) = (folder / "sdist").iterdir()
    run(sys.executable, "-c", build.format("build_wheel", str(folder)), cwd=unpacked)
    return folder


def test_nothing_is_at_top_level_but_the_package(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"converters", f"video_checkpoint_converters-{__version__}.dist-info"}
    inside = {name.removeprefix("converters/_tables/") for name in names if "/_tables/" in name}
    assert {f"layouts/{name}.toml" for name in layout_names()} <= inside
    assert {f"networks/{name}.toml" for name in network_names()} <= inside
    assert {"releases.toml", "labels/kinetics-400.txt"} <= inside
    assert not [name for name in names if name.endswith((".pyc", ".pkl", ".pth"))]


def test_the_sdist_has_what_a_build_and_the_tests_need(distributions: Path) -> None:
    (unpacked,) = (distributions / "sdist").iterdir()
    for name in ("converters", "mappings", "tests", "scripts", "docs", "Makefile", "LICENSE", "README.md"):
        assert (unpacked / name).exists(), name


def test_the_installed_wheel_works_outside_of_a_checkout(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    packages = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    import numpy

    (packages / "numpy").symlink_to(Path(numpy.__file__).parent)
    for libraries in Path(numpy.__file__).parent.parent.glob("numpy.libs"):
        (packages / "numpy.libs").symlink_to(libraries)
    vmz_files.write(tmp_path / "in.pkl", "r2d-18", seed=1)
    convert = (python, "-I", "-m", "converters")
    assert __version__ in run(*convert, "--version", cwd=tmp_path)
    assert "ir-csn-152" in run(*convert, "models", cwd=tmp_path)
    assert "r2d-18" in run(*convert, "vmz", "in.pkl", "out.pth", "--check", cwd=tmp_path)
    run(*convert, "vmz-pt", "out.pth", "back.pkl", "--to", "vmz", cwd=tmp_path)
    run(*convert, "diff", "in.pkl", "back.pkl", cwd=tmp_path)


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_wheel_works_on_later_pythons(distributions: Path, tmp_path: Path, version: str) -> None:
    """What needs no numpy does, with an interpreter that has nothing but the standard library."""
    python = later_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    vmz_files.write(tmp_path / "in.pkl", "r2d-18", seed=1)
    code = "import sys; sys.path[:0] = ['site']; from converters.cli.main import main; sys.exit(main())"
    convert = (python, "-I", "-W", "error", "-c", code)
    assert "ir-csn-152" in run(*convert, "models", cwd=tmp_path)
    assert "r2d-18" in run(*convert, "vmz", "in.pkl", "out.pth", cwd=tmp_path)
    run(*convert, "vmz-pt", "out.pth", "back.pkl", "--to", "vmz", cwd=tmp_path)
    assert "r2d-18" in run(*convert, "inspect", "out.pth", cwd=tmp_path)
    run(*convert, "diff", "in.pkl", "back.pkl", cwd=tmp_path)


def later_python(version: str) -> str | None:
    """An interpreter of that version: on the path, or of pyenv."""
    places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return shutil.which(f"python{version}") if not places else str(places[-1])


@pytest.fixture(scope="module")
def action() -> dict:
    return yaml.safe_load((REPOSITORY / "action.yml").read_text())


def steps(action: dict, *names: str) -> list[dict]:
    return [step for name in names for step in action["runs"]["steps"] if step.get("name") == name]


def values_of(step: dict, inputs: dict[str, str]) -> dict[str, str]:
    """A step's environment, with the inputs filled in as GitHub does it."""
    found = {}
    for key, text in step["env"].items():
        found[key] = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda name: inputs[name[1]], text)
        assert "${{" not in found[key]
    return found


@pytest.mark.parametrize("right", [True, False])
def test_the_action_converts_and_verifies(action: dict, right: bool, r2d: Path, tmp_path: Path) -> None:
    inputs = {name: str(row.get("default", "")) for name, row in action["inputs"].items()}
    inputs |= {"source": str(r2d), "output": "out file.pth", "to": "vmz-pt"}
    if not right:
        vmz_files.write(tmp_path / "other.pkl", "r2d-18", seed=9)
        run(
            sys.executable,
            "-m",
            "converters",
            "vmz",
            "other.pkl",
            "out file.pth",
            cwd=tmp_path,
            PYTHONPATH=str(REPOSITORY),
        )
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    command = bin_folder / "video-checkpoint-convert"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m converters "$@"\n')
    command.chmod(0o755)
    codes = []
    for step in steps(action, "Convert", "Verify"):
        environment = {**os.environ, **values_of(step, inputs), "PYTHONPATH": str(REPOSITORY)}
        environment["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
        # As GitHub runs `shell: bash`.
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        codes.append(done.returncode)
    assert codes == ([0, 0] if right else [0, 1])
    assert {path.name for path in tmp_path.glob("proof.*")} == {"proof.html", "proof.json", "proof.xml"}


def test_inputs_reach_the_steps_through_the_environment_alone(action: dict) -> None:
    """So that a name with shell syntax in it is a name."""
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_release_is_published_without_a_token() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text())
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in (REPOSITORY / ".github" / "workflows" / "release.yml").read_text()


def test_the_citation_names_the_project() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["title"] == "video-checkpoint-converters"
    assert citation["license"] == "Apache-2.0"
    assert [*citation["authors"][0]] == ["name"]
