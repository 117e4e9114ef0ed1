"""Reads numpy's ``.npz`` and ``.npy`` files without numpy and without unpickling: names, shapes, offsets.

An ``.npz`` is a zip file of ``.npy`` members, stored or deflated. Format: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import re
import zlib
from functools import cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.io.zip_members import DEFLATED, Inflated, Member, read_members, verify_member
from converters.formats.io.zip_records import CheckedRecord, ZipRecord
from converters.formats.other_value import unconverted
from converters.formats.sniff import HEAD, expect, sniff
from converters.printable import printable, short_name
from converters.tensor import ITEMSIZE, NUMPY_CODES, FileBytes, Swapped, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue
    from converters.tensor import Data

_MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 65_536
_HELD = 64 << 20  # bytes of an array that has to be held whole,
_HELD_RATIO = 16  # or so many times what it takes in the file
_HEADER = re.compile(
    r"\{'descr': (?P<descr>'[^'\\]{1,40}'|\[.*\]), 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\dL, ]*)\),? ?\} *\n?",
    re.DOTALL,
)


_OTHER_NAMES = {"u2": "uint16", "u4": "uint32", "u8": "uint64", "c8": "complex64", "c16": "complex128"}


class NpzFile(NamedTuple):
    """The arrays of an ``.npz`` by name, in the file's order.

    ``tensors`` are those with dtypes that a state dict can hold. ``empty`` are the names of 0-d object arrays, which
    stand for None: a parameter that was never initialised. ``other_values`` are the rest.
    """

    tensors: dict[str, Tensor]
    empty: tuple[str, ...]
    other_values: dict[str, OtherValue]


class _Header(NamedTuple):
    dtype: str  # empty for one that a state dict cannot hold
    descr: str
    big: bool
    fortran: bool
    shape: tuple[int, ...]
    length: int


class _Transposed:
    """An array in Fortran order, converted to C order. Needs numpy, and memory for the array twice."""

    __slots__ = ("data", "itemsize", "shape")

    def __init__(self, data: Data, shape: tuple[int, ...], itemsize: int) -> None:
        self.data = data
        self.shape = shape
        self.itemsize = itemsize

    def chunks(self) -> Iterator[memoryview]:
        import numpy as np

        raw = b"".join(bytes(chunk) for chunk in self.data.chunks())
        array = np.frombuffer(raw, f"u{self.itemsize}").reshape(self.shape, order="F")
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), CHUNK):
            yield flat[start : start + CHUNK]


def read_npz(file: SourceFile, *, checksum: bool = True) -> NpzFile:
    """Read the names, shapes and offsets of all arrays. With ``checksum`` each compares its CRC-32 when it is read.

    Raises `BadInput` for a file of another kind, a damaged file, and members that are not arrays. The tensors' bytes
    are little-endian and in C order, whatever the file has.
    """
    expect(file, "zip")
    tensors: dict[str, Tensor] = {}
    empty: list[str] = []
    other_values: dict[str, OtherValue] = {}
    for member in read_members(file).values():
        name = member.name.removesuffix(".npy")
        if name == member.name:
            raise BadInput(
                "is a zip file with a member that is not an array",
                path=file.path,
                where=short_name(name),
                hint="an .npz has .npy members only; if it is an archive with the checkpoint in it, unpack it",
            )
        head = _head(file, member)
        header = _parse(file, head, member.size, member.name)
        if not header.dtype:
            if header.descr == "|O" and header.shape == ():
                verify_member(file, member)
                empty.append(name)
            else:
                other_values[name] = _other(header, _stored(file, member, header.length))
            continue
        offset, size = member.offset + header.length, member.size - header.length
        data: Data
        if member.method == DEFLATED:
            if _transposed(header) and size > max(_HELD, _HELD_RATIO * member.packed):
                raise BadInput(
                    f"inflates {member.packed:,} bytes to {size:,}, which its order of axes would have held at once",
                    path=file.path,
                    where=f"array {short_name(name)}",
                    hint="weights do not shrink so: do not trust it, or save it with numpy.ascontiguousarray",
                )
            data = Inflated(file, member, header.length)
        elif checksum:
            crc = _crc_after_header(zlib.crc32(head[: header.length]), member.crc, size)
            data = CheckedRecord(file, ZipRecord(offset, size, crc), name)
        else:
            data = FileBytes(file, offset, size)
        tensors[name] = Tensor(name, header.dtype, header.shape, _ordered(data, header))
    return NpzFile(tensors, tuple(empty), other_values)


def _stored(file: SourceFile, member: Member, skip: int) -> Data:
    """A member's bytes behind its header, as they are in the file."""
    if member.method == DEFLATED:
        return Inflated(file, member, skip)
    return FileBytes(file, member.offset + skip, member.size - skip)


def _other(header: _Header, data: Data) -> OtherValue:
    """An array that is not converted: by its dtype where its bytes are in the usual order, else by its own header."""
    kind = _OTHER_NAMES.get(header.descr[1:], header.descr)
    if header.descr[0] not in "<|":
        kind = header.descr
    if _transposed(header):
        kind = f"{kind}, Fortran order"
    return unconverted(kind, header.shape, data)


