"""Operations that store the same values otherwise: another shape, or another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Operation, Rearrangement, Reversible

if TYPE_CHECKING:
    from converters.tensor import Tensor


class Reshape(Operation):
    """Another shape with as many elements."""

    shape: tuple[int, ...]

    @property
    def keeps_bytes(self) -> bool:
        return True

    def apply(self, tensor: Tensor) -> Tensor:
        return tensor._replace(shape=self.shape)

    def describe(self) -> str:
        return f"shape {'x'.join(map(str, self.shape))}"


class Permute(Rearrangement, Reversible):
    """Another order of axes: axis k of the output is axis ``axes[k]`` of the input."""

    axes: tuple[int, ...]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([shape[axis] for axis in self.axes])

    def rearrange(self, elements: Any) -> Any:
        return elements.transpose(self.axes)

    def describe(self) -> str:
        return f"axes {' '.join(map(str, self.axes))}"

    def inverse(self) -> Permute:
        return Permute(axes=tuple([self.axes.index(axis) for axis in range(len(self.axes))]))


class Roll(Rearrangement, Reversible):
    """A matrix with its columns rotated to the right by ``by`` places; the last ones come first. ``axis`` is that of
    the columns' numbers, 0 where the matrix is stored transposed."""

    by: int
    axis: int = 1

    def rearrange(self, elements: Any) -> Any:
        import numpy

        return numpy.roll(elements, self.by, axis=self.axis)

    def describe(self) -> str:
        return f"columns moved by {self.by:+d}"

    def inverse(self) -> Roll:
        return self.replace(by=-self.by)


class Exchange(Rearrangement, Reversible):
    """The first ``size`` places of an axis and the next ``size`` in each other's place: two groups of channels."""

    axis: int
    size: int

    def rearrange(self, elements: Any) -> Any:
        import numpy

        first, second, others = numpy.split(elements, (self.size, 2 * self.size), axis=self.axis)
        return numpy.concatenate((second, first, others), axis=self.axis)

    def describe(self) -> str:
        return (
            f"{'columns' if self.axis else 'rows'} 0 to {self.size - 1} exchanged with the next {self.size}"
        )

    def inverse(self) -> Exchange:
        return self


class Reverse(Rearrangement, Reversible):
    """A kernel with its input channels, which are along ``axis``, in the opposite order: BGR for RGB."""

    axis: int = 1

    def rearrange(self, elements: Any) -> Any:
        import numpy

        return numpy.flip(elements, self.axis)

    def describe(self) -> str:
        return "input channels reversed"

    def inverse(self) -> Reverse:
        return self
