"""The base of the file objects that h5py is given: a size, and a position in it."""

from __future__ import annotations

import io


class Positioned(io.RawIOBase):
    """A file object of ``size`` bytes that can be read, and whose position can be set."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at
