"""The file as this process sees it: pieces that the other process gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.formats.hdf5.positioned import Positioned

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 16 << 10  # bytes, of which so many are kept:
_KEPT = 256
_PIECE = 256 << 10  # bytes of a long read that are asked for at a time


class Handle(Positioned):
    """A file of ``size`` bytes as the file object that h5py reads from; ``piece`` gives the bytes of a range."""

    def __init__(self, size: int, piece: Callable[[int, int], bytes]) -> None:
        super().__init__(size)
        self._piece = piece
        self._blocks: dict[int, bytes] = {}

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.size - self._at))
        done = 0
        while done < length:
            piece = self._next(self._at + done, length - done)
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._at += done
        return done

    def _next(self, offset: int, length: int) -> memoryview | bytes:
        """Some bytes from ``offset``: of a block that is kept, or straight from the file where many are wanted."""
        if length >= _BLOCK:
            return self._piece(offset, min(length, _PIECE))
        first = offset - offset % _BLOCK
        if first not in self._blocks:
            if len(self._blocks) == _KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[first] = self._piece(first, min(_BLOCK, self.size - first))
        return memoryview(self._blocks[first])[offset - first :][:length]
