"""Sequential writing to a file descriptor: large chunks directly, small ones gathered."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Protocol

from converters.errors import Refused
from converters.files import CHUNK

from .file_crc32 import Summed

GATHER = 32 * 1024
"""Pieces smaller than this are copied together: a system call costs more than the copy."""


class Sink(Protocol):
    """Where bytes go: a binary file, or anything that takes bytes as one does."""

    def write(self, piece: Any, /) -> object:
        """Append bytes, or a view of some, which is not kept."""
        ...


class Output:
    """A file written from start to end.

    ``position`` is the number of bytes written so far, ``path`` the name for error messages, ``known`` the ranges whose
    CRC-32 the writer has noted. A failed write raises `Refused` with a hint.
    """

    def __init__(self, fd: int, path: str) -> None:
        self.path = path
        self.position = 0
        self.known: list[Summed] = []
        self._fd = fd
        self._pending = bytearray()

    def note(self, start: int, crc: int) -> None:
        """Remember that the bytes from ``start`` to here have this CRC-32."""
        self.known.append(Summed(start, self.position, crc))

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Append bytes. A view must be of single bytes; it is not kept after the call."""
        size = len(piece)
        self.position += size
        if size < GATHER:
            self._pending += piece
            if len(self._pending) >= CHUNK:
                self.flush()
        elif self._pending:
            self._send(self._pending, piece)
            self._pending.clear()
        else:
            self._send(piece)

    def flush(self) -> None:
        """Hand everything to the operating system (not to the disk)."""
        if self._pending:
            self._send(self._pending)
            self._pending.clear()

    def rewrite(self, offset: int, piece: bytes) -> None:
        """Replace bytes that were written before; the end of the file stays where it is."""
        if offset < 0 or offset + len(piece) > self.position:
            raise ValueError(f"only {self.position} bytes were written, not {offset + len(piece)}")
        self.flush()
        try:
            os.lseek(self._fd, offset, os.SEEK_SET)
            self._send(piece)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise write_error(error, self.path) from None

    def _send(self, *pieces: bytes | bytearray | memoryview) -> None:
        try:
            done = _write(self._fd, pieces)
            for piece in pieces:
                if done >= len(piece):
                    done -= len(piece)
                    continue
                with memoryview(piece) as view:  # the kernel took a part only: near a limit, or interrupted
                    while done < len(view):
                        done += os.write(self._fd, view[done:])
                done = 0
        except OSError as error:
            raise write_error(error, self.path) from None


if sys.platform != "win32":

    def _write(fd: int, pieces: tuple[bytes | bytearray | memoryview, ...]) -> int:
        return os.writev(fd, pieces)

else:  # Windows has no gathering write; the caller's loop writes what is left

    def _write(fd: int, pieces: tuple[bytes | bytearray | memoryview, ...]) -> int:
        return os.write(fd, pieces[0])


def write_error(error: OSError, path: str) -> Refused:
    """The error for a failed system call while writing ``path``."""
    folder = os.path.dirname(path) or os.curdir
    code = error.errno
    room = f"make room in {folder} or write to another disk"
    if code == errno.ENOSPC:
        return Refused("the disk is full", path=path, hint=room)
    if code == errno.EDQUOT:
        return Refused("the disk quota is used up", path=path, hint=room)
    if code == errno.EFBIG:
        return Refused(
            "the file would be larger than the file system or a limit (ulimit -f) allows",
            path=path,
            hint="write to another disk or raise the limit",
        )
    if code in (errno.ENOENT, errno.ENOTDIR):
        return Refused(f"there is no folder {folder}", path=path, hint="make it first")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Refused(
            f"the folder {folder} cannot be written to ({(error.strerror or 'denied').lower()})",
            path=path,
            hint="write to another folder or change its permissions",
        )
    if code == errno.ENAMETOOLONG:
        return Refused("the name is too long for the file system", path=path, hint="choose a shorter one")
    return Refused(f"cannot be written: {(error.strerror or str(error)).lower()}", path=path)
