"""Finds the members of a zip file, stored or deflated, and reads deflated ones.

Structures as in PKWARE's APPNOTE.TXT: the end record, its zip64 form, the central directory, local headers.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile

STORED, DEFLATED = 0, 8
"""The methods that are read."""

_STORAGE = re.compile(r"/(?:data|constants)/\d+$")
"""The names of the members of a PyTorch file that hold tensors' bytes, and nothing that says what the file is."""

_DIRECTORY_LIMIT = 8 << 20  # bytes; a member takes about eighty
_RATIO = 1032  # deflate cannot do better
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


_FOLDER = 0x10
"""A folder, among MS-DOS's attributes of a file."""

_ENCRYPTED = 0x2061
"""The bits of an encrypted or patched member, and of encrypted names."""


class Member(NamedTuple):
    """A member: ``packed`` bytes in the file, ``size`` bytes once inflated, and their CRC-32 from the directory."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int


def read_members(file: SourceFile) -> dict[str, Member]:
    """All members by name, in the file's order.

    Raises `BadInput` unless each is stored or deflated, lies inside the file, overlaps no other and has a unique name.
    """
    start, size, count = _directory(file)
    if size > _DIRECTORY_LIMIT:
        raise damaged(file, f"has a directory of {size:,} bytes")
    raw = file.read_at(start, size)
    entries: list[tuple[int, Member]] = []
    at = 0
    while at < size:
        header, flags, member, at = _entry(file, raw, at)
        _refuse_unreadable(file, member, flags)
        entries.append((header, member))
    if len(entries) != count:
        raise damaged(file, f"has {len(entries):,} members where its end says {count:,}")
    return _placed(file, entries, start)


def _entry(file: SourceFile, raw: bytes, at: int) -> tuple[int, int, Member, int]:
    """An entry of the directory: the offset of its local header, its flags, the member, which has no offset yet, and
    the index after it."""
    if len(raw) - at < _ENTRY.size:
        raise damaged(file, "has a directory that ends in an entry")
    fields = _ENTRY.unpack_from(raw, at)
    magic, flags, method, crc = fields[0], *fields[3:5], fields[7]
    packed, size, n_name, n_extra, n_comment = fields[8:13]
    name_at = at + _ENTRY.size
    extra_at = name_at + n_name
    end = extra_at + n_extra + n_comment
    if magic != b"PK\x01\x02" or end > len(raw):
        raise damaged(file, "has a directory that is not one")
    name = _name(file, raw[name_at:extra_at])
    disk, outside = fields[13], fields[15]
    if disk:
        raise damaged(file, f"has the member {short_name(name)} in another file of several")
    packed, size, header = _wide(file, raw[extra_at : extra_at + n_extra], packed, size, fields[16])
    if size and outside & _FOLDER:  # PyTorch does not read it, and takes whatever is in memory
        raise damaged(file, f"has the member {short_name(name)}, with contents, marked as a folder")
    member = Member(name=name, offset=0, packed=packed, size=size, method=method, crc=crc)
    return header, flags, member, end


def _refuse_unreadable(file: SourceFile, member: Member, flags: int) -> None:
    """Raise `BadInput` for a member that is encrypted, compressed in a way that is not read, or of impossible size."""
    name, method = member.name, member.method
    if flags & _ENCRYPTED:
        raise BadInput("is a zip file with encrypted members", path=file.path, where=short_name(name))
    if method not in (STORED, DEFLATED):
        raise BadInput(
            f"is a zip file with members compressed by method {method}",
            path=file.path,
            where=short_name(name),
            hint="stored and deflated ones are read; unpack it, and pack it again with zip -0",
        )
    possible = member.packed == member.size if method == STORED else member.size <= member.packed * _RATIO
    if not possible:
        raise damaged(file, f"has the member {short_name(name)} of impossible size, compressed or not")


class Inflated:
    """The bytes of a deflated member from ``skip`` on. Length and CRC-32 are checked when all are read."""

    __slots__ = ("file", "member", "skip")

    def __init__(self, file: SourceFile, member: Member, skip: int) -> None:
        self.file = file
        self.member = member
        self.skip = skip

    def chunks(self) -> Iterator[memoryview]:
        skip = self.skip
        for piece in self._pieces():
            if skip < len(piece):
                yield memoryview(piece)[skip:]
            skip = max(0, skip - len(piece))

    def head(self, length: int) -> bytes:
        """The first bytes of the member, regardless of ``skip``; the checksum is not compared."""
        out = b""
        for piece in self._pieces():
            out += piece
            if len(out) >= length:
                break
        return out[:length]

    def _pieces(self) -> Iterator[bytes]:
        file, member = self.file, self.member
        inflate = zlib.decompressobj(-15)
        crc = done = 0
        for chunk in file.chunks(member.offset, member.packed):
            rest: bytes | memoryview = chunk
            while True:
                try:
                    piece = inflate.decompress(rest, CHUNK)
                except zlib.error:
                    raise self._damaged("cannot be inflated") from None
                rest = inflate.unconsumed_tail
                done += len(piece)
                if done > member.size:
                    raise self._damaged(f"has more than the {member.size:,} bytes it says")
                crc = zlib.crc32(piece, crc)
                if piece:
                    yield piece
                if inflate.eof or (not rest and len(piece) < CHUNK):
                    break  # after a full piece there may be more although all input is taken
        if not inflate.eof or inflate.unused_data or done != member.size:
            raise self._damaged(f"has {done:,} bytes, not the {member.size:,} it says")
        if crc != member.crc:
            raise wrong_crc(file, member.name, crc, member.crc)

    def _damaged(self, what: str) -> BadInput:
        return BadInput(
            what,
            path=self.file.path,
            where=f"member {short_name(self.member.name)}",
            hint="fetch the file again",
        )


def verify_member(file: SourceFile, member: Member) -> None:
    """Read a member and compare its length and checksum. Raises `BadInput`."""
    if member.method == DEFLATED:
        for _ in Inflated(file, member, 0).chunks():
            pass
        return
    crc = 0
    for chunk in file.chunks(member.offset, member.size):
        crc = zlib.crc32(chunk, crc)
    if crc != member.crc:
        raise wrong_crc(file, member.name, crc, member.crc)


def wrong_crc(file: SourceFile, name: str, found: int, wanted: int) -> BadInput:
    """The error for a member with a wrong checksum."""
    return BadInput(
        f"has a damaged member: its CRC-32 is {found:08x}, it was written with {wanted:08x}",
        path=file.path,
        where=short_name(name),
        hint="fetch the file again",
    )


def damaged(file: SourceFile, what: str) -> BadInput:
    """The error for a zip file whose structures contradict each other."""
    return BadInput(what, path=file.path, hint="the zip file is damaged; fetch it again")


def _directory(file: SourceFile) -> tuple[int, int, int]:
    """Offset and size of the central directory, and its number of entries."""
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
        raise damaged(file, "has bytes after its end record")
    if end >= _LOCATOR.size:
        magic, _, end64, _ = _LOCATOR.unpack(file.read_at(end - _LOCATOR.size, _LOCATOR.size))
        if magic == b"PK\x06\x07":
            end -= _LOCATOR.size
            _refuse_joined(file, end - _END64.size - end64, end - _END64.size, b"PK\x06\x06")
            magic, _, _, _, disk, first, here, count, size, start = _END64.unpack(
                file.read_at(end64, _END64.size)
            )
            if magic != b"PK\x06\x06" or end64 + _END64.size > end:
                raise damaged(file, "has a zip64 end record that is not one")
            end = end64
    if disk or first or here != count:
        raise damaged(file, "is one part of a zip file of several")
    _refuse_joined(file, end - size - start, end - size, b"PK\x01\x02")
    if start + size != end:
        raise damaged(file, "has a directory that is not where its end record says")
    return start, size, count


def _refuse_joined(file: SourceFile, in_front: int, at: int, magic: bytes) -> None:
    """Raise `BadInput` for a record that is there, but so many bytes behind where the file says, if a zip file begins
    behind as many."""
    if 0 < in_front <= at and (file.read_at(in_front, 4), file.read_at(at, 4)) == (b"PK\x03\x04", magic):
        raise BadInput(
            f"has {in_front:,} bytes in front of the zip file at its end",
            path=file.path,
            hint=f"files were joined; `tail -c +{in_front + 1}` takes the last one out",
        )


def _name(file: SourceFile, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(file, "has a member whose name is not UTF-8") from None


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
    raise damaged(file, "has a member without its zip64 sizes")


def _placed(file: SourceFile, listed: list[tuple[int, Member]], end: int) -> dict[str, Member]:
    """The ``listed`` members, each given with its local header's offset, with the offsets of their bytes."""
    members: dict[str, Member] = {}
    free = 0  # first byte that no member before this one takes
    ordered = sorted(listed)
    for number, (header, member) in enumerate(ordered):
        name = member.name
        if name in members:
            raise damaged(file, f"has the member {short_name(name)} twice")
        if header < free or header + _LOCAL.size > end:
            raise damaged(file, f"has the member {short_name(name)} across another or outside the file")
        if file.is_distant and _STORAGE.search(name):
            following = ordered[number + 1][0] if number + 1 < len(ordered) else end
            offset = header + _LOCAL.size + len(name.encode())  # at least: its local header is not read
            free = offset + member.packed
            if free > following:
                raise damaged(file, f"has the member {short_name(name)} across another or outside the file")
            file.leave(header, following)
            members[name] = member._replace(offset=offset)
            continue
        raw = file.read_at(header, min(_LOCAL.size + len(name.encode()), end - header))
        magic, _, _, method, _, _, _, _, _, n_name, n_extra = _LOCAL.unpack_from(raw)
        named = raw[_LOCAL.size : _LOCAL.size + n_name]
        if magic != b"PK\x03\x04" or named != name.encode():
            raise damaged(file, f"has a member {short_name(name)} that is not where its directory says")
        if method != member.method:
            raise damaged(
                file, f"has a member {short_name(name)} that is not compressed as its directory says"
            )
        offset = header + _LOCAL.size + n_name + n_extra
        free = offset + member.packed
        if free > end:
            raise damaged(file, f"has the member {short_name(name)} across another or outside the file")
        members[name] = member._replace(offset=offset)
    return members
