"""What every operation is, and the two kinds that share their way through the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.arrays import arrays, as_bytes, chunks_of, whole_elements
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.tensor import Tensor


class Operation(Record):
    """One step on a tensor's way from file to file. It knows no model, and leaves the tensor lazy."""

    @property
    def keeps_bytes(self) -> bool:
        """Whether the output's bytes are the input's."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """The tensor after this step; its input is read when its bytes are."""
        return tensor._replace(shape=self.output_shape(tensor.shape), data=_Lazy(tensor, self.chunks))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The output's shape for an input's."""
        return shape

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        """The output's bytes for an input, as `Data.chunks` yields them."""
        raise NotImplementedError

    def describe(self) -> str:
        """The step in words, for reports."""
        raise NotImplementedError


class Reversible(Operation):
    """An operation that another one undoes, except for rounding."""

    def inverse(self) -> Operation:
        """The operation that undoes this one."""
        raise NotImplementedError


class Rearrangement(Operation):
    """Moves whole elements of any dtype. Holds the tensor in memory."""

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        yield from chunks_of(self.rearrange(whole_elements(tensor)))

    def rearrange(self, elements: Any) -> Any:
        """The output's elements for the input's, both as numpy arrays."""
        raise NotImplementedError


class Elementwise(Operation):
    """Computes every value from one of the input's, in float64, and rounds it once to the tensor's own dtype."""

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        import numpy

        function = self.function(tensor.name)
        for values in arrays(tensor.data, tensor.dtype):
            with numpy.errstate(all="ignore"):
                result = function(values.astype("float64"))
            yield as_bytes(result, tensor.dtype)

    def function(self, name: str) -> Callable[[Any], Any]:
        """What to compute of a float64 array. ``name`` is the tensor's, for errors."""
        raise NotImplementedError


class _Lazy(NamedTuple):
    """The bytes that a function makes of a tensor."""

    tensor: Tensor
    function: Callable[[Tensor], Iterator[memoryview]]

    def chunks(self) -> Iterator[memoryview]:
        return self.function(self.tensor)
