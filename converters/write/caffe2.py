"""Writes Caffe2 checkpoints in the byte format of VMZ's releases.

That is what ``cPickle.dump({'blobs': {name: array}}, out, 2)`` writes under Python 2.7 with numpy 1.16, seen on
real files: names are Python 2 strings, an array's globals are written once and recalled afterwards, and an object
is stored in the memo only where cPickle, which looks at its reference count, stores it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from ..errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..tensor import Tensor

_CODES = {
    "float64": b"f8",
    "float32": b"f4",
    "float16": b"f2",
    "int64": b"i8",
    "int32": b"i4",
    "int16": b"i2",
    "int8": b"i1",
    "uint8": b"u1",
    "bool": b"b1",
}

_BATCH = 1000
"""Items of a dictionary that cPickle sets at once."""


def write_caffe2_pickle(
    out: BinaryIO, blobs: Iterable[Tensor] | Mapping[str, Tensor], *, nested: bool = True
) -> None:
    """Write the blobs in their order, as ``{'blobs': {...}}`` or flat, holding one chunk at a time.

    Raises `Refused` for a name that is not ASCII or is there twice, a dtype that numpy lacks, and an array of
    2 GiB or more, which the format has no length for.
    """
    tensors = blobs.values() if isinstance(blobs, Mapping) else blobs
    writer = _Writer(out)
    out.write(b"\x80\x02}" + writer.store("a dictionary"))
    if nested:
        out.write(_string(b"blobs") + writer.store("the name blobs") + b"}" + writer.store("its value"))
    writer.items(iter(tensors))
    out.write(b"s." if nested else b".")


class _Writer:
    """The stream and its memo: numbers of what is recalled later, by what it is."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._memo: dict[str, int] = {}
        self._names: set[str] = set()
