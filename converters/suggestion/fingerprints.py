"""The tensors of the two files as evidence: names, shapes, and what a pass over the values tells."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.conversion.operations import Permute, Reshape, arrays
from converters.tensor import same_bytes

if TYPE_CHECKING:
    from converters.tensor import Tensor


class Look(NamedTuple):
    """What a pass over a tensor's values tells. ``mixed`` is the same for the same values in any order."""

    mixed: int
    minimum: float
    maximum: float

    @property
    def constant(self) -> bool:
        """Whether one value is everywhere: such tensors are equal by chance."""
        return self.minimum == self.maximum


class Item(NamedTuple):
    """A floating tensor of a file. ``look`` is None where no values were read."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    look: Look | None = None

    @property
    def is_vector(self) -> bool:
        """Whether at most one axis is longer than one."""
        return sum(size != 1 for size in self.shape) <= 1


class Order(NamedTuple):
    """How a tensor's axes become another's: without ``front`` and ``behind`` ones, axis k of the result is axis
    ``axes[k]``, then with ``to_front`` and ``to_behind`` ones around it."""

    axes: tuple[int, ...]
    front: int = 0
    behind: int = 0
    to_front: int = 0
    to_behind: int = 0

    @property
    def keeps(self) -> bool:
        """Whether nothing changes."""
        return self.axes == tuple(range(len(self.axes))) and not any(self[1:])

    def apply(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape that a tensor has then; None where it has no such axes."""
        end = len(shape) - self.behind
        if end - self.front != len(self.axes) or any(
            size != 1 for size in (*shape[: self.front], *shape[end:])
        ):
            return None
        plain = shape[self.front : end]
        return (1,) * self.to_front + tuple(plain[axis] for axis in self.axes) + (1,) * self.to_behind


def look(tensor: Tensor) -> Look:
    """One pass over a floating tensor, in bounded pieces."""
    import numpy

    total, low, high = 0, float("inf"), float("-inf")
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
    return Look(total, low, high)


def equal(left: Tensor, right: Tensor, order: Order) -> bool:
    """Whether a tensor with its axes in another order has exactly another's bytes; their dtypes are the same."""
    shape = order.apply(left.shape)
    if shape != right.shape or left.dtype != right.dtype:
        return False
    plain = left.shape[order.front : len(left.shape) - order.behind]
    moved = Reshape(plain).apply(left)
    if order.axes != tuple(range(len(plain))):
        moved = Permute(order.axes).apply(moved)
    return same_bytes(moved, right)


def elements(shape: tuple[int, ...]) -> int:
    """How many numbers a tensor of a shape has."""
    return prod(shape)
