"""Find the pairs whose axes could be read in another way, because sizes are equal and no other pair decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axes import AxisOrder, every_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .state import PairingState

    Shape = tuple[int, ...]


def pairs_with_open_axes(state: PairingState) -> set[int]:
    """The left places of pairs whose shapes fit several orders of axes that frameworks use, where neither a format
    nor a pair of as many axes that fits one order only decides."""
    if state.hints.exchanged:
        return set()
    rivals: dict[int, tuple[AxisOrder, bool]] = {}
    for i, partner in state.pairs.items():
        order = state.order(i, partner.place)
        if isinstance(order, AxisOrder) and not state.sides[0][i].is_vector:
            shapes = state.sides[0][i].shape, state.sides[1][partner.place].shape
            rivals[i] = order, _has_rivals(order, *shapes) and i not in state.exact_axes
    decided = {order.axes for order, rival in rivals.values() if not rival}
    return {i for i, (order, rival) in rivals.items() if rival and order.axes not in decided}


def _has_rivals(order: AxisOrder, left: Shape, right: Shape) -> bool:
    """Whether another order fits two shapes. Only channels count: that a file has its height and width the other way
    round is rare, and so is any order beside kept axes but that of exchanged channels."""
    others: Iterable[AxisOrder] = (one for one in every_order(left, right) if one.axes != order.axes)
    if order.keeps:
        return any(one.exchanges_channels or one.exchanges_first for one in others)
    channels = slice(-2, None) if order.axes[-1] == 0 else slice(2)
    return any(one.axes[channels] != order.axes[channels] for one in others)
