"""How a row of a mapping file changes a tensor's axes: their order, how they are taken apart and put together.

The notation is that of einops: ``D H W I O -> O I D H W`` names the axes of both sides, ``(C H W)`` is one axis that
several were flattened into, the first one outermost, and ``1`` is an axis of size one.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Any

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .parse import Check

    Axes = tuple[tuple[str, ...], ...]

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_LETTER = re.compile(r"[A-Za-z]{1,8}")
MOST_AXES = 16
LARGEST_SIZE = 1 << 40
LONGEST = 1000
"""Characters of the text."""


class AxisChange(Record):
    """The axes of one tensor in both files: each is what it was flattened from, outermost first; nothing where its size
    is one. ``sizes`` are those that a flattened axis does not show."""

    left: Axes
    right: Axes
    sizes: Mapping[str, int]

    @property
    def order(self) -> tuple[int, ...]:
        """For each of the right side's plain axes its place among the left side's."""
        letters = _letters(self.left)
        return tuple([letters.index(letter) for letter in _letters(self.right)])

    def turned(self) -> AxisChange:
        """The way back."""
        return AxisChange(left=self.right, right=self.left, sizes=self.sizes)

    def sizes_in(self, shape: tuple[int, ...]) -> dict[str, int] | None:
        """The size of each plain axis in a tensor of the left file; None if its shape is another."""
        if len(shape) != len(self.left):
            return None
        found: dict[str, int] = {}
        for size, axis in zip(shape, self.left, strict=True):
            open_ = [letter for letter in axis if letter not in self.sizes]
            known = prod(self.sizes[letter] for letter in axis if letter in self.sizes)
            if size % known or (not open_ and size != known):
                return None
            found |= {letter: self.sizes.get(letter, size // known) for letter in axis}
        return found

    def right_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape in the right file, for the plain axes' sizes."""
        return tuple([prod(sizes[letter] for letter in axis) for axis in self.right])

    def wanted(self) -> str:
        """The left side's axes in words, for messages."""
        grouped = any(len(axis) > 1 for axis in self.left)
        ones = sum(not axis for axis in self.left)
        if not grouped and not self.sizes:
            return f"{len(self.left) - ones} axes and {ones} of size one"
        texts = [
            " x ".join(str(self.sizes.get(letter, letter)) for letter in axis) or "1" for axis in self.left
        ]
        return f"axes of {', '.join(texts)}"

    def text(self) -> str:
        """The axes as mapping files write them."""
        return f"{_side_text(self.left)} -> {_side_text(self.right)}"


def parse_axes(check: Check, where: str, text: object, sizes: object) -> AxisChange:
    """``"D H W I O -> O I D H W"``, or ``"O (C H W) -> O (H W C)"`` and a table of sizes."""
    check.that(isinstance(text, str) and len(str(text)) < LONGEST, where, "axes must be a string")
    left_text, arrow, right_text = str(text).partition("->")
    left, right = _parse_side(left_text), _parse_side(right_text)
    check.that(
        bool(arrow) and left is not None and right is not None,
        where,
        "axes must be such as 'D H W I O -> O I D H W' or 'O (C H) -> O (H C)', with any 1 before or after the others",
    )
    here, there = left or (), right or ()
    check.that(
        sorted(_letters(here)) == sorted(_letters(there)),
        where,
        "axes must be the same on both sides of '->'",
    )
    given: dict[Any, Any] = sizes if isinstance(sizes, dict) else {}
    check.that(
        isinstance(sizes, dict)
        and given.keys() <= {*_letters(here)}
        and all(
            isinstance(size, int) and not isinstance(size, bool) and 0 < size < LARGEST_SIZE
            for size in given.values()
        ),
        where,
        "sizes must be a table with a number for some of its axes",
    )
    for axis in (*here, *there):
        check.that(
            sum(letter not in given for letter in axis) <= 1,
            where,
            f"({' '.join(axis)}) is one axis in the file: sizes must say all but one of them",
        )
    return AxisChange(left=here, right=there, sizes=given)


def _parse_side(text: str) -> Axes | None:
    """One side's axes; None for what does not follow the grammar."""
    axes: list[tuple[str, ...]] = []
    inside: list[str] | None = None
    for token in _TOKEN.findall(text):
        if token == "(" and inside is None:
            inside = []
        elif token == ")" and inside:
            axes.append(tuple(inside))
            inside = None
        elif token == "1" and inside is None:
            axes.append(())
        elif _LETTER.fullmatch(token):
            if inside is None:
                axes.append((token,))
            else:
                inside.append(token)
        else:
            return None
    letters = _letters(tuple(axes))
    named = [place for place, axis in enumerate(axes) if axis]
    apart = bool(named) and named[-1] - named[0] >= len(named)
    if inside is not None or apart or len(letters) != len({*letters}) or len(axes) > MOST_AXES:
        return None
    return tuple(axes) if len(letters) <= MOST_AXES else None


def _letters(axes: Axes) -> tuple[str, ...]:
    return tuple([letter for axis in axes for letter in axis])


def _side_text(axes: Axes) -> str:
    return " ".join(_axis_texts(axes))


def _axis_texts(axes: Axes) -> Iterator[str]:
    for axis in axes:
        yield f"({' '.join(axis)})" if len(axis) > 1 else axis[0] if axis else "1"
