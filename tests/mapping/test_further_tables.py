"""Tables beside our own: of a caller, of the environment, of an installed package; right, and broken on purpose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path  # noqa: TC003 - a fixture's type

import numpy as np
import pytest
import torch

from converters import UsageError, convert, inspect, load_model, use_tables, verify
from converters.cli.main import main
from converters.mapping.check import main as check
from converters.mapping.further_tables import GROUP, VARIABLE, folders, only_our_tables
from converters.mapping.layout_tables import known_layout
from converters.mapping.releases import release_errors, releases
from converters.mapping.table_files import layout_names, roots
from tests.helpers import layout_weights
from tests.helpers.paths import REPOSITORY

PACKAGE = REPOSITORY / "docs" / "own-tables"
TABLES = PACKAGE / "gesture_tables"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A checkpoint of the example's network, with four classes."""
    path = tmp_path_factory.mktemp("gestures") / "gestures.pth"
    with use_tables(TABLES):
        shapes = layout_weights.shells("gesture-net", "gesture-r3d-10", classes=4)
    random = np.random.default_rng(0)
    state = {
        name: torch.from_numpy(random.random(tensor.shape, np.float32) * 0.1 + 0.02)
        for name, tensor in shapes.items()
    }
    torch.save(state, path)
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the example's tables, to be broken."""
    return shutil.copytree(TABLES, tmp_path / "tables")


def warnings_of(capsys, *words: object) -> tuple[int, str, str]:
    code = main([*map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_function_knows_them_in_a_block_and_not_after_it(file: Path, tmp_path: Path) -> None:
    before = layout_names()
    with use_tables(TABLES):
        assert inspect(file).layout == "gesture-net"
        model = load_model(file)
        assert model.labels == ("wave", "point", "thumb_up", "stop")
        assert model(torch.rand(1, 3, 8, 32, 32)).shape == (1, 4)
        convert(file, tmp_path / "native.pth", to="native", check=True)
        assert verify(file, tmp_path / "native.pth", require="functional").ok
        assert "gesture_r3d_10.pth" in {release.file for release in releases()}
    assert layout_names() == before
    with pytest.raises(UsageError, match="no layout 'gesture-net'"):
        known_layout("gesture-net")
    assert "gesture_r3d_10.pth" not in {release.file for release in releases()}


def test_the_option_stands_anywhere(capsys, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "native.pth"
    assert warnings_of(capsys, "--tables", TABLES, "models", "gesture")[1].count("gesture-r3d-10") == 1
    code, _, err = warnings_of(capsys, "gesture-net", file, out, "--to", "native", f"--tables={TABLES}")
    assert (code, err) == (0, "")
    code, printed, _ = warnings_of(capsys, "inspect", "--tables", TABLES, file, "--json")
    assert (code, json.loads(printed)["layout"]) == (0, "gesture-net")
    assert "no layout" in warnings_of(capsys, "inspect", file, "--layout", "gesture-net")[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("models", "--tables"), "names no folder"),
        (("models", "--tables", "--quiet"), "names no folder"),
        (("models", "--table", "x"), "write it in full"),
        (("models", "--tables", "nowhere"), "it does not exist"),
        (("models", "--tables", REPOSITORY / "tests" / "cli"), "it has none"),
    ],
)
def test_a_wrong_option_is_a_usage_error(capsys, words, expected: str) -> None:
    code, _, err = warnings_of(capsys, *words)
    assert code == 2
    assert expected in err


def test_the_environment_names_folders(capsys, monkeypatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, (nowhere, TABLES))))
    code, out, err = warnings_of(capsys, "models", "gesture")
    assert code == 0
    assert "gesture-net" in out
    assert err.count("warning:") == 1
    assert f"{nowhere}: is not a folder of tables: it does not exist; it is named by {VARIABLE}" in err


