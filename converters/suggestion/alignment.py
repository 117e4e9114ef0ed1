"""Align two sequences: the pairs that keep both orders, and which of them are beyond doubt."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


class Alignment(NamedTuple):
    """``pairs`` of places, rising on both sides. ``certain`` are those that every good alignment has; ``score`` is the
    best alignment's."""

    pairs: tuple[tuple[int, int], ...]
    certain: frozenset[tuple[int, int]]
    score: int


class _Cell(NamedTuple):
    """Two places that may be paired."""

    row: int
    column: int
    score: int


SLACK = 100
"""How much worse an alignment may be and still count as equally good."""


def align(left: int, right: int, scores: Callable[[int], Iterable[tuple[int, int]]]) -> Alignment:
    """The best alignment of ``left`` places with ``right`` ones. ``scores`` gives the right places that may be paired
    with a left one, each with a positive score; the time grows with their number."""
    cells = [_Cell(row, *cell) for row in range(left) for cell in scores(row)]
    before = _sums(cells)
    turned = [_Cell(-row, -column, score) for row, column, score in reversed(cells)]
    after = _sums(turned)[::-1]
    through = [one + other - cell.score for one, other, cell in zip(before, after, cells, strict=True)]
    best = max(through, default=0)
    optimal: dict[int, list[_Cell]] = defaultdict(list)
    for cell, total, end in zip(cells, through, before, strict=True):
        if total == best:
            optimal[end].append(cell)
    pairs = [*_chain(optimal, best, left, right)][::-1]
    good = [cell for cell, total in zip(cells, through, strict=True) if total >= best - SLACK]
    in_row, in_column = Counter(cell.row for cell in good), Counter(cell.column for cell in good)
    certain = frozenset((i, j) for i, j in pairs if in_row[i] == 1 == in_column[j])
    return Alignment(tuple(pairs), certain, best)


def _sums(cells: Sequence[_Cell]) -> list[int]:
    """The best score of an alignment that ends with each cell. The rows rise."""
    columns: list[int] = []
    sums: list[int] = []  # the best so far up to each of the columns; both lists rise
    totals: list[int] = []
    for _, row in groupby(cells, key=lambda cell: cell.row):
        ends = []
        for cell in row:
            place = bisect_left(columns, cell.column)
            ends.append((cell.column, cell.score + (sums[place - 1] if place else 0)))
        totals += [total for _, total in ends]
        for column, total in ends:
            _raise(columns, sums, column, total)
    return totals


def _raise(columns: list[int], sums: list[int], column: int, total: int) -> None:
    """From a column on, at least ``total`` can be had."""
    place = bisect_left(columns, column)
    if place < len(columns) and columns[place] == column and sums[place] < total:
        sums[place] = total
    elif (place < len(columns) and columns[place] == column) or (place and sums[place - 1] >= total):
        return
    else:
        columns.insert(place, column)
        sums.insert(place, total)
    end = bisect_left(sums, total + 1, place + 1)
    del columns[place + 1 : end], sums[place + 1 : end]


def _chain(
    optimal: Mapping[int, Sequence[_Cell]], best: int, row: int, column: int
) -> Iterator[tuple[int, int]]:
    """The pairs of the best alignment from its end, given the cells of all best ones by the score up to each. Of
    several it is the one that goes on beside the last pair's column, or else with the first row."""
    while best:
        ends = [cell for cell in optimal[best] if cell.row < row and cell.column < column]
        first = min(cell.row for cell in ends)
        cell = max([cell for cell in ends if cell.column == column - 1], default=None) or max(
            cell for cell in ends if cell.row == first
        )
        row, column = cell.row, cell.column
        yield row, column
        best -= cell.score
