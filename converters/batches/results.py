"""The file of a batch's results: one line of JSON each, and safe if the process that writes it is killed.

Each line has a checksum, and is appended and synced before the next result. An incomplete last line, which a kill or
a full disk may leave, is cut off when the file is opened again. Any other damaged line is ignored, so that its row is
examined again; so is one whose checksum is right and whose fields are not those of a result. The file is locked as long
as the batch or one of its workers runs.
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

from .result_fields import is_result

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import Self

    from .job import JobResult

PATIENCE = 10.0
"""Seconds to wait for the workers of a killed batch, which end as soon as they notice."""


_HEAD = b'{"crc32":"'
"""How every line begins; an incomplete one may have less."""


class Results:
    """An open, locked file of results.

    ``rows`` has the last result of every task by name. A failure never replaces a success: a worker that dies while
    it checks a finished row does not undo the row. ``damaged`` counts unreadable lines. Raises `Refused`, and leaves
    the file alone, if it is something else.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666
            )
        except OSError as error:
            raise write_error(error, path) from None
        self.rows: dict[str, JobResult] = {}
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
        """The file descriptor that holds the lock; a process that inherits it holds the lock too."""
        return self._fd

    def append(self, row: JobResult) -> None:
        """Add a result. Raises `Refused` if it cannot be written; the file is then unchanged."""
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

    def _take(self, row: JobResult) -> None:
        earlier = self.rows.get(row["task"])
        if earlier is None or earlier["state"] == "failed" or row["state"] != "failed":
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
                    raise Refused(
                        "is not a file of results", path=self.path, hint="name another with --results"
                    )
        if whole < os.fstat(self._fd).st_size:
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)


def dump_line(row: JobResult) -> bytes:
    """The line of a result."""
    text = _dump(row)
    return _HEAD + f'{crc32(text.encode()):08x}","row":{text}}}\n'.encode()


def parse_line(line: bytes) -> JobResult | None:
    """The result of a line, or None if the line is damaged."""
    try:
        record = json.loads(line)
        row: JobResult = record["row"]
        if record["crc32"] != f"{crc32(_dump(row).encode()):08x}" or not is_result(row):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return row


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
                    "another batch is using this file", path=path, hint="wait until it ends, or stop it"
                ) from None
        except OSError:  # a file system without locks
            return
        sleep(0.05)
