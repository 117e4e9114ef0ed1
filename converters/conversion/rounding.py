"""What rounding takes from values, and how a record keeps it: as steps in units in the last place (`AddUlps`)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from converters.tensor import ITEMSIZE

if TYPE_CHECKING:
    from converters.tensor import Tensor

    from .operations.base import Reversible

_WIDER = {
    "float16": ("float32", "float64"),
    "bfloat16": ("float32", "float64"),
    "float32": ("float64",),
    "float64": (),
}


def is_exact(source: str, target: str) -> bool:
    """Whether every value of one floating dtype is a value of another."""
    return target == source or target in _WIDER[source]


def rounding_of(operation: Reversible, tensor: Tensor) -> bytes:
    """The steps that bring a tensor back to the last bit once an operation on it is undone. Reads the tensor."""
    return ulps_between(tensor, operation.inverse().apply(operation.apply(tensor)))


def ulps_between(exact: Tensor, rounded: Tensor) -> bytes:
    """The steps that lead from ``rounded`` to ``exact``, element by element; both of one dtype and size."""
    import numpy

    integer = f"<i{ITEMSIZE[exact.dtype]}"
    steps = numpy.frombuffer(exact.tobytes(), integer) - numpy.frombuffer(rounded.tobytes(), integer)
    return bytes(steps.tobytes())


def pack(steps: bytes) -> str:
    """Steps as text, for a record."""
    from base64 import b85encode

    return b85encode(zlib.compress(steps, 9)).decode()


def unpack(text: str, size: int) -> bytes:
    """The ``size`` bytes of steps in a text. Raises `ValueError` if it has more or fewer."""
    from base64 import b85decode

    try:
        steps = zlib.decompressobj().decompress(b85decode(text), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(steps) != size:
        raise ValueError(f"{len(steps)} bytes, not {size}")
    return steps
