"""Answers questions about one HDF5 file, of which it is told the size, until its input ends.

Its input and output are pipes with messages (`frames`). It opens no file: the bytes that it needs it asks for.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.hdf5.frames import packed, unpacked

from .contents import Contents
from .handle import Handle
from .values import ERRORS, damaged, slab, undecoded

if TYPE_CHECKING:
    from typing import BinaryIO

_MEMORY = 1 << 30  # bytes
_SECONDS = 120  # of the processor for one answer: for a process that is left alone


class Server:
    """One file and the pipes."""

    def __init__(self, size: int, questions: BinaryIO, answers: BinaryIO) -> None:
        self._questions = questions
        self._answers = answers
        self._handle = Handle(size, self._piece)
        self._contents: Contents | None = None

    def serve(self) -> None:
        """Answer until the input ends, which raises `EOFError`."""
        while True:
            question, _ = unpacked(self._read)
            limit_seconds()
            try:
                head, body = self._answer(**question)
                pieces = packed({"answer": head}, body)
            except ImportError:
                pieces = packed({"missing": True})
            except BadInput as error:
                pieces = packed({"error": [error.told.what, error.where, error.told.hint]})
            except ERRORS as error:
                told = damaged(error, question.get("path", ""))
                pieces = packed({"error": [told.told.what, told.where, told.told.hint]})
            self._write(pieces)

    def _answer(self, ask: str, path: str = "", **place: Any) -> tuple[Any, bytes | memoryview]:
        """The answer to one question, as a value for JSON and bytes."""
        contents = self._contents = self._contents or Contents(self._handle)
        if ask == "contents":
            return contents.rows(), b""
        if ask == "metadata":
            return [*contents.metadata()], b""
        if ask == "references":
            return [*contents.references(path)], b""
        if ask == "raw":
            return None, undecoded(contents.root[path])
        return None, slab(contents.root[path], **place)

    def _piece(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        self._write(packed({"read": [offset, length]}))
        _, body = unpacked(self._read)
        return body

    def _read(self, length: int) -> bytes:
        found = self._questions.read(length)
        if len(found) < length:
            os._exit(0)  # whoever asks is gone, and libhdf5 must not close what it has open through Python
        return found

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            self._answers.write(piece)
        self._answers.flush()


def limit() -> None:
    """Limit what this process may use, where the system can, and leave interruptions to the other one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        for kind, most in (
            (resource.RLIMIT_DATA, _MEMORY),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            now = resource.getrlimit(kind)[1]
            most = most if now < 0 else min(most, now)
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


def limit_seconds() -> None:
    """Limit the processor's time from now on."""
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + _SECONDS
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> None:
    """Serve on the standard input and output."""
    limit()
    # What libraries print must not come between the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        Server(int(sys.argv[1]), sys.stdin.buffer, answers).serve()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
