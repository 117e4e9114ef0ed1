"""Lazy tensors: a name, a dtype, a shape, and where the bytes are.

Nothing here reads a tensor's bytes until its ``data.chunks()`` is consumed. Bytes always come out little-endian
and in C (row-major) order, whatever the file held.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .files import SourceFile

ITEMSIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes an element of each dtype that a state dict can hold takes."""


FLOATS = ("float32", "float16", "bfloat16", "float64")
"""The dtypes that weights come in, and can be cast to."""

NUMPY_CODES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u1": "uint8",
    "b1": "bool",
}
"""numpy's code of each of these dtypes, as its file formats spell it after the byte order."""


_STRUCT_CODES = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint8": "B",
    "bool": "?",
}


class Data(Protocol):
    """Where a tensor's bytes are."""

    def chunks(self) -> Iterator[memoryview]:
        """Yield the little-endian C-order bytes in order, at most `CHUNK` at a time.

        A view is valid only until the next one is asked for.
        """
        ...


def known_crc(data: Data) -> int | None:
    """The CRC-32 that the source file has for these data, where reading them to the end compares it (attribute
    ``crc32``); None where there is none, or another kind of checksum."""
    crc: int | None = getattr(data, "crc32", None)
    return crc


class Tensor(NamedTuple):
    """A named array that may still be in a file.

    ``dtype`` is a key of `ITEMSIZE`; ``shape`` is the logical shape in C order, ``()`` for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Data

    @property
    def nbytes(self) -> int:
        """Bytes of the array itself."""
        return prod(self.shape) * ITEMSIZE[self.dtype]

    def tobytes(self) -> bytes:
        """All bytes at once, little-endian and in C order. For small tensors and for tests."""
        return b"".join(bytes(chunk) for chunk in self.data.chunks())


def same_bytes(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same bytes."""
    return same_data(a.data, b.data)


def same_data(a: Data, b: Data) -> bool:
    """Whether two have the same bytes. Reads both side by side until the first difference."""
    left = right = memoryview(b"")
    left_chunks, right_chunks = a.chunks(), b.chunks()
    while True:
        # The next chunk may take the place of the other side's: only the one that is read last is not copied.
        left = left or memoryview(bytes(next(left_chunks, b"")))
        if not right:
            right = next(right_chunks, right)
        size = min(len(left), len(right))
        if size == 0:
            return len(left) == len(right)
        if not _same_views(left[:size], right[:size]):
            return False
        left, right = left[size:], memoryview(bytes(right[size:]))


def _same_views(a: memoryview, b: memoryview) -> bool:
    """Whether two views of as many bytes are the same: eight bytes at a time, which is faster."""
    words = len(a) // 8 * 8
    return a[:words].cast("Q") == b[:words].cast("Q") and a[words:] == b[words:]


class FileBytes(NamedTuple):
    """Contiguous bytes in a file, already little-endian and in C order."""

    file: SourceFile
    offset: int
    nbytes: int

    def chunks(self) -> Iterator[memoryview]:
        return self.file.chunks(self.offset, self.nbytes)


def whole_file(file: SourceFile) -> FileBytes:
    """All bytes of a file."""
    return FileBytes(file, 0, file.size)


def in_file(data: Data) -> FileBytes | None:
    """The range of a file that has these data as they are (attribute ``in_file``); None where none has."""
    return data if isinstance(data, FileBytes) else getattr(data, "in_file", None)


class Held(NamedTuple):
    """Bytes in memory. A view must be contiguous and have single bytes as items."""

    data: bytes | memoryview

    def chunks(self) -> Iterator[memoryview]:
        whole = memoryview(self.data)
        for start in range(0, len(whole), CHUNK):
            yield whole[start : start + CHUNK]


class Joined(NamedTuple):
    """Bytes in several pieces, in order."""

    parts: tuple[Data, ...]

    def chunks(self) -> Iterator[memoryview]:
        for part in self.parts:
            yield from part.chunks()


class Repeated(NamedTuple):
    """The bytes of one element, ``times`` times: a tensor that was filled with a constant."""

    element: bytes
    times: int

    def chunks(self) -> Iterator[memoryview]:
        left = self.times
        many = max(1, CHUNK // len(self.element))
        block = memoryview(self.element * min(left, many))
        while left > 0:
            now = min(left, many)
            yield block[: now * len(self.element)]
            left -= now


def zeros(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of zeros that no file holds."""
    return Tensor(name, dtype, shape, Repeated(bytes(ITEMSIZE[dtype]), prod(shape)))


def filled(name: str, dtype: str, shape: tuple[int, ...], value: float) -> Tensor:
    """A tensor of one value that no file holds. The value is rounded to the nearest of ``dtype``, ties to even."""
    return Tensor(name, dtype, shape, Repeated(_element(dtype, value), prod(shape)))


def _element(dtype: str, value: float) -> bytes:
    """The little-endian bytes of one value. Raises `struct.error` or `OverflowError` if ``dtype`` cannot hold it."""
    if dtype == "bfloat16":
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        return struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    code = _STRUCT_CODES[dtype]
    return struct.pack(f"<{code}", int(value) if code in "qihbB" else value)


class Swapped(NamedTuple):
    """Big-endian bytes converted to little-endian. ``itemsize`` is the size of an element in bytes: 2, 4 or 8."""

    data: Data
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        from array import array

        code = {2: "H", 4: "I", 8: "Q"}[self.itemsize]
        rest = b""
        for chunk in self.data.chunks():
            piece = rest + bytes(chunk)
            whole = len(piece) - len(piece) % self.itemsize
            rest = piece[whole:]
            words = array(code, piece[:whole])
            words.byteswap()
            yield memoryview(words).cast("B")
