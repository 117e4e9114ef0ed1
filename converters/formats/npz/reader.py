"""Reads numpy's ``.npz`` and ``.npy`` files without numpy and without unpickling: names, shapes, offsets.

An ``.npz`` is a zip file of ``.npy`` members, stored or deflated. Format: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.io.file_crc32 import joined_crc32
from converters.formats.io.zip_members import DEFLATED, Inflated, Member, read_members, verify_member
from converters.formats.io.zip_records import CheckedRecord, ZipRecord
from converters.formats.other_value import OtherValue, unconverted
from converters.formats.sniff import HEAD, expect, sniff, unexpected_kind
from converters.printable import short_name
from converters.tensor import ITEMSIZE, FileBytes, Held, Swapped, Tensor

from .header import LIMIT, MAGIC, header_length, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile
    from converters.tensor import Data

    from .header import Header

_HELD = 64 << 20  # bytes of an array that has to be held whole,
_HELD_RATIO = 16  # or so many times what it takes in the file

_OBJECTS = "|O"
_OTHER_NAMES = {"u2": "uint16", "u4": "uint32", "u8": "uint64", "c8": "complex64", "c16": "complex128"}


class NpzFile(NamedTuple):
    """The arrays of an ``.npz`` by name, in the file's order.

    ``tensors`` are those with dtypes that a state dict can hold. ``empty`` are the names of 0-d object arrays that
    hold None: a parameter that was never initialised. ``other_values`` are the rest, ``objects`` the names of those
    that are pickled Python objects, ``big_endian`` those of tensors that are so in the file.
    """

    tensors: dict[str, Tensor]
    empty: tuple[str, ...]
    other_values: dict[str, OtherValue]
    objects: tuple[str, ...]
    big_endian: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, OtherValue]:
        """Which tensors are big-endian, where any are: their bytes are given little-endian."""
        names = "\0".join(self.big_endian).encode("utf-8", "backslashreplace")
        return {"big-endian arrays": OtherValue(kind="names", data=Held(names))} if names else {}


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

    Raises `BadInput` for a file of another kind, a damaged file, and an archive without an array. A member that is
    not an array is among the other values. The tensors' bytes are little-endian and in C order, whatever the file has.
    """
    expect(file, "zip")
    tensors: dict[str, Tensor] = {}
    empty: list[str] = []
    objects: list[str] = []
    other_values: dict[str, OtherValue] = {}
    big_endian: list[str] = []
    others: list[str] = []
    for member in read_members(file).values():
        if member.name.endswith("/") and not member.size:
            continue  # a folder, as the command zip lists it
        name = member.name.removesuffix(".npy")
        if name == member.name and not is_array(file, member):
            others.append(name)
            other_values[name] = OtherValue(kind="a file that is not an array", data=_stored(file, member, 0))
            continue
        if name in tensors or name in other_values or name in empty:
            raise BadInput(
                "has an array twice, with and without .npy",
                path=file.path,
                where=short_name(name),
                hint="only one of the two can be used: remove the other",
            )
        head = _head(file, member)
        header = parse_header(file, head, member.size, member.name)
        if not header.dtype:
            if _is_none(file, member, header):
                empty.append(name)
            else:
                other_values[name] = _other(header, _stored(file, member, header.length))
                if header.descr == _OBJECTS:
                    objects.append(name)
            continue
        offset, size = member.offset + header.length, member.size - header.length
        data: Data
        if member.method == DEFLATED:
            if header.is_transposed and size > max(_HELD, _HELD_RATIO * member.packed):
                raise BadInput(
                    f"inflates {member.packed:,} bytes to {size:,}, which its order of axes would have held at once",
                    path=file.path,
                    where=f"array {short_name(name)}",
                    hint="weights do not compress that well: do not trust it, or save it with numpy.ascontiguousarray",
                )
            data = Inflated(file, member, header.length)
        elif checksum:
            # A CRC is linear: what the header contributes, added again, leaves that of the array.
            crc = joined_crc32(zlib.crc32(head[: header.length]), member.crc, size)
            data = CheckedRecord(file, ZipRecord(offset, size, crc), name)
        else:
            data = FileBytes(file, offset, size)
        tensors[name] = Tensor(name, header.dtype, header.shape, _ordered(data, header))
        if header.big:
            big_endian.append(name)
    if others and not tensors and not empty and len(others) == len(other_values):
        raise BadInput(
            "is a zip file with a member that is not an array",
            path=file.path,
            where=short_name(others[0]),
            hint="an .npz has arrays; if it is an archive with the checkpoint in it, unpack it",
        )
    return NpzFile(tensors, tuple(empty), other_values, tuple(objects), tuple(sorted(big_endian)))


