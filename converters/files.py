"""Input files: read in bounded pieces at given offsets, never mapped into memory."""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from .errors import BadInput
from .spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    Find = Callable[[str], "SourceFile | None"]

    class Closing(Protocol):
        """What can be closed."""

        def close(self) -> None: ...


CHUNK = 256 * 1024
"""Bytes moved at a time: the size at which reading, checking and writing stay inside the cache."""


_MANY = 1000
"""In a folder of more files no similar name is looked for, which would take seconds."""


class NeedsWhole(Exception):
    """Not an error: what was asked of a distant file needs all of it, which is then better fetched first."""


class SourceFile:
    """A regular file that is read in bounded pieces and never mapped, so that truncating it meanwhile is an error,
    not a signal. Raises `BadInput` for anything else: pipes and devices have no size.

    ``path`` is what people see, ``local`` where it is on this machine. ``find`` opens a file beside it by its name,
    where those are not in its folder."""

    is_distant = False
    """Whether every read is a request to another machine."""

    def __init__(self, path: str | os.PathLike[str], find: Find | None = None) -> None:
        self.path = self.local = os.fspath(path)
        self._find = find
        try:
            _require_regular(os.stat(self.path), self.path)  # first: to open a device may have effects
            self._file = open(self.path, "rb", buffering=0, opener=_open)  # noqa: SIM115 - closed by close()
            status = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            hint = _hint(self.path) if missing else ""
            raise BadInput(f"cannot be opened: {reason.lower()}", path=self.path, hint=hint) from None
        try:
            _require_regular(status, self.path)
        except BadInput:
            self._file.close()
            raise
        self.size = status.st_size
        self._modified = status.st_mtime_ns
        self._buffer = memoryview(bytearray(CHUNK))
        self._kept: dict[str, Closing] = {}

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Data that still points into it can no longer be read."""
        self._file.close()
        self.close_kept()

    def beside(self, name: str) -> SourceFile | None:
        """Another file of its folder, opened; None where there is none of this name."""
        if self._find is not None:
            return self._find(name)
        path = os.path.join(os.path.dirname(self.path), name)
        return SourceFile(path) if os.path.lexists(path) else None

    def keep(self, name: str, make: Callable[[], Closing]) -> Closing:
        """What a reader has open for as long as the file, such as a process; made where there is none of this name."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def close_kept(self) -> None:
        """Close what was kept."""
        while self._kept:
            self._kept.popitem()[1].close()

    def fileno(self) -> int:
        """The descriptor, for ``os.fstat``."""
        return self._file.fileno()

    def leave(self, start: int, end: int) -> None:
        """Promise that the bytes of a range will not be asked for, as where they begin is not known exactly; only
        distant files remember."""

    def refuse_changed(self) -> None:
        """Raise `BadInput` if the file was written to since it was opened. A file that has taken its name does not
        matter."""
        status = os.fstat(self._file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size, self._modified):
            raise BadInput(
                "changed while it was read",
                path=self.path,
                hint="run it again when nothing writes to the file",
            )

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``; the range is checked against the file's size first."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        try:
            data = _read(self._file.fileno(), min(length, CHUNK), offset)
        except OSError:
            data = b""  # the loop below says what is wrong
        if len(data) == length:
            return data
        out = bytearray(length)
        self._fill(offset, memoryview(out))
        return bytes(out)

    def chunks(self, offset: int, length: int) -> Iterator[memoryview]:
        """The bytes of a range, at most `CHUNK` at a time, each view valid until the next."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.cut(offset, length)
        end = offset + length
        while offset < end:
            view = self._buffer[: min(CHUNK, end - offset)]
            self._fill(offset, view)
            yield view
            offset += len(view)

    def cut(self, offset: int, length: int) -> BadInput:
        """The error for bytes beyond the end of the file."""
        return BadInput(
            f"ends early: {length:,} bytes needed at offset {offset:,}, the file has {self.size:,}",
            path=self.path,
            hint="the download is incomplete or the file was cut; fetch it again",
        )

    def _fill(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            try:
                got = _read_into(self._file.fileno(), view[done:], offset + done)
            except OSError as error:
                raise BadInput(f"cannot be read: {error.strerror}", path=self.path) from None
            if got == 0:
                raise self.cut(offset + done, len(view) - done)
            done += got


def _hint(path: str) -> str:
    """What to do about a path where nothing is: the name beside it that was perhaps meant."""
    folder, name = os.path.split(path)
    try:
        beside = os.listdir(folder or os.curdir)
    except OSError:
        beside = []
    return (did_you_mean(name, beside, least=0.8) if len(beside) <= _MANY else "") or "check the path"


def _require_regular(status: os.stat_result, path: str) -> None:
    if S_ISDIR(status.st_mode):
        raise BadInput("is a folder, not a checkpoint file", path=path)
    if not S_ISREG(status.st_mode):
        raise BadInput(
            "is a pipe or a device, not a file", path=path, hint="save it to a file first and name that"
        )


def _open(path: str, flags: int) -> int:
    """An opener that does not block if a pipe has replaced the file since it was examined."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


if hasattr(os, "preadv"):

    def _read(fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def _read_into(fd: int, view: memoryview, offset: int) -> int:
        return os.preadv(fd, [view], offset)

else:  # Windows has no positioned reads

    def _read(fd: int, length: int, offset: int) -> bytes:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, length)

    def _read_into(fd: int, view: memoryview, offset: int) -> int:
        os.lseek(fd, offset, os.SEEK_SET)
        data = os.read(fd, len(view))
        view[: len(data)] = data
        return len(data)
