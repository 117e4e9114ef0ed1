"""Operations on a tensor's way from file to file. Each keeps the tensor lazy and states its inverse.

An operation changes a shape, or streams its bytes through numpy; none of them knows a model.
"""

from __future__ import annotations

import struct
import zlib
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from converters.errors import Refused
from converters.files import CHUNK
from converters.tensor import ITEMSIZE, Repeated, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.tensor import Data


class Op(Protocol):
    """One step. ``apply`` returns a lazy tensor; ``keeps_bytes`` tells that the bytes pass through unchanged."""

    @property
    def keeps_bytes(self) -> bool:
        """Whether the output's bytes are the input's."""
        ...

    def apply(self, tensor: Tensor) -> Tensor:
        """The tensor after this step."""
        ...

    def describe(self) -> str:
        """The step in words, for reports."""
        ...


class Reshape(NamedTuple):
    """Another shape with as many elements, the same bytes."""

    shape: tuple[int, ...]

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return True

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        return Tensor(tensor.name, tensor.dtype, self.shape, tensor.data)

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"shape {'x'.join(map(str, self.shape))}"


class Cast(NamedTuple):
    """Another dtype, rounded to nearest even. Widening is exact; narrowing is lossy."""

    dtype: str

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        if tensor.dtype == self.dtype:
            return tensor
        data = _Elementwise(tensor.data, tensor.dtype, self.dtype, lambda values: values)
        return Tensor(tensor.name, self.dtype, tensor.shape, data)

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"cast to {self.dtype}"


_WIDER = {
    "float16": ("float32", "float64"),
    "bfloat16": ("float32", "float64"),
    "float32": ("float64",),
    "float64": (),
}


def is_exact(source: str, target: str) -> bool:
    """Whether every value of one floating dtype is a value of another."""
    return target == source or target in _WIDER[source]


class ShiftVariance(NamedTuple):
    """Add a constant to a variance, in float64 and rounded once to the tensor's own dtype.

    Moves a difference of batch-norm eps into ``running_var``: 1 / sqrt(var + eps) stays what it was. Refuses to
    make a variance negative, unless ``rounded`` says that this undoes a shift, whose rounding `AddUlps` mends.
    """

    amount: float
    rounded: bool = False

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""

        def shift(values: Any) -> Any:
            shifted = values.astype("float64") + self.amount
            if not self.rounded and (shifted < 0).any():
                raise Refused(
                    f"{tensor.name}: a variance of {values.min():g} would become negative by {self.amount:+g}",
                    hint="its layout's batch-norm eps is too large for these weights",
                )
            return shifted

        data = _Elementwise(tensor.data, tensor.dtype, tensor.dtype, shift)
        return Tensor(tensor.name, tensor.dtype, tensor.shape, data)

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"variance {self.amount:+g}"


class AddUlps(NamedTuple):
    """Move every element by so many units in the last place: what rounding took, put back.

    ``steps`` are little-endian signed integers as wide as an element.
    """

    steps: bytes

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        return Tensor(
            tensor.name, tensor.dtype, tensor.shape, _Stepped(tensor.data, tensor.dtype, self.steps)
        )

    def describe(self) -> str:
        """See `Op.describe`."""
        return "recorded rounding restored"


class Divide(NamedTuple):
    """Values divided by the one number in ``by``, or with ``back`` multiplied by it; in float64 and rounded once to the
    tensor's own dtype. A quotient by zero is zero: Caffe takes it so."""

    by: Tensor
    back: bool = False

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        return Tensor(tensor.name, tensor.dtype, tensor.shape, _Divided(tensor, self.by, self.back))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"{'times' if self.back else 'divided by'} {self.by.name}"