def is_array(file: SourceFile, member: Member) -> bool:
    """Whether a member is an array by its contents: numpy reads these whatever they are called."""
    return member.size > len(MAGIC) and _start(file, member, len(MAGIC)) == MAGIC


def _is_none(file: SourceFile, member: Member, header: Header) -> bool:
    """Whether an array is one None, its checksum compared."""
    if header.descr != _OBJECTS or header.shape != ():
        return False
    from .objects import is_none

    verify_member(file, member)
    return is_none(file, member, header.length)


def _stored(file: SourceFile, member: Member, skip: int) -> Data:
    """A member's bytes behind its header, as they are in the file."""
    if member.method == DEFLATED:
        return Inflated(file, member, skip)
    return FileBytes(file, member.offset + skip, member.size - skip)


def _other(header: Header, data: Data) -> OtherValue:
    """An array that is not converted: by its dtype where its bytes are in the usual order, else by its own header."""
    if header.descr == _OBJECTS:
        return unconverted("pickled Python objects", header.shape, data)
    kind = _OTHER_NAMES.get(header.descr[1:], header.descr)
    if header.descr[0] not in "<|":
        kind = header.descr
    if header.is_transposed:
        kind = f"{kind}, Fortran order"
    return unconverted(kind, header.shape, data)


def read_npy(file: SourceFile) -> Tensor:
    """The one array of an ``.npy``, under the name ``array``. Raises `BadInput`."""
    if sniff(file.read_at(0, min(HEAD, file.size))) != "npy":
        expect(file, "npy")
    header = _only_header(file)
    if header.descr == _OBJECTS:
        from .objects import pickled

        raise pickled(file)
    if not header.dtype:
        raise BadInput(
            f"has elements of type {short_name(header.descr)}, which are not read",
            path=file.path,
            hint="only numbers are read; save it as an array of float32",
        )
    data = FileBytes(file, header.length, file.size - header.length)
    return Tensor("array", header.dtype, header.shape, _ordered(data, header))


def no_checkpoint(file: SourceFile) -> BadInput:
    """The error for an ``.npy``, which is not a checkpoint whatever it holds."""
    try:
        descr = _only_header(file).descr
    except BadInput:
        descr = ""  # a damaged one is not a checkpoint either
    if descr != _OBJECTS:
        return unexpected_kind(file, "npy")
    from .objects import pickled

    return pickled(file)


def _only_header(file: SourceFile) -> Header:
    return parse_header(file, file.read_at(0, min(file.size, LIMIT)), file.size, "array")


def _head(file: SourceFile, member: Member) -> bytes:
    """The start of a member, up to the end of its header."""
    length = min(member.size, 1024)
    while True:
        head = _start(file, member, length)
        need = header_length(head)
        if need <= length or length == member.size or need > LIMIT:
            return head
        length = min(member.size, need)


def _start(file: SourceFile, member: Member, length: int) -> bytes:
    if member.method == DEFLATED:
        return Inflated(file, member, 0).head(length)
    return file.read_at(member.offset, length)


def _ordered(data: Data, header: Header) -> Data:
    """Little-endian and in C order."""
    itemsize = ITEMSIZE[header.dtype]
    if header.is_transposed:
        data = _Transposed(data, header.shape, itemsize)
    return Swapped(data, itemsize) if header.big and itemsize > 1 else data
