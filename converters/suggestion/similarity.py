"""How similar two tensors are, and in which order of axes: of weights trained further no value is equal."""

from __future__ import annotations

from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.arrays import arrays

from .axes import every_order

if TYPE_CHECKING:
    from converters.tensor import Tensor

    from .axes import AxisOrder

LEAST_ELEMENTS = 64
"""Fewer may be similar by chance, in one of many orders; they count where they are nearly equal."""
FEW_ELEMENTS = 16
NEARLY_EQUAL = 0.95
"""The correlation from which on few values are similar."""
MOST_ELEMENTS = 1 << 25
MOST_ORDERS = 24
ALIKE = 0.5
"""The correlation from which on values are similar; of different weights it is near 0."""
APART = 0.2
"""By how much the correlation in another order must exceed that in the usual one."""


class Similarity(NamedTuple):
    """Whether two tensors are similar in the usual order of axes, and the ``other`` order in which they are, if not;
    ``open`` means that they are as similar in another one as in the usual one."""

    alike: bool
    other: AxisOrder | None
    open: bool


def similarity(left: Tensor, right: Tensor, usual: AxisOrder) -> Similarity | None:
    """Compare two tensors in all orders of axes that their shapes allow. None for tensors that are too small or too
    large, and for values that are all the same, or not finite."""
    if not FEW_ELEMENTS <= prod(left.shape) <= MOST_ELEMENTS:
        return None
    source, target = _centred(left), _centred(right)
    if source is None or target is None:
        return None
    likeness: dict[AxisOrder, float] = {}
    for order in dict.fromkeys((usual, *islice(every_order(left.shape, right.shape), MOST_ORDERS))):
        moved = source.reshape(order.without_ones(left.shape)).transpose(order.axes)
        likeness[order] = float((moved.ravel() * target).sum())
    best = max(likeness, key=lambda order: likeness[order])
    if prod(left.shape) < LEAST_ELEMENTS and likeness[best] < NEARLY_EQUAL:
        return None
    other = likeness[best] >= ALIKE and likeness[best] > likeness[usual] + APART
    alike = likeness[usual] >= ALIKE
    close = sum(one > likeness[usual] - APART for one in likeness.values())
    return Similarity(alike, best if other else None, alike and close > 1)


def _centred(tensor: Tensor) -> Any:
    """The values as a flat array of mean 0 and length 1; None where that cannot be."""
    import numpy

    values = numpy.concatenate([piece.astype("<f4") for piece in arrays(tensor.data, tensor.dtype)])
    with numpy.errstate(all="ignore"):
        values = values - values.mean()
        length = float(numpy.sqrt((values * values).sum()))
    return values / length if 0 < length < float("inf") else None
