"""Patterns of names, in which ``*`` stands for any text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def glob_matches(glob: str, name: str) -> bool:
    """Whether a name is what a pattern stands for; takes no longer than it has to."""
    first, *rest = glob.split("*")
    if not rest:
        return name == glob
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def is_for(globs: Iterable[str], variant: str) -> bool:
    """Whether one of a row's patterns is for a variant, by its name."""
    return any(glob_matches(glob, variant) for glob in globs)
