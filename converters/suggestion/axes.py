"""Find the order of axes that turns one file's shapes into the other's. All shapes together decide."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product
from typing import TYPE_CHECKING, NamedTuple

from converters.mapping.axis_change import AxisChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Shape = tuple[int, ...]

MAX_AXES = 5
"""Tensors with more axes are only tried as they are."""
MAX_ORDERS = 6
"""Different orders of axes between two files: one for each kind of convolution and linear layer."""
MAX_ONES = 5
"""Extra axes of size one that only one of the files may have."""
LETTERS = {1: "C", 2: "O I", 3: "O I W", 4: "O I H W", 5: "O I D H W"}
"""Of the axes of the right file's tensors, by their number."""


class AxisOrder(NamedTuple):
    """How one tensor's axes become another's.

    ``removed`` axes of size one at the front and at the end go; then axis k of the result is axis ``axes[k]``; then
    ``added`` axes of size one come at the front and at the end.
    """

    axes: tuple[int, ...]
    removed: tuple[int, int] = (0, 0)
    added: tuple[int, int] = (0, 0)

    @property
    def keeps(self) -> bool:
        """Whether nothing changes."""
        return self.axes == tuple(range(len(self.axes))) and self.removed == self.added == (0, 0)

    @property
    def exchanges_channels(self) -> bool:
        """Whether it leads from ``... I O`` to ``O I ...`` or back, and nothing else changes place."""
        rank = len(self.axes)
        to_first = (rank - 1, rank - 2, *range(rank - 2))
        to_last = (*range(2, rank), 1, 0)
        return rank > 1 and self.axes in (to_first, to_last)

    @property
    def exchanges_first(self) -> bool:
        """Whether it leads from ``O I ...`` to ``I O ...``, as a transposed convolution has its channels."""
        return self.axes[:2] == (1, 0) and self.axes[2:] == tuple(range(2, len(self.axes)))

    def without_ones(self, shape: Shape) -> Shape:
        """A shape without the axes that are removed."""
        return shape[self.removed[0] : len(shape) - self.removed[1]]

    def apply(self, shape: Shape) -> Shape | None:
        """The shape that a tensor then has; None where it has no such axes."""
        front, end = self.removed
        plain = self.without_ones(shape)
        ones = shape[:front] + shape[len(shape) - end :]
        if len(shape) - front - end != len(self.axes) or any(size != 1 for size in ones):
            return None
        return (1,) * self.added[0] + tuple(plain[axis] for axis in self.axes) + (1,) * self.added[1]


def orders_between(
    left: Sequence[Shape], right: Sequence[Shape], *, exchanged: bool = False
) -> tuple[list[AxisOrder], list[str]]:
    """The orders of axes that lead from the left shapes to most of the right ones, best first, and notes on what
    shapes alone did not decide. Where several do equally well, it is the one that keeps axes, or the one that only
    brings channels to the other end; with ``exchanged``, where one of the files has channels last, the latter first."""
    orders, notes = _orders_between(left, right, exchanged=exchanged)
    if not exchanged and any(order.exchanges_channels for order in orders):  # square matrices too, then
        return _orders_between(left, right, exchanged=True)
    return orders, notes


def _orders_between(
    left: Sequence[Shape], right: Sequence[Shape], *, exchanged: bool
) -> tuple[list[AxisOrder], list[str]]:
    sizes = [{_sizes(shape) for shape in side} for side in (left, right)]
    both = sizes[0] & sizes[1]
    sources, targets = (Counter(shape for shape in side if _sizes(shape) in both) for side in (left, right))
    orders: list[AxisOrder] = []
    notes: list[str] = []
    while sources and targets and len(orders) < MAX_ORDERS:
        gains = {order: _gain(order, sources, targets) for order in _candidates(sources, targets)}
        if not gains:  # too many axes, or too many of size one
            break
        best = max(
            gains,
            key=lambda order: (
                gains[order],
                exchanged and order.exchanges_channels,
                order.keeps,
                order.exchanges_channels,
                *_simplicity(order),
            ),
        )
        # A second order of as many axes must earn it: a few remaining shapes fit some order by chance.
        known = any(len(order.axes) == len(best.axes) and order[1:] == best[1:] for order in orders)
        if gains[best] < (3 if known else 1):
            break
        rivals = [order for order in gains if gains[order] == gains[best] and order.axes != best.axes]
        if rivals and not best.keeps:
            why = "is usual" if best.exchanges_channels else "keeps their order"
            notes.append(f"shapes cannot tell axes of equal size apart: {axes_text(best)} {why}")
        orders.append(best)
        sources, targets = _without_explained(best, sources, targets)
    return orders, notes