class InverseStd(NamedTuple):
    """Inverse standard deviations, 1 / sqrt(variance + eps), as variances, or with ``back`` the other way round; in
    float64 and rounded once to the tensor's own dtype.

    What rounding makes negative is 0. Refuses what is no inverse deviation: those are from 0 to 1 / sqrt(eps).
    """

    eps: float
    back: bool = False

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""

        def variances(values: Any) -> Any:
            wide = values.astype("float64")
            if ((wide <= 0) | (wide * wide * self.eps > _SLACK)).any():
                raise Refused(
                    f"{tensor.name}: a value is not from 0 to {self.eps**-0.5:.4g}, as inverse deviations are",
                    hint="the file has variances: leave --inverse-std out",
                )
            return (wide**-2.0 - self.eps).clip(min=0)

        def deviations(values: Any) -> Any:
            return (values.astype("float64") + self.eps) ** -0.5

        function = deviations if self.back else variances
        data = _Elementwise(tensor.data, tensor.dtype, tensor.dtype, function)
        return Tensor(tensor.name, tensor.dtype, tensor.shape, data)

    def describe(self) -> str:
        """See `Op.describe`."""
        return "variance to inverse deviation" if self.back else "inverse deviation to variance"


_SLACK = 1.01
"""By how much an inverse deviation's square may be above 1 / eps, for the rounding of those who wrote it."""


class Permute(NamedTuple):
    """Another order of axes: axis k of the result is axis ``axes[k]`` of the tensor. Holds it in memory twice."""

    axes: tuple[int, ...]

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        shape = tuple(tensor.shape[axis] for axis in self.axes)
        return Tensor(tensor.name, tensor.dtype, shape, _Permuted(tensor, self.axes))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"axes {' '.join(map(str, self.axes))}"


class Roll(NamedTuple):
    """Columns of a matrix moved ``by`` so many to the right, those that fall out put in front. Holds it in memory
    twice."""

    by: int

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        return Tensor(tensor.name, tensor.dtype, tensor.shape, _Rolled(tensor, self.by))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"columns moved by {self.by:+d}"


class Reverse(NamedTuple):
    """A kernel's input channels in the opposite order: BGR for RGB. Undoes itself. Holds it in memory twice."""

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        return Tensor(tensor.name, tensor.dtype, tensor.shape, _Reversed(tensor))

    def describe(self) -> str:
        """See `Op.describe`."""
        return "input channels reversed"


class Spread(NamedTuple):
    """A kernel for ``channels`` input channels, each with the mean over those that there are: how flow networks begin
    with the weights of RGB's (Wang et al., ECCV 2016).

    Adds in the channels' order and divides in the tensor's own dtype (float16 and bfloat16 in float32), rounded as
    PyTorch and numpy do. There is no way back. Holds the tensor in memory.
    """

    channels: int

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        shape = (tensor.shape[0], self.channels, *tensor.shape[2:])
        return Tensor(tensor.name, tensor.dtype, shape, _Spread(tensor, self.channels))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"mean over input channels, {self.channels} times"


class Pad(NamedTuple):
    """A kernel with further input channels of zeros behind its own, ``channels`` in all. Holds the tensor in memory."""

    channels: int

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        shape = (tensor.shape[0], self.channels, *tensor.shape[2:])
        return Tensor(tensor.name, tensor.dtype, shape, _Padded(tensor, self.channels))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"padded with zeros to {self.channels} input channels"


