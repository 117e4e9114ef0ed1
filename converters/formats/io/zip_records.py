"""The records of a zip file as PyTorch and numpy write it, uncompressed; also of one that was packed again, and
deflated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.io.crc32 import crc32_function
from converters.formats.io.zip_members import DEFLATED, STORED, Member, read_members
from converters.printable import short_name
from converters.tensor import FileBytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile
    from converters.tensor import Data


_HELD = 64 << 20
_HELD_RATIO = 16
"""Deflated records may inflate to so many bytes together, and to so many times the size of the file besides. Weights
shrink by a tenth or two."""


class ZipRecord(NamedTuple):
    """Offset and size of a record in the file, and its CRC-32 from the directory. A deflated record is no part of the
    file: ``member`` is where it is, and its offset is that in the inflated bytes, 0."""

    offset: int
    size: int
    crc: int
    member: Member | None = None


def read_records(file: SourceFile) -> dict[str, ZipRecord]:
    """All records by name, in the file's order.

    Raises `BadInput` unless each is stored or deflated, lies inside the file, overlaps no other and has a unique name,
    and for deflated records that would inflate to far more than weights do.
    """
    members = read_members(file)
    deflated = [member for member in members.values() if member.method == DEFLATED]
    inflated = sum(member.size for member in deflated)
    if inflated > _HELD + _HELD_RATIO * file.size:
        packed = sum(member.packed for member in deflated)
        raise BadInput(
            f"inflates {packed:,} bytes to {inflated:,}",
            path=file.path,
            hint="weights do not compress that well: do not trust it; if you do, unpack it and pack it with zip -0",
        )
    return {
        name: ZipRecord(member.offset, member.size, member.crc)
        if member.method == STORED
        else ZipRecord(0, member.size, member.crc, member)
        for name, member in members.items()
    }


def place(file: SourceFile, record: ZipRecord, *, held: bool = False) -> SourceFile:
    """The file that a record's offset counts in: the zip file, or the deflated record itself, ``held`` in memory where
    many small reads follow."""
    if record.member is None:
        return file
    from .inflated_files import InflatedFile

    inflated = InflatedFile(file, record.member)
    if held:
        inflated.hold()
    return inflated


def has_crcs(records: Mapping[str, ZipRecord]) -> bool:
    """Whether the file has checksums: ``torch.serialization.set_crc32_options(False)`` leaves them all at zero."""
    return any(record.crc for record in records.values())


def verify_crcs(file: SourceFile, records: Mapping[str, ZipRecord]) -> bool:
    """Read all records and compare their checksums; False if the file has none. Raises `BadInput`, naming a damaged
    record."""
    if not has_crcs(records):
        return False
    for name, record in records.items():
        verify_crc(file, name, record)
    return True


def verify_crc(file: SourceFile, name: str, record: ZipRecord) -> None:
    """Read one record and compare its checksum. Raises `BadInput`, naming it ``name``."""
    checksum = crc32 if record.size <= CHUNK else crc32_function()  # not worth an import for little
    value = 0
    for chunk in place(file, record).chunks(record.offset, record.size):
        value = checksum(chunk, value)
    _compare(file, name, record, value)


def _compare(file: SourceFile, name: str, record: ZipRecord, value: int) -> None:
    if value != record.crc:
        raise BadInput(
            f"has a damaged record: its CRC-32 is {value:08x}, it was written with {record.crc:08x}",
            path=file.path,
            where=short_name(name),
            hint="fetch the file again",
        )


class CheckedRecord(NamedTuple):
    """The bytes of the tensor ``name``, which is exactly one record. The checksum is compared during reading:
    `chunks` ends with `BadInput` where it differs."""

    file: SourceFile
    record: ZipRecord
    name: str

    @property
    def crc32(self) -> int:
        return self.record.crc

    @property
    def in_file(self) -> FileBytes:
        return FileBytes(self.file, self.record.offset, self.record.size)

    def chunks(self) -> Iterator[memoryview]:
        checksum, value = crc32_function(), 0
        for chunk in self.file.chunks(self.record.offset, self.record.size):
            value = checksum(chunk, value)
            yield chunk
        _compare(self.file, self.name, self.record, value)


class RecordCheck:
    """The check of a record that several tensors share: done once, when the first of them is read."""

    __slots__ = ("_done", "_file", "_record")

    def __init__(self, file: SourceFile, record: ZipRecord) -> None:
        self._file = file
        self._record = record
        self._done = False

    def verify(self, name: str) -> None:
        """Read the whole record unless that was done. Raises `BadInput`, naming the tensor ``name``."""
        if not self._done:
            verify_crc(self._file, name, self._record)
            self._done = True


class CheckedPart(NamedTuple):
    """The bytes ``data`` of the tensor ``name``, which are part of a record or in another order."""

    data: Data
    check: RecordCheck
    name: str

    def chunks(self) -> Iterator[memoryview]:
        self.check.verify(self.name)
        yield from self.data.chunks()
