"""Operations that give a kernel further input channels or a time axis. None of them can be undone; each holds the
kernel in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.arrays import as_bytes, whole_kernel
from converters.errors import Refused
from converters.files import CHUNK

from .base import Operation, Rearrangement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.tensor import Tensor


class Spread(Operation):
    """A kernel for ``channels`` input channels, each with the mean over those that there are: how flow networks begin
    with the weights of RGB's (Wang et al., ECCV 2016).

    Adds in the channels' order and divides in the tensor's own dtype (float16 and bfloat16 in float32), rounded as
    PyTorch and numpy do.
    """

    channels: int

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.channels, *shape[2:])

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        import numpy

        kernel = whole_kernel(tensor)
        total = kernel[:, 0].copy()
        for channel in range(1, kernel.shape[1]):
            total += kernel[:, channel]
        mean = total / total.dtype.type(kernel.shape[1])
        for output in mean:
            yield as_bytes(numpy.repeat(output[None], self.channels, axis=0), tensor.dtype)

    def describe(self) -> str:
        return f"mean over input channels, {self.channels} times"


class Pad(Rearrangement):
    """A kernel with further input channels of zeros after its own, ``channels`` in all."""

    channels: int

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.channels, *shape[2:])

    def rearrange(self, elements: Any) -> Any:
        import numpy

        padded = numpy.zeros(self.output_shape(elements.shape), elements.dtype)
        padded[:, : elements.shape[1]] = elements
        return padded

    def describe(self) -> str:
        return f"padded with zeros to {self.channels} input channels"


class Inflate(Operation):
    """A kernel with a time axis of ``frames`` in third place: its values over their number in each frame, or with
    ``centre`` themselves in the middle one and zeros in the others.

    Divides in the tensor's own dtype (float16 and bfloat16 in float32), rounded once, as the projects that train so
    do.
    """

    frames: int
    centre: bool

    @property
    def keeps_bytes(self) -> bool:
        return self.frames == 1

    def apply(self, tensor: Tensor) -> Tensor:
        """The kernel over time, still lazy. Raises `Refused` if there is no middle frame."""
        if self.centre and self.frames % 2 == 0:
            raise Refused(f"{tensor.name}: of {self.frames} frames none is in the middle")
        inflated = super().apply(tensor)
        return inflated._replace(data=tensor.data) if self.keeps_bytes else inflated

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], self.frames, *shape[-2:])

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        area = tensor.shape[-2] * tensor.shape[-1]
        kernels = whole_kernel(tensor).reshape(-1, 1, area)
        step = max(CHUNK // (area * self.frames * 4), 1)
        for start in range(0, len(kernels), step):
            yield as_bytes(self._over_time(kernels[start : start + step]), tensor.dtype)

    def _over_time(self, kernels: Any) -> Any:
        """Kernels of shape [n, 1, area] as [n, frames, area]."""
        import numpy

        if not self.centre:
            return numpy.repeat(kernels / kernels.dtype.type(self.frames), self.frames, axis=1)
        out = numpy.zeros((len(kernels), self.frames, kernels.shape[2]), kernels.dtype)
        out[:, self.frames // 2] = kernels[:, 0]
        return out

    def describe(self) -> str:
        return f"inflated to {self.frames} frames, {'centre' if self.centre else 'average'}"
