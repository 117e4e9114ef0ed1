"""One row of a user's mapping: whether a file's tensors fit it, and what becomes of them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from converters.mapping.agreement import Fault
from converters.printable import shape_text
from converters.tensor import FLOATS

from .operations.storage import Permute, Reshape
from .operations.values import Cast, Divide, Multiply
from .row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.mapping.axis_change import AxisChange
    from converters.mapping.user_mapping import Pair
    from converters.tensor import Tensor

    from .mapped_factors import RecordedFactors
    from .operations.base import Operation


def row_faults(pair: Pair, tensors: Mapping[str, Tensor]) -> Iterator[Fault]:
    """What does not agree between a row and its tensors, which are there."""
    tensor = tensors[pair.left]
    if pair.axes and pair.axes.sizes_in(tensor.shape) is None:
        yield Fault("shape", pair.left, f"{shape_text(tensor.shape)}, wanted {pair.axes.wanted()}")
    if not (pair.over or pair.times):
        return
    if tensor.dtype not in FLOATS:
        yield Fault("dtype", pair.left, f"{tensor.dtype}, but must be of a floating-point type")
    if pair.over and prod(tensors[pair.over].shape) != 1:
        yield Fault("shape", pair.over, f"{shape_text(tensors[pair.over].shape)}, wanted one number")
    if pair.over and tensors[pair.over].dtype not in FLOATS:
        yield Fault("dtype", pair.over, f"{tensors[pair.over].dtype}, but must be of a floating-point type")


def _operations(
    pair: Pair, tensors: Mapping[str, Tensor], factor: Tensor | None = None
) -> tuple[tuple[Operation, ...], tuple[int, ...]]:
    """The operations that make a row's right tensor of its left one, and its shape there. ``factor`` is the right
    file's own factor, if it is not 1."""
    tensor = tensors[pair.left]
    ops: list[Operation] = [Divide(by=tensors[pair.over])] if pair.over else []
    shape = _change_axes(ops, pair.axes, tensor.shape) if pair.axes else tensor.shape
    if factor is not None:
        ops.append(Multiply(by=factor))
    return tuple(ops), shape


def _change_axes(ops: list[Operation], axes: AxisChange, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Add the operations that take axes apart, order them and put them together; returns the shape there."""
    sizes = axes.sizes_in(shape)
    assert sizes is not None  # `match` looked
    plain = tuple(sizes.values())
    order = axes.order
    if order != tuple(range(len(order))):
        if plain != shape:
            ops.append(Reshape(shape=plain))
        ops.append(Permute(axes=order))
        shape = tuple([plain[place] for place in order])
    out = axes.right_shape(sizes)
    if out != shape:
        ops.append(Reshape(shape=out))
    return out


def mapped_row(pair: Pair, tensors: Mapping[str, Tensor], factors: RecordedFactors, dtype: str | None) -> Row:
    """The row of a plan that makes a pair's right tensor of its left one, cast to ``dtype`` if that is given."""
    tensor = tensors[pair.left]
    wanted = dtype if dtype and tensor.dtype in FLOATS else tensor.dtype
    factor = factors.number(pair.times)
    ops, shape = _operations(pair, tensors, factor)
    if factor is not None:
        ops += factors.rounding(pair.right, wanted, shape)
    if wanted != tensor.dtype:
        ops += (Cast(dtype=wanted),)
    return Row(tensor.name, pair.right, wanted, shape, ops)


def factor_row(pair: Pair, row: Row, factors: RecordedFactors) -> Row:
    """The number that the right file's values are still to be divided by: 1, or the one that it once had."""
    return factors.rows.get(pair.times) or Row(None, pair.times, row.dtype, (1,), (), 1.0)