def read_npy(file: SourceFile) -> Tensor:
    """The one array of an ``.npy``, under the name ``array``. Raises `BadInput`."""
    if sniff(file.read_at(0, min(HEAD, file.size))) != "npy":
        expect(file, "npy")
    header = _parse(file, file.read_at(0, min(file.size, _HEADER_LIMIT)), file.size, "array")
    if not header.dtype:
        raise BadInput(
            f"has elements of type {short_name(header.descr)}, which are not read",
            path=file.path,
            hint="numbers are; save it as an array of float32",
        )
    data = FileBytes(file, header.length, file.size - header.length)
    return Tensor("array", header.dtype, header.shape, _ordered(data, header))


def _head(file: SourceFile, member: Member) -> bytes:
    """The start of a member, up to the end of its header."""
    length = min(member.size, 1024)
    while True:
        head = (
            Inflated(file, member, 0).head(length)
            if member.method == DEFLATED
            else file.read_at(member.offset, length)
        )
        need = _need(head)
        if need <= length or length == member.size or need > _HEADER_LIMIT:
            return head
        length = min(member.size, need)


def _need(head: bytes) -> int:
    """The length of the header, prefix included, as the prefix states it."""
    wide = head[6:7] != b"\x01"
    return (12 if wide else 10) + int.from_bytes(head[8 : 12 if wide else 10], "little")


def _parse(file: SourceFile, head: bytes, size: int, name: str) -> _Header:
    def bad(what: str) -> BadInput:
        return BadInput(
            what,
            path=file.path,
            where=f"array {short_name(name)}",
            hint="the file is damaged; fetch it again",
        )

    if not head.startswith(_MAGIC) or len(head) < 10:
        raise bad("is not a numpy array")
    if head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise bad(f"has the format version {head[6]}.{head[7]}, which is not known")
    length = _need(head)
    if length > min(len(head), _HEADER_LIMIT):
        raise bad(f"has a header of {length:,} bytes, there are {min(size, _HEADER_LIMIT):,}")
    encoding = "utf-8" if head[6] == 3 else "latin-1"
    text = head[12 if head[6] > 1 else 10 : length].decode(encoding, "replace")
    match = _HEADER.fullmatch(text)
    if match is None:
        raise bad("has a header that numpy does not write")
    descr = match["descr"].strip("'")
    order, code = descr[:1], descr[1:]
    dtype = NUMPY_CODES.get(code, "") if order in "<>|" else ""
    if dtype and (order == "|") != (ITEMSIZE[dtype] == 1):
        raise bad(f"has the dtype {short_name(descr)}, which numpy does not write")
    shape = _parse_shape(match["shape"])
    if shape is None:
        raise bad("has an impossible shape")
    if dtype and prod(shape) * ITEMSIZE[dtype] != size - length:
        raise bad(
            f"takes {size - length:,} bytes, which are not those of {dtype} {'x'.join(map(str, shape)) or 'scalar'}"
        )
    return _Header(dtype, printable(descr), order == ">", match["fortran"] == "True", shape, length)


def _parse_shape(text: str) -> tuple[int, ...] | None:
    """A tuple as Python writes it: one size is followed by a comma, and Python 2 may write an L."""
    if not text:
        return ()
    if not re.fullmatch(r"\d{1,19}L?(?:,|(?:, \d{1,19}L?){1,63})", text):
        return None
    shape = tuple(int(size.strip("L ")) for size in text.split(",") if size)
    return shape if all(size < 1 << 63 for size in shape) else None


def _transposed(header: _Header) -> bool:
    """Whether Fortran order differs from C order."""
    return header.fortran and sum(size != 1 for size in header.shape) > 1 and 0 not in header.shape


def _ordered(data: Data, header: _Header) -> Data:
    """Little-endian and in C order."""
    itemsize = ITEMSIZE[header.dtype]
    if _transposed(header):
        data = _Transposed(data, header.shape, itemsize)
    return Swapped(data, itemsize) if header.big and itemsize > 1 else data


def _crc_after_header(head: int, whole: int, size: int) -> int:
    """The CRC-32 of the last ``size`` bytes of data whose CRC-32 is ``whole`` and that start with ``head``.

    A checksum is linear: the head's contribution to it is the head's own CRC, advanced by ``size`` zero bytes.
    """
    for power, matrix in enumerate(_zeros()):
        if size >> power & 1:
            head = _times(matrix, head)
    return whole ^ head


@cache
def _zeros() -> tuple[tuple[int, ...], ...]:
    """Matrices over bits that advance a CRC-32 by 1, 2, 4 ... zero bytes, each the square of the one before."""
    matrix = (0xEDB88320, *(1 << bit for bit in range(31)))  # one zero bit; the polynomial is reflected
    for _ in range(3):
        matrix = _squared(matrix)
    matrices = [matrix]
    while len(matrices) < 40:  # up to a terabyte
        matrices.append(_squared(matrices[-1]))
    return tuple(matrices)


def _times(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    for row in matrix:
        if vector & 1:
            total ^= row
        vector >>= 1
    return total


def _squared(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_times(matrix, row) for row in matrix)
