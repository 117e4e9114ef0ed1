"""Fingerprints of the two files' tensors: names, shapes, and statistics from one pass over the values."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.arrays import arrays
from converters.conversion.operations.storage import Permute, Reshape
from converters.conversion.operations.values import Cast
from converters.tensor import ITEMSIZE, same_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.tensor import Tensor

    from .axes import AxisOrder


class ValueSummary(NamedTuple):
    """What one pass over a tensor's values shows. ``checksum`` does not depend on the order of the values."""

    checksum: int
    minimum: float
    maximum: float

    @property
    def constant(self) -> bool:
        """Whether all values are the same: such tensors are equal by chance."""
        return self.minimum == self.maximum


class TensorFingerprint(NamedTuple):
    """A floating tensor of a file. ``values`` is None where they were not read."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: ValueSummary | None = None

    @property
    def is_vector(self) -> bool:
        """Whether at most one axis is longer than one."""
        return sum(size != 1 for size in self.shape) <= 1


def summarise(tensor: Tensor) -> ValueSummary:
    """One pass over a floating tensor, a piece at a time."""
    import numpy

    total, low, high = 0, float("inf"), float("-inf")
    signs: set[bool] = set()
    with numpy.errstate(over="ignore", invalid="ignore"):
        for values in arrays(tensor.data, tensor.dtype):
            if not len(values):
                continue
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            bits = values.astype("<f8").view("<u8") * numpy.uint64(0x9E3779B97F4A7C15)
            bits ^= bits >> numpy.uint64(29)
            bits *= numpy.uint64(0xBF58476D1CE4E5B9)
            bits ^= bits >> numpy.uint64(32)
            total = (total + int(bits.sum(dtype="<u8"))) % (1 << 64)
            if low == high == 0:
                signs |= {bool(sign) for sign in numpy.unique(numpy.signbit(values))}
    if low == high == 0 and len(signs) > 1:
        low = -sys.float_info.min  # zeros of both signs are not one value
    return ValueSummary(total, low, high)


def equal_reordered(left: Tensor, right: Tensor, order: AxisOrder) -> bool:
    """Whether the left tensor with its axes reordered has exactly the bytes and dtype of the right one."""
    if order.apply(left.shape) != right.shape or left.dtype != right.dtype:
        return False
    plain = order.without_ones(left.shape)
    reordered = Reshape(shape=plain).apply(left)
    if order.axes != tuple(range(len(plain))):
        reordered = Permute(axes=order.axes).apply(reordered)
    return same_bytes(reordered, right)


def common_dtype(dtypes: Iterable[str]) -> str:
    """The coarsest of some floating dtypes: in it, the same weights of several precisions are equal."""
    return max({*dtypes}, key=_COARSEST_LAST.index, default="float32")


def stored_dtype(tensors: Iterable[Tensor]) -> str:
    """The dtype that all kernels and matrices were rounded to before they were widened; empty if to none."""
    weights = [tensor for tensor in tensors if sum(size != 1 for size in tensor.shape) > 1]
    halves = [
        dtype for dtype in ("bfloat16", "float16") if weights and all(_fits(one, dtype) for one in weights)
    ]
    return halves[0] if halves else ""


def _fits(tensor: Tensor, dtype: str) -> bool:
    """Whether a dtype can hold all values of a tensor exactly."""
    return same_bytes(Cast(dtype=tensor.dtype).apply(Cast(dtype=dtype).apply(tensor)), tensor)


def as_integers(tensor: Tensor) -> Any:
    """A tensor in memory; each element as the integer of its bits."""
    import numpy

    return numpy.frombuffer(tensor.tobytes(), f"<u{ITEMSIZE[tensor.dtype]}").reshape(tensor.shape)


_COARSEST_LAST = ("float64", "float32", "float16", "bfloat16")
