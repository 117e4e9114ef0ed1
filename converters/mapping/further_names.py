"""The further names under which a layout's files store a tensor once more (`Twice` in `schema`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class _Side(NamedTuple):
    """A side of a line: what stands before, between and behind its ``*``, and the longest of these."""

    pieces: tuple[str, ...]
    piece: str

    @classmethod
    def of(cls, name: str) -> _Side:
        pieces = tuple(name.split("*"))
        return cls(pieces, max(pieces, key=len))

    def translated(self, name: str, other: _Side) -> str | None:
        """A name of this side as the other has it; None for other names."""
        if self.piece not in name:
            return None
        first, *middle = self.pieces
        if not middle:
            return other.piece if name == first else None
        last = middle.pop()
        if not name.startswith(first) or not name.endswith(last):
            return None
        texts, place, end = [], len(first), len(name) - len(last)
        for piece in middle:
            found = name.find(piece, place + 1, end)
            if found < 0:
                return None
            texts.append(name[place:found])
            place = found + len(piece)
        if place >= end:
            return None
        pairs = zip(other.pieces, [*texts, name[place:end], ""], strict=True)
        return "".join(piece + text for piece, text in pairs)


class FurtherNames:
    """What the lines of a layout's rows say for one variant. A line's right side may itself be a further name that a
    later line explains."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines = [(_Side.of(further), _Side.of(first)) for further, first in lines]
        self._known: tuple[Collection[str], set[str]] = ((), set())

    def first(self, name: str) -> str:
        """The layout's own name of a tensor, by any name of it."""
        for further, first in self._lines:
            name = further.translated(name, first) or name
        return name

    def of(self, first_name: str) -> list[str]:
        """The further names of a tensor, by the layout's own."""
        names = [first_name]
        for further, first in reversed(self._lines):
            names += [more for name in names if (more := first.translated(name, further))]
        return names[1:]

    def firsts(self, names: Collection[str]) -> set[str]:
        """The own names of the tensors that some names are of. Those found last are kept, as many variants ask."""
        if self._known[0] is not names:
            self._known = (names, {self.first(name) for name in names})
        return self._known[1]
