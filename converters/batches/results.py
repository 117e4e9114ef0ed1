"""The results of a batch, one line of JSON each, safe against whatever kills the process that writes them.

A line is appended in one piece and synced before the next row is taken, and has a checksum. What a kill or a full
disk leaves of a last line is cut off when the file is opened next; a line that is damaged otherwise counts as not
there, and its row is looked at again. The file is locked as long as the batch or one of its workers lives.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from zlib import crc32

from converters.errors import Refused
from converters.formats.io.output_stream import write_error

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import Self

PATIENCE = 10.0
"""Seconds to wait for the workers of a batch that was killed: they end as soon as they see it."""


_HEAD = b'{"crc32":"'
"""What every line begins with, one that was not finished perhaps with less."""


class Results:
    """An open results file. ``rows`` has the last result of every task by name, a failure only where nothing else
    was ever recorded: a worker that dies while it looks whether a row still stands does not undo the row. ``damaged``
    counts lines that were not what was written. Raises `Refused` for a file of something else, which stays as it is."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666
            )
        except OSError as error:
            raise write_error(error, path) from None
        self.rows: dict[str, dict[str, Any]] = {}
        self.damaged = 0
        try:
            _lock(self._fd, path)
            self._load()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """The descriptor that holds the lock: a process that inherits it holds it too."""
        return self._fd

    def append(self, row: dict[str, Any]) -> None:
        """Add a result. Raises `Refused` where the disk does not take it; the file is then as it was."""
        line = dump_line(row)
        before = os.fstat(self._fd).st_size
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, before)
            raise write_error(error, self.path) from None
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        known = self.rows.get(row["task"])
        if known is None or known["state"] == "failed" or row["state"] != "failed":
            self.rows[row["task"]] = row

    def _load(self) -> None:
        whole = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                row = parse_line(line)
                if row is None:
                    self.damaged += 1
                else:
                    self._take(row)
            if not self.rows:
                file.seek(0)
                if not _HEAD.startswith(file.read(len(_HEAD))):
                    raise Refused("is no file of results", path=self.path, hint="name another with --results")
        if whole < os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)


def dump_line(row: dict[str, Any]) -> bytes:
    """A row as its line."""
    text = _dump(row)
    return _HEAD + f'{crc32(text.encode()):08x}","row":{text}}}\n'.encode()


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The row of a line, or None for one that is not as it was written."""
    try:
        told = json.loads(line)
        row = told["row"]
        if told["crc32"] != f"{crc32(_dump(row).encode()):08x}" or not all(
            isinstance(row[key], str) for key in ("task", "state")
        ):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    found: dict[str, Any] = row
    return found


def _dump(row: Any) -> str:
    return json.dumps(row, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _lock(fd: int, path: str) -> None:
    if sys.platform == "win32":
        return
    end = monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic() > end:
                raise Refused(
                    "another batch is at work on these results", path=path, hint="wait for it, or end it"
                ) from None
        except OSError:  # a file system without locks
            return
        sleep(0.05)
