"""Similarity of names: roles, words and numbers in tensor names. A name may be no evidence at all."""

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


_ENDINGS = ("/.ATTRIBUTES/VARIABLE_VALUE", ":0")
"""What TensorFlow appends to a variable's name."""


def plain_name(name: str) -> str:
    """A name without what TensorFlow appends to every name."""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def role(name: str) -> str:
    """A vector's role by the last word of its name: scale, shift, mean or variance; empty if unknown."""
    match = _LAST.search(plain_name(name))
    return _ROLES.get(match[0].lower(), "") if match else ""


def words(name: str) -> frozenset[tuple[str, int]]:
    """The words and numbers of a name, in lower case; what occurs twice is there with 0 and with 1."""
    counts = Counter(_WORD.findall(plain_name(name).lower()))
    return frozenset((word, time) for word, times in counts.items() for time in range(times))


def likeness(left: frozenset[tuple[str, int]], right: frozenset[tuple[str, int]]) -> float:
    """How much of their words two names have in common, from 0 to 1."""
    common = len(left & right)
    return common / max(len(left) + len(right) - common, 1)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key for sorting names with the numbers in them by value."""
    return tuple(
        (0, int(piece), piece) if piece.isdigit() and len(piece) < 20 else (1, 0, piece)
        for piece in NUMBER.split(name)
    )
