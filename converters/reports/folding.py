"""Many names in few lines: names that differ in one number only are folded into one, ``layer{1-4}.0.conv1.weight``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.printable import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NUMBER = r"(\d+)"


class FoldedNames(NamedTuple):
    """Names with equal ``texts`` between their numbers, which differ in one number only; ``key`` is what else they
    have in common."""

    texts: tuple[str, ...]
    numbers: list[tuple[str, ...]]
    key: tuple[Any, ...]

    def __str__(self) -> str:
        text = self.texts[0]
        for position, piece in enumerate(self.texts[1:]):
            values = sorted({int(numbers[position]) for numbers in self.numbers})
            text += (_ranges(values) if len(values) > 1 else self.numbers[0][position]) + piece
        return text

    def names(self) -> list[str]:
        """The names one by one."""
        return [
            self.texts[0]
            + "".join(number + text for number, text in zip(numbers, self.texts[1:], strict=True))
            for numbers in self.numbers
        ]


def fold_names(names: Iterable[str]) -> list[str]:
    """Names folded, in the order of the first of each group."""
    return [str(folded) for folded in fold((name, ()) for name in names)]


def fold_tensors(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> Iterator[str]:
    """A line for tensors of one dtype and shape whose names fold: ``layer{1-4}.0.conv1.weight  64x64x1x1x1 ...``."""
    for folded in fold((name, (dtype, shape)) for name, dtype, shape in tensors):
        dtype, shape = folded.key
        many = f"  ({len(folded.numbers)} tensors)" if len(folded.numbers) > 1 else ""
        yield f"{folded}  {shape_text(shape)} {dtype}{many}"


def fold(named: Iterable[tuple[str, tuple[Any, ...]]]) -> Iterator[FoldedNames]:
    """Group names that differ in one number only and have the same key.

    Of a name's numbers the one with the most values is folded; the others stay as they are.
    """
    alike: dict[tuple[Any, ...], list[tuple[str, ...]]] = {}
    for name, key in named:
        pieces = re.split(_NUMBER, name)
        alike.setdefault((tuple(pieces[::2]), key), []).append(tuple(pieces[1::2]))
    for (texts, key), rows in alike.items():
        most = max(range(len(rows[0])), key=lambda place: len({row[place] for row in rows}), default=0)
        groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for row in rows:
            groups.setdefault(row[:most] + row[most + 1 :], []).append(row)
        for numbers in groups.values():
            yield FoldedNames(texts, numbers, key)


def _ranges(numbers: list[int]) -> str:
    """Rising numbers: ``{0-2,5}``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "{" + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs) + "}"