class Inflate(NamedTuple):
    """A kernel with a time axis of ``frames`` in third place: its values over their number in each, or with ``centre``
    themselves in the middle one and zeros in the others.

    Divides in the tensor's own dtype (float16 and bfloat16 in float32), rounded once, as the projects that train so
    do. There is no way back. Holds the tensor in memory.
    """

    frames: int
    centre: bool

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return self.frames == 1

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`. Raises `Refused` where there is no middle frame."""
        if self.centre and self.frames % 2 == 0:
            raise Refused(f"{tensor.name}: of {self.frames} frames none is in the middle")
        shape = (*tensor.shape[:2], self.frames, *tensor.shape[-2:])
        if self.frames == 1:
            return Tensor(tensor.name, tensor.dtype, shape, tensor.data)
        return Tensor(tensor.name, tensor.dtype, shape, _Inflated(tensor, self.frames, self.centre))

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"inflated to {self.frames} frames, {'centre' if self.centre else 'average'}"


class Scale(NamedTuple):
    """Values times the root of ``rows``, or with ``down`` over it; in float64 and rounded once to the tensor's own
    dtype. ``rounded`` says that this undoes one, whose rounding `AddUlps` mends."""

    rows: int
    down: bool
    rounded: bool = False

    @property
    def keeps_bytes(self) -> bool:
        """See `Op.keeps_bytes`."""
        return False

    @property
    def back(self) -> Scale:
        """What undoes it."""
        return Scale(self.rows, not self.down, rounded=True)

    def apply(self, tensor: Tensor) -> Tensor:
        """See `Op.apply`."""
        factor = self.rows ** (-0.5 if self.down else 0.5)
        data = _Elementwise(
            tensor.data, tensor.dtype, tensor.dtype, lambda values: values.astype("float64") * factor
        )
        return Tensor(tensor.name, tensor.dtype, tensor.shape, data)

    def describe(self) -> str:
        """See `Op.describe`."""
        return f"{'over' if self.down else 'times'} the root of {self.rows}"


def filled(name: str, dtype: str, shape: tuple[int, ...], value: float) -> Tensor:
    """A tensor of one value that no file holds."""
    if value == 0:
        return zeros(name, dtype, shape)
    one = Tensor(name, "float64", (), Repeated(struct.pack("<d", value), 1))
    return Tensor(name, dtype, shape, Repeated(Cast(dtype).apply(one).tobytes(), prod(shape)))


def zeros(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of zeros that no file holds."""
    return Tensor(name, dtype, shape, Repeated(bytes(ITEMSIZE[dtype]), prod(shape)))


def pack(steps: bytes) -> str:
    """Steps for `AddUlps` as text, for a record."""
    from base64 import b85encode

    return b85encode(zlib.compress(steps, 9)).decode()


def unpack(text: str, size: int) -> bytes:
    """The ``size`` bytes of steps in a text. Raises `ValueError` where it does not hold as many."""
    from base64 import b85decode

    try:
        steps = zlib.decompressobj().decompress(b85decode(text), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(steps) != size:
        raise ValueError(f"{len(steps)} bytes, not {size}")
    return steps


def ulps_between(exact: Tensor, rounded: Tensor) -> bytes:
    """The steps that lead from ``rounded`` to ``exact``, element by element, for `AddUlps`."""
    import numpy

    integer = f"<i{ITEMSIZE[exact.dtype]}"
    return bytes(
        (numpy.frombuffer(exact.tobytes(), integer) - numpy.frombuffer(rounded.tobytes(), integer)).tobytes()
    )


class _Elementwise(NamedTuple):
    data: Data
    source: str
    target: str
    function: Callable[[Any], Any]

    def chunks(self) -> Iterator[memoryview]:
        for values in arrays(self.data, self.source):
            yield _bytes_of(self.function(values), self.target)


class _Divided(NamedTuple):
    tensor: Tensor
    by: Tensor
    back: bool

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        (by,) = next(arrays(self.by.data, self.by.dtype)).astype("float64")
        for values in arrays(self.tensor.data, self.tensor.dtype):
            wide = values.astype("float64")
            with numpy.errstate(all="ignore"):
                result = wide * by if self.back else wide / by if by else wide * 0.0
            yield _bytes_of(result, self.tensor.dtype)


class _Permuted(NamedTuple):
    tensor: Tensor
    axes: tuple[int, ...]

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        whole = numpy.frombuffer(self.tensor.tobytes(), f"V{ITEMSIZE[self.tensor.dtype]}")
        yield from _pieces(numpy.ascontiguousarray(whole.reshape(self.tensor.shape).transpose(self.axes)))


class _Rolled(NamedTuple):
    tensor: Tensor
    by: int

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        whole = numpy.frombuffer(self.tensor.tobytes(), f"V{ITEMSIZE[self.tensor.dtype]}")
        moved = numpy.roll(whole.reshape(*self.tensor.shape[:2], -1), self.by, axis=1)
        yield from _pieces(numpy.ascontiguousarray(moved))


class _Reversed(NamedTuple):
    tensor: Tensor

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        whole = numpy.frombuffer(self.tensor.tobytes(), f"V{ITEMSIZE[self.tensor.dtype]}")
        turned = whole.reshape(*self.tensor.shape[:2], -1)[:, ::-1]
        yield from _pieces(numpy.ascontiguousarray(turned))


class _Spread(NamedTuple):
    tensor: Tensor
    channels: int

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        whole = _whole(self.tensor)
        if whole.dtype.itemsize < 4:
            whole = whole.astype("<f4")
        total = whole[:, 0].copy()
        for channel in range(1, whole.shape[1]):
            total += whole[:, channel]
        mean = total / total.dtype.type(whole.shape[1])
        for one in mean:
            yield _bytes_of(numpy.repeat(one[None], self.channels, axis=0), self.tensor.dtype)


class _Padded(NamedTuple):
    tensor: Tensor
    channels: int

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        size = ITEMSIZE[self.tensor.dtype]
        whole = numpy.frombuffer(self.tensor.tobytes(), "u1").reshape(*self.tensor.shape[:2], -1)
        padded = numpy.zeros((len(whole), self.channels, prod(self.tensor.shape[2:]) * size), "u1")
        padded[:, : whole.shape[1]] = whole
        yield from _pieces(padded)


class _Inflated(NamedTuple):
    tensor: Tensor
    frames: int
    centre: bool

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        area = self.tensor.shape[-2] * self.tensor.shape[-1]
        whole = _whole(self.tensor).reshape(-1, 1, area)
        step = max(CHUNK // (area * self.frames * 4), 1)
        for start in range(0, len(whole), step):
            kernels = whole[start : start + step]
            if kernels.dtype.itemsize < 4:
                kernels = kernels.astype("<f4")
            if self.centre:
                out = numpy.zeros((len(kernels), self.frames, area), kernels.dtype)
                out[:, self.frames // 2] = kernels[:, 0]
            else:
                out = numpy.repeat(kernels / kernels.dtype.type(self.frames), self.frames, axis=1)
            yield _bytes_of(out, self.tensor.dtype)


class _Stepped(NamedTuple):
    data: Data
    dtype: str
    steps: bytes

    def chunks(self) -> Iterator[memoryview]:
        import numpy

        integer = f"<i{ITEMSIZE[self.dtype]}"
        steps = numpy.frombuffer(self.steps, integer)
        done = 0
        for words in _raw_arrays(self.data, integer):
            yield memoryview((words + steps[done : done + len(words)]).tobytes())
            done += len(words)


def _whole(tensor: Tensor) -> Any:
    """A kernel in memory as a numpy array of outputs, inputs and all else."""
    import numpy

    # Copied: a reader's next piece may lie where the last one did.
    pieces = [piece.copy() for piece in arrays(tensor.data, tensor.dtype)]
    return numpy.concatenate(pieces).reshape(*tensor.shape[:2], -1)


def _pieces(whole: Any) -> Iterator[memoryview]:
    """The bytes of a contiguous array, piece by piece."""
    view = whole.reshape(-1).view("u1").data
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]


def _raw_arrays(data: Data, dtype: str) -> Iterator[Any]:
    """Chunks as numpy arrays of whole elements, wherever the chunks were cut."""
    import numpy

    size = numpy.dtype(dtype).itemsize
    rest = b""
    for chunk in data.chunks():
        piece: Any = rest + bytes(chunk) if rest else chunk
        whole = len(piece) - len(piece) % size
        yield numpy.frombuffer(piece[:whole], dtype)
        rest = bytes(piece[whole:])


def arrays(data: Data, dtype: str) -> Iterator[Any]:
    """A tensor's values as one-dimensional numpy arrays, piece by piece; bfloat16 comes as float32."""
    if dtype != "bfloat16":
        import numpy

        yield from _raw_arrays(data, numpy.dtype(dtype).newbyteorder("<").str)
        return
    for halves in _raw_arrays(data, "<u2"):
        yield (halves.astype("<u4") << 16).view("<f4")


def _bytes_of(values: Any, dtype: str) -> memoryview:
    import numpy

    if dtype != "bfloat16":
        with numpy.errstate(over="ignore"):
            return memoryview(values.astype(numpy.dtype(dtype).newbyteorder("<")).tobytes())
    singles = values.astype("<f4")
    bits = singles.view("<u4")
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")
    quiet = ((bits >> 16) | 0x40).astype("<u2")
    return memoryview(numpy.where(numpy.isnan(singles), quiet, rounded).tobytes())
