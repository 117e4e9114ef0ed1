"""What names tell: roles, words, numbers. A name is evidence like any other, and may tell nothing."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBER = re.compile(r"(\d+)")
_WORD = re.compile(r"[a-z]+|\d+")
_LAST = re.compile(r"[A-Za-z]+(?=\d*$)")

_ROLES: Mapping[str, str] = {
    word: role
    for role, words in {
        "scale": "weight weights w gamma scale s",
        "shift": "bias biases b beta offset shift",
        "mean": "mean rm",
        "variance": "variance var rv riv",
    }.items()
    for word in words.split()
}


def role(name: str) -> str:
    """What a vector is called by the last word of its name: scale, shift, mean or variance; empty if unknown."""
    found = _LAST.search(name)
    return _ROLES.get(found[0].lower(), "") if found else ""


def words(name: str) -> Counter[str]:
    """The words and numbers of a name, in lower case, with how often it has them."""
    return Counter(_WORD.findall(name.lower()))


def likeness(one: Counter[str], other: Counter[str]) -> float:
    """From 0 to 1: how much of two names' words they have in common."""
    return (one & other).total() / max((one | other).total(), 1)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts numbers in names by value."""
    return tuple(
        (0, int(piece), piece) if piece.isdigit() and len(piece) < 20 else (1, 0, piece)
        for piece in NUMBER.split(name)
    )
