"""Operations that change values, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.arrays import arrays, as_bytes, raw_arrays
from converters.errors import Refused
from converters.tensor import ITEMSIZE

from .base import Elementwise, Operation, Reversible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.tensor import Tensor


class Cast(Operation):
    """Another floating dtype, rounded to nearest even. Widening is exact; narrowing is lossy."""

    dtype: str

    def apply(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype == self.dtype else super().apply(tensor)._replace(dtype=self.dtype)

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        for values in arrays(tensor.data, tensor.dtype):
            yield as_bytes(values, self.dtype)

    def describe(self) -> str:
        return f"cast to {self.dtype}"


class ShiftVariance(Elementwise, Reversible):
    """Add ``amount`` to a variance.

    Moves a difference of batch-norm eps into ``running_var``: 1 / sqrt(var + eps) stays what it was. Refuses to make a
    variance negative, unless it is ``undoing`` a shift: `AddUlps` then restores what rounding took.
    """

    amount: float
    undoing: bool = False

    def function(self, name: str) -> Callable[[Any], Any]:
        def shift(values: Any) -> Any:
            shifted = values + self.amount
            if not self.undoing and (shifted < 0).any():
                raise Refused(
                    f"{name}: a variance of {values.min():g} would become negative by {self.amount:+g}",
                    hint="the target's batch-norm eps is too large for these weights: choose another target",
                )
            return shifted

        return shift

    def describe(self) -> str:
        return f"variance {self.amount:+g}"

    def inverse(self) -> ShiftVariance:
        return ShiftVariance(amount=-self.amount, undoing=True)


class Scale(Elementwise, Reversible):
    """Values times the root of ``rows``, or with ``down`` divided by it. ``undoing`` as in `ShiftVariance`."""

    rows: int
    down: bool
    undoing: bool = False

    def function(self, name: str) -> Callable[[Any], Any]:
        factor = self.rows ** (-0.5 if self.down else 0.5)
        return lambda values: values * factor

    def describe(self) -> str:
        return f"{'over' if self.down else 'times'} the root of {self.rows}"

    def inverse(self) -> Scale:
        return Scale(rows=self.rows, down=not self.down, undoing=True)


class Divide(Elementwise, Reversible):
    """Values divided by the one number in ``by``. A quotient by zero is zero, as in Caffe."""

    by: Tensor

    def function(self, name: str) -> Callable[[Any], Any]:
        divisor = _number(self.by)
        return lambda values: values / divisor if divisor else values * 0.0

    def describe(self) -> str:
        return f"divided by {self.by.name}"

    def inverse(self) -> Multiply:
        return Multiply(by=self.by)


class Multiply(Elementwise, Reversible):
    """Values times the one number in ``by``."""

    by: Tensor

    def function(self, name: str) -> Callable[[Any], Any]:
        factor = _number(self.by)
        return lambda values: values * factor

    def describe(self) -> str:
        return f"times {self.by.name}"

    def inverse(self) -> Divide:
        return Divide(by=self.by)


def _number(tensor: Tensor) -> Any:
    """The one value of a tensor, as numpy's float64."""
    (value,) = next(arrays(tensor.data, tensor.dtype)).astype("float64")
    return value


class ToVariance(Elementwise, Reversible):
    """Inverse standard deviations, 1 / sqrt(variance + ``eps``), as variances.

    What rounding makes negative is 0. Refuses values that cannot be inverse
    standard deviations: those lie between 0 and 1 / sqrt(eps).
    """

    eps: float

    def function(self, name: str) -> Callable[[Any], Any]:
        def variances(values: Any) -> Any:
            if ((values <= 0) | (values * values * self.eps > _SLACK)).any():
                raise Refused(
                    f"{name}: a value is not from 0 to {self.eps**-0.5:.4g}, as inverse deviations are",
                    hint="the file has variances: leave --inverse-std out",
                )
            return (values**-2.0 - self.eps).clip(min=0)

        return variances

    def describe(self) -> str:
        return "inverse deviation to variance"

    def inverse(self) -> ToInverseStd:
        return ToInverseStd(eps=self.eps)


class ToInverseStd(Elementwise, Reversible):
    """Variances as inverse standard deviations, 1 / sqrt(variance + ``eps``)."""

    eps: float

    def function(self, name: str) -> Callable[[Any], Any]:
        return lambda values: (values + self.eps) ** -0.5

    def describe(self) -> str:
        return "variance to inverse deviation"

    def inverse(self) -> ToVariance:
        return ToVariance(eps=self.eps)


_SLACK = 1.01
"""By how much an inverse deviation's square may be above 1 / eps, for the rounding of whoever wrote it."""


class AddUlps(Operation):
    """Move every element by a number of units in the last place, to restore what rounding took.

    ``steps`` are little-endian signed integers as wide as an element (`ulps_between`).
    """

    steps: bytes

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        import numpy

        integer = f"<i{ITEMSIZE[tensor.dtype]}"
        steps = numpy.frombuffer(self.steps, integer)
        done = 0
        for words in raw_arrays(tensor.data, integer):
            yield memoryview((words + steps[done : done + len(words)]).tobytes())
            done += len(words)

    def describe(self) -> str:
        return "recorded rounding restored"
