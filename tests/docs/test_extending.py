"""docs/extending.md is carried out: its files are written into a copy of the checkout, its conversions run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path  # noqa: TC003 - a fixture's type
from typing import NamedTuple

import pytest

from tests.docs.test_pages import blocks_of
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "extending.md"
PLACE = re.compile(r"\bin (\S+)(?: (under|after) (.+))?$")


class Edit(NamedTuple):
    """Text of the page and the file it belongs in: the whole file, or lines below the one that says ``anchor``."""

    path: str
    anchor: str
    text: str


EDITS = [
    Edit(place[1], place[3] or "", block.text)
    for block in blocks_of(PAGE)
    if (place := PLACE.search(block.words))
]


def edits_of(word: str) -> list[Edit]:
    """The edits of one example, which all have ``word`` in their text or their path."""
    return [edit for edit in EDITS if word in edit.path or (edit.anchor and word in edit.text)]


class Checkout:
    """A copy of the package and its tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("converters", "mappings", "scripts"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)

    def apply(self, edits: list[Edit]) -> int:
        """Make the edits; returns in how many places: files that change, and folders that are new."""
        assert edits
        places = set()
        for edit in edits:
            path = self.folder / edit.path
            if edit.anchor:
                text = path.read_text()
                line = next(line for line in text.splitlines(keepends=True) if line.strip() == edit.anchor)
                path.write_text(text.replace(line, line + edit.text, 1))
                places.add(path)
            else:
                places.add(path if path.parent.exists() and path.parent not in places else path.parent)
                path.parent.mkdir(exist_ok=True)
                assert not path.exists()
                path.write_text(edit.text)
        return len(places)

    def run(self, *words: object) -> str:
        """Run Python in the copy; returns what it prints."""
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def convert(self, *words: object) -> str:
        """Run the command line in the copy."""
        return self.run("-m", "converters", *words)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def ircsn(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vmz") / "ircsn_26.pkl"
    vmz_files.write(path, "ir-csn-26", seed=2)
    return path


def test_every_file_of_the_page_is_in_an_example() -> None:
    words = ("r3d-early", "example-port", "flat", "tinynet")
    assert sorted(edit for word in words for edit in edits_of(word)) == sorted(EDITS)


def test_a_type_is_one_place(checkout: Checkout) -> None:
    assert checkout.apply(edits_of("r3d-early")) == 1
    checkout.run("-m", "converters.mapping.check")
    assert "r3d-early-18" in checkout.convert("models")


def test_a_layout_is_one_file(checkout: Checkout, ircsn: Path) -> None:
    assert checkout.apply(edits_of("example-port")) == 1
    checkout.run("-m", "converters.mapping.check")
    checkout.convert("vmz", ircsn, "port.pth", "--to", "example-port", "--check")
    checkout.convert("example-port", "port.pth", "back.pkl", "--to", "vmz")
    checkout.convert("diff", ircsn, "back.pkl")


def test_a_format_is_a_folder_and_a_line(checkout: Checkout, ircsn: Path) -> None:
    assert checkout.apply(edits_of("flat")) == 2  # and tests
    checkout.convert("vmz", ircsn, "out.flat", "--check")
    assert "flat file" in checkout.convert("inspect", "out.flat")
    checkout.convert("vmz-pt", "out.flat", "back.pkl", "--to", "vmz")
    checkout.convert("diff", ircsn, "back.pkl")


def test_a_family_has_eight_places_and_both_sides_agree(checkout: Checkout) -> None:
    edits = edits_of("tinynet")
    assert checkout.apply(edits) == len(edits) == 5  # and releases, recorder, goldens, one line in the README
    checkout.run("-m", "converters.mapping.check")
    assert "all agree" in checkout.run("scripts/check_parity.py", "--only", "tinynet-8")
