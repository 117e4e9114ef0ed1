"""What the pages say is so: their commands, what they show of the output, their Python, their TOML, and their lists.

Every page is tested: README.md and its neighbours, docs/*.md and mappings/README.md. A fenced block of `sh`,
`console`, `python`, `toml`, `json` or `yaml` is checked by its kind. ```` ```python no-run ```` is only compiled, and a
```` ```toml fragment ```` is not a whole document.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path  # noqa: TC003 - a field's type
from typing import NamedTuple

import pytest
import torch
import yaml

from converters import convert, load_model
from converters.batches.manifest import load_manifest
from converters.cli import overview
from converters.cli.main import main
from converters.cli.parser import parse
from converters.mapping.table_files import layout_names
from converters.mapping.user_mapping import load_mapping
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY

PAGES = sorted(
    {*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "mappings" / "README.md"}
)
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
COMMANDS = ("convert", "video-checkpoint-convert", "python -m converters")


class Block(NamedTuple):
    """A fenced block, with the line that it begins on. ``words`` are what follows its kind."""

    page: Path
    line: int
    kind: str
    words: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks_of(page: Path, kind: str = r"\w+") -> list[Block]:
    text = page.read_text()
    fences = re.finditer(rf"^( *)```({kind})([^\n]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(page, text.count("\n", 0, fence.start()) + 1, fence[2], fence[3].strip(), fence[4])
        for fence in fences
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def commands_of(block: Block) -> list[str]:
    """The command lines of a shell block: all of `sh`, those after a `$` of `console`; no comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.kind == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [stripped for line in lines if (stripped := re.split(r"(?:^|\s)#", line)[0].strip())]


SHELL = [(block, line) for block in of_kind("sh", "bash", "shell", "console") for line in commands_of(block)]
CONVERT = [(block, line) for block, line in SHELL if line.startswith(tuple(f"{name} " for name in COMMANDS))]
MAKE = [(block, line) for block, line in SHELL if line.startswith("make ")]


def arguments_of(line: str) -> list[str]:
    """The arguments of one of our commands, without what the shell does with its output."""
    name = next(name for name in COMMANDS if line.startswith(f"{name} "))
    return shlex.split(re.split(r"\s(?:>|\||&&)\s", line)[0].removeprefix(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file of the examples, and what it is converted to."""
    folder = tmp_path_factory.mktemp("pages")
    vmz_files.write(folder / "ircsn_152.pkl", "ir-csn-152", seed=3)
    convert(folder / "ircsn_152.pkl", folder / "out.pth", source="vmz", to="mmaction2")
    return folder


def table(page: str, head: str) -> list[list[str]]:
    """The cells of a page's table whose first column has this head."""
    text = (REPOSITORY / page).read_text()
    found = re.search(rf"^\| {head} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()]


@pytest.mark.parametrize(("block", "line"), CONVERT, ids=lambda value: str(value)[:60])
def test_every_command_is_one(block: Block, line: str) -> None:
    arguments = arguments_of(line)
    if arguments not in (["--help"], ["--version"]) and "--help" not in arguments:
        assert callable(parse(arguments).run)


@pytest.mark.parametrize(("block", "line"), MAKE, ids=lambda value: str(value)[:60])
def test_every_make_target_is_one(block: Block, line: str) -> None:
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in shlex.split(line)[1:] if "=" not in word} <= {*targets}


def test_every_command_is_shown() -> None:
    shown = {arguments_of(line)[0] for _, line in CONVERT}
    assert {*overview.COMMANDS, "auto", "onnx", "vmz", "i3d", "c3d", "tsn", "slowfast", "nonlocal"} - {
        "demo"
    } <= shown
    assert any(line == "make demo" for _, line in MAKE)


def test_the_first_example(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    name = "irCSN_152_ft_kinetics_from_ig65m_f126851907.pkl"
    (tmp_path / name).symlink_to(folder / "ircsn_152.pkl")
    monkeypatch.chdir(tmp_path)
    block = next(block for block in of_kind("console") if block.page == README)
    command, *shown = block.text.splitlines()
    assert main(arguments_of(command.removeprefix("$ "))) == 0
    printed = capsys.readouterr().out.splitlines()
    times = re.compile(r"in [\d.]+ s$")
    assert [times.sub("", line) for line in printed] == [times.sub("", line) for line in shown]


@pytest.mark.parametrize(
    "page", sorted({block.page for block in of_kind("python")}), ids=lambda page: page.name
)
def test_the_python(page: Path, folder: Path, tmp_path: Path, monkeypatch) -> None:
    """The blocks of a page run one after the other, beside the files that the examples name."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.pth").unlink()  # the first lines of a page write it
    torch.manual_seed(1)
    names: dict = {
        "clip": torch.randn(1, 3, 8, 48, 48),
        "frames": torch.zeros(40, 120, 160, 3, dtype=torch.uint8),
    }
    for block in blocks_of(page):
        if block.kind == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            if "no-run" not in block.words.split():
                exec(code, names)
    if page == README:
        assert names["logits"].shape == (1, 400)
    if page == REPOSITORY / "docs" / "python.md":
        assert torch.equal(names["blocks"]["logits"], names["logits"])
        assert names["clip"].shape == (1, 3, 32, 224, 224)
        assert len(names["result"].rows) == len(names["model"].state_dict())


@pytest.mark.parametrize(
    "block", [block for block in of_kind("toml") if "fragment" not in block.words.split()], ids=str
)
def test_the_toml(block: Block, tmp_path: Path) -> None:
    """A manifest and a mapping file are what they should be; all else is TOML at least."""
    document = tomllib.loads(block.text)
    path = tmp_path / "block.toml"
    path.write_text(block.text)
    if "convert" in document:
        assert load_manifest(path).rows
    elif "tensors" in document:
        assert load_mapping(str(path))


@pytest.mark.parametrize("block", of_kind("json", "yaml"), ids=str)
def test_the_data(block: Block) -> None:
    assert json.loads(block.text) if block.kind == "json" else yaml.safe_load(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    """Links to files of this repository, and to headings in them."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
            assert heading in anchors, target


def names_in(rows: list[list[str]]) -> set[str]:
    """What stands in backticks in the rows' first cells."""
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])}


def test_every_layout_that_is_listed_is_one() -> None:
    rows = [
        *table("docs/projects.md", "layout"),
        *table("README.md", "source"),
        *table("README.md", "target"),
    ]
    assert names_in(rows) <= {*layout_names()}


def test_the_lists() -> None:
    keywords = names_in(table("docs/python.md", "keyword"))
    assert keywords == {*inspect.signature(load_model).parameters} - {"path"}

    codes = dict(re.findall(r"^  (\d+) +(.*)$", overview.EXIT_CODES, re.MULTILINE))
    assert {row[0]: row[1].rstrip(" |") for row in table("docs/convert.md", "code")} == codes

    extras = {
        name
        for found in re.findall(r"pip install '\.\[([\w,]+)\]'", README.read_text())
        for name in found.split(",")
    }
    with open(REPOSITORY / "pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    assert extras == names_in(table("docs/getting-started.md", "extra")) == {*declared} - {"dev"}


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_in_the_site(page: Path) -> None:
    trees = [block.text.split() for block in blocks_of(DOCS / "index.md", kind=r"\{toctree\}")]
    listed = {name for words in trees for name in words}
    assert page.stem == "index" or page.stem in listed


def test_the_page_of_formats_is_up_to_date() -> None:
    text = runpy.run_path(str(REPOSITORY / "scripts" / "formats_page.py"))["text"]
    assert (DOCS / "formats.md").read_text() == text(), "run make reference"