def order_for(orders: Iterable[AxisOrder], left: Shape, right: Shape) -> AxisOrder | None:
    """The first of some orders that leads from one shape to another."""
    return next((order for order in orders if order.apply(left) == right), None)


def every_order(left: Shape, right: Shape) -> Iterator[AxisOrder]:
    """Every order of axes that leads from one shape to another, the simplest first."""
    yield from sorted(
        (order for order in _orders(len(left), len(right)) if order.apply(left) == right),
        key=_simplicity,
        reverse=True,
    )


def vector_order(left: Shape, right: Shape) -> AxisOrder:
    """How a vector with extra axes of size one becomes another with as many elements."""
    if left == right:
        return AxisOrder(tuple(range(len(left))))
    if not left or not right:
        return AxisOrder((), removed=(len(left), 0), added=(len(right), 0))
    before, after = (
        next((place for place, size in enumerate(shape) if size != 1), len(shape) - 1)
        for shape in (left, right)
    )
    return AxisOrder((0,), (before, len(left) - 1 - before), (after, len(right) - 1 - after))


def change_of(order: AxisOrder) -> AxisChange | None:
    """An order as a mapping's change of axes; None where nothing changes."""
    if order.keeps:
        return None
    target = [(letter,) for letter in LETTERS[len(order.axes)].split()] if order.axes else []
    source = [target[order.axes.index(axis)] for axis in range(len(order.axes))]
    (front, end), (to_front, to_end) = order.removed, order.added
    return AxisChange(
        left=((),) * front + tuple(source) + ((),) * end,
        right=((),) * to_front + tuple(target) + ((),) * to_end,
        sizes={},
    )


def axes_text(order: AxisOrder) -> str:
    """An order as mapping files write it: ``D H W I O -> O I D H W``; empty where nothing changes."""
    change = change_of(order)
    return change.text() if change else ""


def _sizes(shape: Shape) -> Shape:
    """What no order of axes changes."""
    return tuple(sorted(size for size in shape if size != 1))


def _candidates(sources: Counter[Shape], targets: Counter[Shape]) -> list[AxisOrder]:
    ranks = product(*(dict.fromkeys(map(len, side)) for side in (sources, targets)))
    return list(dict.fromkeys(order for left, right in ranks for order in _orders(left, right)))


def _orders(left: int, right: int) -> Iterator[AxisOrder]:
    """Every order that leads from one number of axes to another."""
    rank = min(left, right)
    if abs(left - right) > MAX_ONES:
        return
    if rank > MAX_AXES:
        if left == right:
            yield AxisOrder(tuple(range(rank)))
        return
    for axes in permutations(range(rank)):
        for front in range(left - rank + 1):
            for to_front in range(right - rank + 1):
                removed, added = (front, left - rank - front), (to_front, right - rank - to_front)
                yield AxisOrder(axes, removed, added)


def _gain(order: AxisOrder, sources: Counter[Shape], targets: Counter[Shape]) -> int:
    """How many tensors the order takes to the right file's shapes."""
    reordered: Counter[Shape] = Counter()
    rank = len(order.axes) + sum(order.removed)
    for shape, times in sources.items():
        target = order.apply(shape) if len(shape) == rank else None
        if target is not None and target in targets:
            reordered[target] += times
    return sum(min(times, targets[shape]) for shape, times in reordered.items())


def _without_explained(
    order: AxisOrder, sources: Counter[Shape], targets: Counter[Shape]
) -> tuple[Counter[Shape], Counter[Shape]]:
    """The shapes that an order does not take to each other."""
    sources, targets = sources.copy(), targets.copy()
    for shape in list(sources):
        target = order.apply(shape)
        if target is not None and target in targets:
            both = min(sources[shape], targets[target])
            sources[shape] -= both
            targets[target] -= both
    return +sources, +targets


def _simplicity(order: AxisOrder) -> tuple[int, ...]:
    """Larger for orders that change less: fewer axes that pass each other, ones where they usually are."""
    axes = order.axes
    passed = sum(axes[i] > axes[j] for i in range(len(axes)) for j in range(i + 1, len(axes)))
    return (-passed, -order.removed[1], -order.added[0], *(-axis for axis in axes))
