"""Bound what is compared with what, so that the work grows with the files and not with their square."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import isfinite
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

MOST = 128
"""Tensors of one shape that a tensor is compared with."""


def around(items: Sequence[T], place: int) -> Sequence[T]:
    """Some items, at most `MOST`, around a place among them."""
    start = max(0, min(place - MOST // 2, len(items) - MOST))
    return items[start : start + MOST]


def beside(items: Sequence[T], place: int, of: int) -> Sequence[T]:
    """Some items, at most `MOST`, around where the item at a place in a sequence of ``of`` would be among them."""
    return around(items, place * len(items) // max(of, 1))


class NearNumbers(Generic[T]):
    """Items that are looked for by a number, which need not be exact."""

    def __init__(self, items: Iterable[tuple[float, T]]) -> None:
        found = sorted((item for item in items if isfinite(item[0])), key=lambda item: item[0])
        self._numbers = [number for number, _ in found]
        self._items = [item for _, item in found]

    def around(self, number: float, share: float) -> Sequence[T]:
        """The items whose numbers are apart from ``number`` by at most a share of their own; none where they are more
        than `MOST`, which says nothing."""
        if not isfinite(number):
            return ()
        low, high = sorted((number / (1 + share), number / (1 - share)))
        start, end = bisect_left(self._numbers, low), bisect_right(self._numbers, high)
        return self._items[start:end] if end - start <= MOST else ()
