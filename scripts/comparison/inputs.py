"""Input files, and the cases that convert them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.registry import usual_suffix
from converters.mapping.layout_tables import load_layout

from .cases import Case

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Inputs:
    """A folder of input files, and the list of cases so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[Case] = []

    def path(self, name: str) -> Path:
        """Where an input goes; its folder is made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str, words: str, output: str, then: Sequence[Case] = ()) -> None:
        """Add a case."""
        self.cases.append(Case(name, words.split(), output, then))

    def add_both(self, name: str, words: str, output: str, back: str, back_output: str) -> None:
        """Add a case, and one that converts its output back."""
        self.add(name, words, output, [Case(f"{name} -> back", back.split(), back_output)])


def suffix(layout: str) -> str:
    """The suffix of files in a layout's own format."""
    return usual_suffix(load_layout(layout).format)
