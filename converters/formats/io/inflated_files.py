"""Deflated members of a zip file, each read like a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.files import CHUNK, SourceFile

from .zip_members import Inflated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .zip_members import Member


class InflatedFile(SourceFile):
    """The inflated bytes of a member. To read all of it inflates it once more, in pieces, which compares its length and
    checksum. A part of it cannot be found without inflating the rest: for the first part it is held in memory, whole,
    and stays there, so that many parts cost no more than one. The caller has bounded its size."""

    def __init__(self, file: SourceFile, member: Member) -> None:
        self.path = file.path
        self.size = member.size
        self._zip = file
        self._data = Inflated(file, member, 0)
        self._held: memoryview | None = None

    def hold(self) -> None:
        """Inflate it once, for many small reads."""
        whole = bytearray()
        for chunk in self._data.chunks():
            whole += chunk
        self._held = memoryview(whole)

    def close(self) -> None:
        """Nothing: the zip file is closed by whoever opened it."""

    def fileno(self) -> int:
        """The descriptor of the zip file."""
        return self._zip.fileno()

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        return b"".join(map(bytes, self.chunks(offset, length)))

    def chunks(self, offset: int, length: int) -> Iterator[memoryview]:
        """The bytes of a range, each view valid until the next."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        if length == 0:
            return
        if length < self.size and self._held is None:
            self.hold()
        if self._held is None:
            yield from self._data.chunks()
            return
        end = offset + length
        for start in range(offset, end, CHUNK):
            yield self._held[start : min(start + CHUNK, end)]
