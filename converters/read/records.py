"""The records of a zip file that is not compressed, as PyTorch writes them: where each lies in the file.

Structures as in PKWARE's APPNOTE.TXT: the end record, its zip64 form, the central directory, local headers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from ..errors import BadInput
from .pickle_vm import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tensor import SourceFile

_DIRECTORY_LIMIT = 8 << 20  # bytes; a record takes about eighty
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


class Record(NamedTuple):
    """A record's bytes in the file, and their CRC-32 as the directory has it."""

    offset: int
    size: int
    crc: int


def read_records(file: SourceFile) -> dict[str, Record]:
    """All records by name, in the file's order. Raises `BadInput` unless each is stored as it is, lies inside
    the file, overlaps no other and has a name of its own."""
    start, size, count = _directory(file)
    if size > _DIRECTORY_LIMIT:
        raise _damaged(file, f"has a directory of {size:,} bytes")
    raw = file.read_at(start, size)
    found: list[tuple[int, str, int, int]] = []
    at = 0
    while at < size:
        if size - at < _ENTRY.size:
            raise _damaged(file, "has a directory that ends in an entry")
        magic, _, _, flags, method, _, _, crc, packed, length, n_name, n_extra, n_comment, _, _, _, header = (
            _ENTRY.unpack_from(raw, at)
        )
        name_at = at + _ENTRY.size
        extra_at = name_at + n_name
        at = extra_at + n_extra + n_comment
        if magic != b"PK\x01\x02" or at > size:
            raise _damaged(file, "has a directory that is not one")
        name = _name(file, raw[name_at:extra_at])
        packed, length, header = _wide(file, raw[extra_at : extra_at + n_extra], packed, length, header)
        if method or flags & 1 or packed != length:
            raise BadInput(
                "is a zip file with compressed or encrypted records",
                path=file.path,
                where=shown(name),
                hint="PyTorch does not compress: if it is an archive with the checkpoint in it, unpack it",
            )
        found.append((header, name, length, crc))
    if len(found) != count:
        raise _damaged(file, f"has {len(found):,} records where its end says {count:,}")
    return _placed(file, found, start)


def has_crcs(records: Mapping[str, Record]) -> bool:
    """Whether checksums were written: ``torch.serialization.set_crc32_options(False)`` leaves all at zero."""
    return any(record.crc for record in records.values())


def verify_crcs(file: SourceFile, records: Mapping[str, Record]) -> bool:
    """Read all records and compare their checksums; False where the file has none. Raises `BadInput` that
    names a damaged record."""
    if not has_crcs(records):
        return False
    for name, record in records.items():
        verify_crc(file, name, record)
    return True


def verify_crc(file: SourceFile, name: str, record: Record) -> None:
    """Read one record and compare its checksum. Raises `BadInput`."""
    value = 0
    for chunk in file.chunks(record.offset, record.size):
        value = crc32(chunk, value)
    if value != record.crc:
        raise BadInput(
            f"has a damaged record: its CRC-32 is {value:08x}, it was written with {record.crc:08x}",
            path=file.path,
            where=shown(name),
            hint="fetch the file again",
        )


def _damaged(file: SourceFile, what: str) -> BadInput:
    return BadInput(what, path=file.path, hint="the zip file is damaged; fetch it again")


def _directory(file: SourceFile) -> tuple[int, int, int]:
    """Offset and size of the central directory, and how many entries it has."""
    tail = min(file.size, _END.size + 0xFFFF)
    raw = file.read_at(file.size - tail, tail)
    at = raw.rfind(b"PK\x05\x06")
    if at < 0 or tail - at < _END.size:
        raise BadInput(
            "has no end record, so its directory is missing",
            path=file.path,
            hint="the download is incomplete or the file was cut; fetch it again",
        )
    _, disk, first, here, count, size, start, comment = _END.unpack_from(raw, at)
    end = file.size - tail + at
    if end + _END.size + comment != file.size:
        raise _damaged(file, "has bytes behind its end record")
    if end >= _LOCATOR.size:
        magic, _, end64, _ = _LOCATOR.unpack(file.read_at(end - _LOCATOR.size, _LOCATOR.size))
        if magic == b"PK\x06\x07":
            end -= _LOCATOR.size
            magic, _, _, _, disk, first, here, count, size, start = _END64.unpack(
                file.read_at(end64, _END64.size)
            )
            if magic != b"PK\x06\x06" or end64 + _END64.size > end:
                raise _damaged(file, "has a zip64 end record that is not one")
            end = end64
    if disk or first or here != count:
        raise _damaged(file, "is one part of a zip file of several")
    if start + size != end:
        raise _damaged(file, "has a directory that is not where its end record says")
    return start, size, count


def _name(file: SourceFile, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged(file, "has a record whose name is not UTF-8") from None


def _wide(file: SourceFile, extra: bytes, packed: int, length: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset, from the zip64 field where they are too large for the entry itself."""
    full = 0xFFFFFFFF
    if full not in (packed, length, header):
        return packed, length, header
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1 and at + size <= len(extra):
            values = [v for (v,) in struct.iter_unpack("<Q", extra[at : at + size - size % 8])]
            values.reverse()
            try:
                length = values.pop() if length == full else length
                packed = values.pop() if packed == full else packed
                header = values.pop() if header == full else header
            except IndexError:
                break
            return packed, length, header
        at += size
    raise _damaged(file, "has a record without its zip64 sizes")


def _placed(file: SourceFile, found: list[tuple[int, str, int, int]], end: int) -> dict[str, Record]:
    """Where the records' own bytes are, each behind its local header."""
    records: dict[str, Record] = {}
    free = 0  # first byte that no record before this one takes
    for header, name, length, crc in sorted(found):
        if name in records:
            raise _damaged(file, f"has the record {shown(name)} twice")
        if header < free or header + _LOCAL.size > end:
            raise _damaged(file, f"has the record {shown(name)} across another or outside the file")
        raw = file.read_at(header, min(_LOCAL.size + len(name.encode()), end - header))
        magic, _, _, method, _, _, _, _, _, n_name, n_extra = _LOCAL.unpack_from(raw)
        named = raw[_LOCAL.size : _LOCAL.size + n_name]
        if magic != b"PK\x03\x04" or method or named != name.encode():
            raise _damaged(file, f"has a record {shown(name)} that is not where its directory says")
        offset = header + _LOCAL.size + n_name + n_extra
        free = offset + length
        if free > end:
            raise _damaged(file, f"has the record {shown(name)} across another or outside the file")
        records[name] = Record(offset, length, crc)
    return records
