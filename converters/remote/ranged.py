"""A remote file of which only parts are read, for its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.files import CHUNK, NeedsWhole, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import Find

    from .source import Source

PIECE = 16 * 1024
"""Bytes that are asked for at once, at multiples of it."""

BUDGET = 8 << 20
"""Bytes that are read in parts at most; a file that needs more is fetched whole."""

REQUEST = 256 * 1024
"""The bytes that arrive in the time that a request takes. A file is fetched whole where its parts would take longer."""


class RangedFile(SourceFile):
    """A remote file, read by ranges; what was read is held in memory. Raises `NeedsWhole` where that is not enough."""

    is_distant = True

    def __init__(self, source: Source, path: str, find: Find | None = None) -> None:
        assert source.size is not None
        self.path = self.local = path
        self._find = find
        self.size = source.size
        self._source = source
        self._pieces: dict[int, bytes] = {}
        self._unseen: list[tuple[int, int]] = []
        self._requests = 0
        self._kept = {}
        whole = len(source.head) - len(source.head) % PIECE
        for start in range(0, len(source.head) if len(source.head) == self.size else whole, PIECE):
            self._pieces[start] = source.head[start : start + PIECE]

    def leave(self, start: int, end: int) -> None:
        """Refuse the bytes of a range from now on."""
        self._unseen.append((start, end))

    def close(self) -> None:
        """Close the connection."""
        self._source.close()
        self.close_kept()

    def fileno(self) -> int:
        """There is no descriptor."""
        raise NeedsWhole

    def refuse_changed(self) -> None:
        """What is read to the end is fetched whole."""
        raise NeedsWhole

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        end = offset + length
        if length > BUDGET or any(start < end and offset < stop for start, stop in self._unseen):
            raise NeedsWhole
        starts = range(offset - offset % PIECE, end, PIECE)
        self._get([start for start in starts if start not in self._pieces])
        whole = b"".join(self._pieces[start] for start in starts)
        return whole[offset % PIECE : offset % PIECE + length]

    def chunks(self, offset: int, length: int) -> Iterator[memoryview]:
        """The bytes of a range, at most `CHUNK` at a time."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        if length > BUDGET:
            raise NeedsWhole
        for start in range(offset, offset + length, CHUNK):
            yield memoryview(self.read_at(start, min(CHUNK, offset + length - start)))

    def _get(self, starts: list[int]) -> None:
        """Read pieces, those that follow one another at once."""
        while starts:
            count = 1
            while count < len(starts) and starts[count] == starts[0] + count * PIECE:
                count += 1
            self._requests += 1
            read = (len(self._pieces) + count) * PIECE
            if read > BUDGET or read + self._requests * REQUEST > self.size:
                raise NeedsWhole
            first, end = starts[0], min(starts[0] + count * PIECE, self.size)
            data = self._asked(first, end - first)
            for start in starts[:count]:
                self._pieces[start] = data[start - first : start - first + PIECE]
            starts = starts[count:]

    def _asked(self, start: int, length: int) -> bytes:
        for last in (False, False, True):
            try:
                return self._source.read(start, length)
            except OSError as error:
                if last:
                    reason = error.strerror or str(error) or type(error).__name__
                    raise BadInput(f"cannot be reached: {reason}", path=self.path, hint="try again") from None
        raise AssertionError("the last attempt returns or raises")
