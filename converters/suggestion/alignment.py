"""Align two sequences: the pairs that keep both orders, and which of them are beyond doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Alignment(NamedTuple):
    """``pairs`` of places, rising on both sides. ``certain`` are those that every good alignment has; ``score`` is the
    best alignment's."""

    pairs: tuple[tuple[int, int], ...]
    certain: frozenset[tuple[int, int]]
    score: int


SLACK = 100
"""How much worse an alignment may be and still count as equally good."""


def align(left: int, right: int, scores: Callable[[int], Sequence[tuple[int, int]]]) -> Alignment:
    """The best alignment of ``left`` places with ``right`` ones. ``scores`` gives the right places that may be paired
    with a left one, each with a positive score."""
    import numpy

    matrix = numpy.zeros((left, right), "<i4")
    for row in range(left):
        for column, score in scores(row):
            matrix[row, column] = score
    before = _sums(matrix)
    after = _sums(matrix[::-1, ::-1])[::-1, ::-1]
    best = int(before[left, right])
    through = numpy.where(matrix > 0, before[:-1, :-1] + matrix + after[1:, 1:], -1)
    optimal = through == best
    pairs = []
    row, column = left, right
    while row and column:
        if (
            optimal[row - 1, column - 1]
            and before[row, column] == before[row - 1, column - 1] + matrix[row - 1, column - 1]
        ):
            row, column = row - 1, column - 1
            pairs.append((row, column))
        elif before[row, column] == before[row - 1, column]:
            row -= 1
        else:
            column -= 1
    good = through >= best - SLACK
    rows, columns = good.sum(axis=1), good.sum(axis=0)
    certain = frozenset((i, j) for i, j in pairs if rows[i] == 1 == columns[j])
    return Alignment(tuple(reversed(pairs)), certain, best)


def _sums(scores: Any) -> Any:
    """The best score of every pair of beginnings of the two sequences."""
    import numpy

    sums = numpy.zeros((scores.shape[0] + 1, scores.shape[1] + 1), "<i4")
    for row in range(scores.shape[0]):
        step = numpy.maximum(sums[row, 1:], sums[row, :-1] + scores[row])
        numpy.maximum.accumulate(step, out=sums[row + 1, 1:])
    return sums