BROKEN = {
    "a layout": (
        "layouts/gesture-net.toml",
        "[modules.gesture_r3d]",
        "[modules.gesture_3d]",
        "there is no family 'gesture_3d'",
    ),
    "a network": ("networks/gesture_r3d.toml", '"stem", "blocks"', '"stem", "bloks"', "no part 'bloks'"),
    "a reference": ("networks/gesture_r3d.toml", '"resnet3d"', '"resnet3"', "no reference network 'resnet3'"),
    "a release": ("releases.toml", 'layout = "gesture-net"', 'layout = "gesture"', "no layout 'gesture'"),
    "a row": ("releases.toml", "classes = 4", 'classes = "4"', "must be a whole number"),
    "labels": ("layouts/gesture-net.toml", '"gestures" }', '"gesture" }', "no labels 'gesture'"),
    "no TOML": ("layouts/gesture-net.toml", "[[models]]", "[[models", "is not valid TOML"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_table_is_named_and_nothing_else_breaks(kind: str, copy: Path, capsys) -> None:
    place, before, after, sentence = BROKEN[kind]
    path = copy / place
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with only_our_tables():
        ours = len(releases())
    with use_tables(copy):
        assert len(releases()) - ours == (0 if place == "releases.toml" else 1)
        errors = [str(error) for error in release_errors()]
    code, out, err = warnings_of(capsys, "models", "r3d-18", "--tables", copy)
    assert code == 0
    assert "torchvision" in out
    (named,) = errors or [line for line in err.splitlines() if line.startswith("warning:")]
    assert str(path) in named
    assert sentence in named


def test_the_check_names_every_fault(copy: Path, capsys) -> None:
    for name in ("networks/gesture_r3d", "layouts/gesture-net"):
        path = copy / f"{name}.toml"
        path.write_text(f"wrong = 1\n{path.read_text()}")
    assert check([str(copy)]) == 1
    assert capsys.readouterr().err.count("unknown key 'wrong'") == 2


def test_a_table_of_a_name_that_is_taken_is_passed_over(copy: Path, capsys) -> None:
    (copy / "layouts" / "gesture-net.toml").rename(copy / "layouts" / "vmz.toml")
    shutil.copy(copy / "layouts" / "vmz.toml", copy / "layouts" / "onnx.toml")
    code, out, err = warnings_of(capsys, "models", "r2d-18", "--tables", copy)
    assert code == 0
    assert "r2d-18" in out
    assert f"{copy / 'layouts' / 'vmz.toml'}: is passed over: we have a table of that name" in err
    assert f"{copy / 'layouts' / 'onnx.toml'}: is passed over: no table may have that name" in err


def test_a_package_is_found_by_its_entry_point_and_never_imported(monkeypatch, tmp_path, capsys) -> None:
    shutil.copytree(TABLES, tmp_path / "gesture_tables" / "inner")
    for folder in ("gesture_tables", "gesture_tables/inner"):
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('the package was imported')\n")
    info = tmp_path / "gesture_tables-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gesture-tables\nVersion: 1.0\n")
    points = "good = gesture_tables.inner\ngone = no_such_package_at_all.tables\n"
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(tmp_path / "gesture_tables" / "inner") in folders()
    code, out, err = warnings_of(capsys, "models", "gesture")
    assert code == 0
    assert "gesture-net" in out
    assert err.count("warning:") == 1
    assert "it is named by the entry point gone = 'no_such_package_at_all.tables'" in err
    assert "gesture_tables" not in sys.modules
    with only_our_tables():
        assert len(roots()) == 1


def test_the_workers_of_a_batch_know_them(file: Path, tmp_path: Path) -> None:
    from converters import convert_batch

    manifest = tmp_path / "zoo.toml"
    manifest.write_text(
        f'[[convert]]\ninput = "{file}"\noutput = "{tmp_path}/out.pth"\nsource = "gesture-net"\nto = "native"\n'
    )
    with use_tables(TABLES):
        summary = convert_batch(manifest, jobs=1)
    assert [row["state"] for row in summary.rows] == ["converted"], summary.rows


def test_the_page_of_layouts_knows_them(tmp_path: Path) -> None:
    page = tmp_path / "layouts.md"
    words = ["scripts/support.py", "--tables", str(TABLES), "--out", str(page)]
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "`gesture_r3d_10.pth`" in text
    assert "`gesture-r3d-10`" in text


@pytest.mark.full
def test_the_example_package_is_installed_and_used(file: Path, tmp_path: Path) -> None:
    source = shutil.copytree(PACKAGE, tmp_path / "source")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (target, REPOSITORY)))}

    def run(*words: object, code: int = 0) -> str:
        done = subprocess.run(
            [*map(str, words)], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(*pip, "--target", target, source)
    command = (sys.executable, "-m", "converters")
    assert "gesture-net" in run(*command, "models", "gesture")
    run(*command, "gesture-net", file, "native.pth", "--to", "native", "--check")
    assert "wave" in run(
        sys.executable, "-c", "from converters import load_model; print(load_model('native.pth').labels)"
    )
    broken = target / "gesture_tables" / "layouts" / "gesture-net.toml"
    broken.write_text(broken.read_text().replace("gesture_r3d", "gesture"))
    said = run(*command, "models", "r3d-18")
    assert f"warning: {broken}" in said
    assert "torchvision" in said
