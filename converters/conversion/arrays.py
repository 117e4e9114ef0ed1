"""Tensors as numpy arrays and back, piece by piece. numpy is imported when the first value is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.files import CHUNK
from converters.tensor import ITEMSIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.tensor import Data, Tensor


PART = 1 << 20
"""Bytes of an array that are put in order at once: enough that each line of the cache is read few times."""


def arrays(data: Data, dtype: str) -> Iterator[Any]:
    """A tensor's values as one-dimensional numpy arrays, piece by piece; bfloat16 comes as float32."""
    if dtype != "bfloat16":
        import numpy

        yield from raw_arrays(data, numpy.dtype(dtype).newbyteorder("<").str)
        return
    for halves in raw_arrays(data, "<u2"):
        yield (halves.astype("<u4") << 16).view("<f4")


def raw_arrays(data: Data, code: str) -> Iterator[Any]:
    """The bytes as numpy arrays of the dtype ``code``, in whole elements wherever the chunks were cut."""
    import numpy

    size = numpy.dtype(code).itemsize
    rest = b""
    for chunk in data.chunks():
        piece: Any = rest + bytes(chunk) if rest else chunk
        whole = len(piece) - len(piece) % size
        yield numpy.frombuffer(piece[:whole], code)
        rest = bytes(piece[whole:])


def whole_kernel(tensor: Tensor) -> Any:
    """A kernel in memory, of shape [outputs, inputs, all else]; float16 and bfloat16 come as float32."""
    import numpy

    wide = "<f8" if tensor.dtype == "float64" else "<f4"
    # astype copies: a reader's next piece may lie where the last one did.
    pieces = [piece.astype(wide) for piece in arrays(tensor.data, tensor.dtype)]
    return numpy.concatenate(pieces).reshape(*tensor.shape[:2], -1)


def whole_elements(tensor: Tensor) -> Any:
    """A tensor in memory, of its own shape; the elements are opaque, so any dtype will do."""
    import numpy

    return numpy.frombuffer(tensor.tobytes(), f"V{ITEMSIZE[tensor.dtype]}").reshape(tensor.shape)


def chunks_of(array: Any) -> Iterator[memoryview]:
    """The bytes of an array in C order, at most `CHUNK` at a time. One whose axes were moved is put in order part by
    part."""
    import numpy

    for part in _parts(array):
        view = numpy.ascontiguousarray(part).reshape(-1).view("u1").data
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]


def _parts(array: Any) -> Iterator[Any]:
    """An array in pieces along its first axis of about `PART` bytes, or as a whole if it is in C order."""
    if array.flags.c_contiguous:
        yield array
        return
    rows = max(1, PART * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def as_bytes(values: Any, dtype: str) -> memoryview:
    """Floating values in another dtype, rounded to nearest even: its little-endian bytes. NaN stays NaN."""
    import numpy

    with numpy.errstate(over="ignore"):
        if dtype != "bfloat16":
            return memoryview(values.astype(numpy.dtype(dtype).newbyteorder("<")).tobytes())
        singles = values.astype("<f4")
    bits = singles.view("<u4")
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")
    quiet = ((bits >> 16) | 0x40).astype("<u2")
    return memoryview(numpy.where(numpy.isnan(singles), quiet, rounded).tobytes())
