"""What the README says is so: its commands, what it shows of their output, its Python, and its lists."""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import pytest
import torch

from converters import load_model
from converters.cli import overview
from converters.cli.main import main
from converters.cli.parser import parse
from converters.mapping.catalog import layout_names
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ").split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind in ("sh", "console")
    for line in text.splitlines()
    if line.startswith(("convert ", "$ convert "))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file of the README's first example."""
    folder = tmp_path_factory.mktemp("readme")
    vmz_files.write(folder / "ircsn_152.pkl", "ir-csn-152", seed=3)
    return folder


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first column has this head."""
    found = re.search(rf"^\| {head} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one(line: str) -> None:
    words = shlex.split(line)[1:]
    assert callable(parse(words).run)


def test_every_command_is_there() -> None:
    shown = {line.split()[1] for line in COMMANDS}
    assert {*overview.COMMANDS, "auto", "onnx", "vmz", "i3d", "c3d", "tsn", "slowfast", "nonlocal"} - {
        "demo"
    } <= shown
    assert "make demo" in README


def test_the_first_example(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    name = "irCSN_152_ft_kinetics_from_ig65m_f126851907.pkl"
    (tmp_path / name).symlink_to(folder / "ircsn_152.pkl")
    monkeypatch.chdir(tmp_path)
    command, *shown = next(text for kind, text in BLOCKS if kind == "console").splitlines()
    assert main(shlex.split(command)[2:]) == 0
    printed = capsys.readouterr().out.splitlines()
    times = re.compile(r"in [\d.]+ s$")
    assert [times.sub("", line) for line in printed] == [times.sub("", line) for line in shown]


def test_the_python(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    torch.manual_seed(1)
    names: dict = {"clip": torch.randn(1, 3, 8, 48, 48)}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 400)
    assert torch.equal(names["blocks"]["logits"], names["logits"])
    assert len(names["result"].rows) == len(names["model"].state_dict())


def test_the_lists() -> None:
    layouts = {name for row in rows("layout") for name in re.findall(r"`([\w-]+)`", row[0])}
    assert {*layout_names()} <= layouts | {"nonlocal-affine"}
    assert {*layouts} <= {*layout_names()}

    keywords = {name for row in rows("keyword") for name in re.findall(r"`(\w+)`", row[0])}
    assert keywords == {*inspect.signature(load_model).parameters} - {"path"}

    codes = dict(re.findall(r"^  (\d+) +(.*)$", overview.EXIT_CODES, re.MULTILINE))
    assert {row[0]: row[1].rstrip(" |") for row in rows("code")} == codes

    extras = {
        name for found in re.findall(r"pip install '\.\[([\w,]+)\]'", README) for name in found.split(",")
    }
    with open(REPOSITORY / "pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    assert extras == {*declared} - {"dev", "tensorflow"}
