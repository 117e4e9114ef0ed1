"""A member of a zip file as a file of its own, of which any part can be read in bounded memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from converters.errors import BadInput, Refused
from converters.files import CHUNK, SourceFile
from converters.printable import short_name

from .zip_members import DEFLATED, Inflated, verify_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .zip_members import Member

_SMALL = 64 << 20  # bytes that may be unpacked to the disk whatever they were packed to,
_RATIO = 16  # and how many times as many as they were packed to; weights shrink by a tenth or two


def member_file(file: SourceFile, member: Member, *, checksum: bool) -> SourceFile:
    """A member as a file. A stored one is read where it is, its CRC-32 compared first with ``checksum``; a deflated one
    is unpacked to a temporary file without a name. Raises `BadInput`, also for one that inflates to far more than
    weights do; `Refused` where there is no room for it."""
    if member.method == DEFLATED:
        return _Unpacked(file, member)
    if checksum:
        verify_member(file, member)
    return _Stored(file, member)


class _Stored(SourceFile):
    """The bytes of a stored member."""

    def __init__(self, file: SourceFile, member: Member) -> None:
        self.path, self.size = file.path, member.size
        self._zip, self._offset = file, member.offset

    def close(self) -> None:
        """Nothing: the zip file is closed by whoever opened it."""

    def fileno(self) -> int:
        """The descriptor of the zip file."""
        return self._zip.fileno()

    def read_at(self, offset: int, length: int) -> bytes:
        """See `SourceFile.read_at`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        return self._zip.read_at(self._offset + offset, length)

    def chunks(self, offset: int, length: int) -> Iterator[memoryview]:
        """See `SourceFile.chunks`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        yield from self._zip.chunks(self._offset + offset, length)


class _Unpacked(SourceFile):
    """The inflated bytes of a member, in a temporary file that is gone when nothing reads it any more."""

    def __init__(self, file: SourceFile, member: Member) -> None:
        from io import FileIO
        from tempfile import TemporaryFile

        if member.size > max(_SMALL, _RATIO * member.packed):
            raise BadInput(
                f"inflates {member.packed:,} bytes to {member.size:,}",
                path=file.path,
                where=short_name(member.name),
                hint="weights do not compress that well: do not trust it, or unpack it yourself",
            )
        self.path, self.size = file.path, member.size
        self._buffer = memoryview(bytearray(CHUNK))
        try:
            with TemporaryFile() as unpacked:
                for chunk in Inflated(file, member, 0).chunks():
                    unpacked.write(chunk)
                unpacked.flush()
                self._file = FileIO(os.dup(unpacked.fileno()))
            self._modified = os.fstat(self._file.fileno()).st_mtime_ns
        except OSError as error:
            raise Refused(
                f"cannot be unpacked: {(error.strerror or str(error)).lower()}",
                path=file.path,
                hint="unpack it yourself, and name the file inside",
            ) from None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
