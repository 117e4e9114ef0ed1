"""Which order of axes leads from one file's shapes to the other's: told by all shapes together."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING

from .fingerprints import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Shape = tuple[int, ...]

MOST_AXES = 5
"""Axes whose every order is tried; tensors with more are taken as they are."""
MOST_ORDERS = 6
"""Different orders of axes between two files: one for each sort of kernel and matrix."""
MOST_ONES = 5
"""Further axes of size one that one file may have and the other not."""
LETTERS = {1: "C", 2: "O I", 3: "O I W", 4: "O I H W", 5: "O I D H W"}


def orders_between(left: Sequence[Shape], right: Sequence[Shape]) -> tuple[list[Order], list[str]]:
    """The orders of axes that lead from the left shapes to most of the right ones, best first, and notes on what
    shapes alone did not decide. Where several do as well, the one that changes the sequence of axes least."""
    sizes = [{_sizes(shape) for shape in side} for side in (left, right)]
    here, there = (
        Counter(shape for shape in side if _sizes(shape) in sizes[0] & sizes[1]) for side in (left, right)
    )
    found: list[Order] = []
    notes: list[str] = []
    while here and there and len(found) < MOST_ORDERS:
        gains = {order: _gain(order, here, there) for order in _candidates(here, there)}
        if not gains:  # too many axes, or too many of size one
            break
        best = max(gains, key=lambda order: (gains[order], *_plain(order)))
        # A second order for tensors of as many axes must earn it: a few shapes that are left fit some order by chance.
        known = any(len(order.axes) == len(best.axes) and order[1:] == best[1:] for order in found)
        if gains[best] < (3 if known else 1):
            break
        if not best.keeps and any(
            gain == gains[best] and order.axes != best.axes for order, gain in gains.items()
        ):
            notes.append(
                f"shapes do not tell equally long axes apart: {axes_text(best)} keeps them in their sequence"
            )
        found.append(best)
        for shape in list(here):
            moved = best.apply(shape)
            if moved is not None and moved in there:
                both = min(here[shape], there[moved])
                here[shape] -= both
                there[moved] -= both
        here, there = +here, +there
    return found, notes


def order_for(orders: Iterable[Order], left: Shape, right: Shape) -> Order | None:
    """The first of some orders that leads from one shape to another."""
    return next((order for order in orders if order.apply(left) == right), None)


def every_order(left: Shape, right: Shape) -> Iterator[Order]:
    """Every order of axes that leads from one shape to another, the least change first."""
    yield from sorted(
        (order for order in _orders(left, right) if order.apply(left) == right), key=_plain, reverse=True
    )


def vector_order(left: Shape, right: Shape) -> Order:
    """How a vector with further axes of size one becomes another of as many elements."""
    if left == right:
        return Order(tuple(range(len(left))))
    at = next((place for place, size in enumerate(left) if size != 1), len(left) - 1)
    to = next((place for place, size in enumerate(right) if size != 1), len(right) - 1)
    if not left or not right:
        return Order((), front=len(left), to_front=len(right))
    return Order((0,), at, len(left) - 1 - at, to, len(right) - 1 - to)


def axes_text(order: Order) -> str:
    """An order as a mapping says it: ``D H W I O -> O I D H W``; empty where nothing changes."""
    if order.keeps:
        return ""
    there = LETTERS[len(order.axes)].split() if order.axes else []
    here = [there[order.axes.index(axis)] for axis in range(len(order.axes))]
    ones = ["1"]
    left = ones * order.front + here + ones * order.behind
    right = ones * order.to_front + there + ones * order.to_behind
    return f"{' '.join(left)} -> {' '.join(right)}"


def _sizes(shape: Shape) -> Shape:
    """What no order of axes changes."""
    return tuple(sorted(size for size in shape if size != 1))


def _candidates(here: Counter[Shape], there: Counter[Shape]) -> list[Order]:
    ranks = {(len(one), len(other)): (one, other) for one in here for other in there}
    return list(dict.fromkeys(order for one, other in ranks.values() for order in _orders(one, other)))


def _orders(left: Shape, right: Shape) -> Iterator[Order]:
    """Every order for two shapes' numbers of axes."""
    rank = min(len(left), len(right))
    if abs(len(left) - len(right)) > MOST_ONES:
        return
    if rank > MOST_AXES:
        if len(left) == len(right):
            yield Order(tuple(range(rank)))
        return
    for axes in permutations(range(rank)):
        for front in range(len(left) - rank + 1):
            for to_front in range(len(right) - rank + 1):
                yield Order(axes, front, len(left) - rank - front, to_front, len(right) - rank - to_front)


def _gain(order: Order, here: Counter[Shape], there: Counter[Shape]) -> int:
    moved: Counter[Shape] = Counter()
    axes = len(order.axes) + order.front + order.behind
    for shape, times in here.items():
        to = order.apply(shape) if len(shape) == axes else None
        if to is not None and to in there:
            moved[to] += times
    return sum(min(times, there[shape]) for shape, times in moved.items())


def _plain(order: Order) -> tuple[int, ...]:
    """Larger for orders that change less: fewer axes that pass each other, ones where they usually are."""
    axes = order.axes
    passed = sum(axes[i] > axes[j] for i in range(len(axes)) for j in range(i + 1, len(axes)))
    return (-passed, -order.behind, -order.to_front, *(-axis for axis in axes))
