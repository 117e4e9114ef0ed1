"""libhdf5 in a process of its own, since it is native code that a stranger's file may break.

The process has the bytes of one file, which this one gives it piece by piece, a clean environment, no open files but
its pipes, and limits of memory and time. It answers with names, shapes, places and bytes, which are taken as data and
checked. Its crash, its silence or nonsense from it is an error of the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused

from .frames import packed, unpacked
from .package import lacks_h5py, require_h5py

if TYPE_CHECKING:
    from converters.files import SourceFile

COMMAND = ("-s", "-P", "-m", "converters.formats.hdf5.child")
"""The process, as Python's arguments. The file's size follows."""

_SECONDS = 60.0  # that the process may take for one answer, not counting those in which it waits for us
_READ = 64 << 20  # bytes of the file that it may ask for while it makes one answer,
_READ_RATIO = 16  # or so many times the file
_KEPT = ("SYSTEMROOT", "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")  # to find libraries
_PACKAGES = os.path.abspath(__file__).removesuffix(
    os.path.join("converters", "formats", "hdf5", "library.py")
)


class Nonsense(Exception):
    """The process said what it cannot have found."""


def library_of(file: SourceFile) -> Library:
    """The process that reads this file, which ends when the file is closed. It starts with the first question."""
    library = file.keep("hdf5", lambda: Library(file))
    assert isinstance(library, Library)
    return library


def start_process(size: int) -> subprocess.Popen[bytes]:
    """A process for a file of so many bytes."""
    paths = [path for path in sys.path if os.path.isabs(path)]
    return subprocess.Popen(
        [sys.executable, *COMMAND, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "OPENBLAS_NUM_THREADS": "1",  # it would reserve memory for each processor
            "HDF5_PLUGIN_PRELOAD": "::",  # libhdf5's word for no plugins
            "PYTHONPATH": os.pathsep.join([*paths, _PACKAGES]),
        },
    )


class Library:
    """Answers about one file. After an error the next question starts a new process."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._process: subprocess.Popen[bytes] | None = None
        self._left = 0.0  # seconds

    def ask(self, what: str, **values: Any) -> tuple[Any, bytes]:
        """The answer to a question. Raises `BadInput`; `Refused` without h5py."""
        process = self._process or self._start()
        try:
            head, body = self._exchange(process, {"ask": what, **values})
            found = self._answer(head)
        except BaseException as error:
            self.close()
            if isinstance(error, (Nonsense, ValueError)):
                raise self.nonsense() from None
            if isinstance(error, TimeoutError):
                raise self._broken(f"took libhdf5 more than {_SECONDS:.0f} seconds") from None
            if isinstance(error, (EOFError, OSError)):
                raise self._broken(f"made libhdf5 fail ({_end_of(process)})") from None
            raise
        if isinstance(found, Exception):
            raise found
        return found, body

    def nonsense(self) -> BadInput:
        """The error for an answer that cannot be true."""
        return self._broken("made libhdf5 answer nonsense")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        require_h5py(self.file.path)
        try:
            process = self._process = start_process(self.file.size)
        except OSError as error:
            raise Refused(
                f"is read by a process of its own, which cannot start: {error.strerror}", path=self.file.path
            ) from None
        assert process.stdin is not None
        if sys.platform != "win32":
            os.set_blocking(process.stdin.fileno(), False)
        return process

    def _exchange(self, process: subprocess.Popen[bytes], question: dict[str, Any]) -> tuple[Any, bytes]:
        """Ask, and give the process what it reads meanwhile, until it answers."""
        assert process.stdin is not None
        assert process.stdout is not None
        writing, reading = process.stdin.fileno(), process.stdout.fileno()
        self._left = _SECONDS
        wanted = max(_READ, _READ_RATIO * self.file.size)
        self._write(writing, packed(question))
        while True:
            head, body = unpacked(lambda length: self._read(reading, length))
            if not isinstance(head, dict) or "read" not in head:
                return head, body
            offset, length = integers(head["read"], 2)
            wanted -= length
            if offset + length > self.file.size or wanted < 0:
                raise Nonsense
            self._write(writing, packed(None, self._piece(offset, length)))

    def _piece(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        return b"".join(map(bytes, self.file.chunks(offset, length)))

    def _answer(self, head: Any) -> Any:
        """What the process answered, or the error that it found."""
        if head == {"missing": True}:
            return lacks_h5py(self.file.path)
        if isinstance(head, dict) and "error" in head:
            what, where, hint = texts(head["error"], 3)
            return BadInput(what, path=self.file.path, where=where, hint=hint)
        if not isinstance(head, dict) or "answer" not in head:
            raise Nonsense
        return head["answer"]

    def _broken(self, what: str) -> BadInput:
        return BadInput(what, path=self.file.path, hint="the file is damaged; fetch it again")

    def _write(self, pipe: int, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                self._wait(pipe)
                with suppress(BlockingIOError):
                    view = view[os.write(pipe, view) :]

    def _read(self, pipe: int, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            self._wait(pipe)
            piece = os.read(pipe, min(length - len(found), 1 << 20))
            if not piece:
                raise EOFError
            found += piece
        return bytes(found)

    def _wait(self, pipe: int) -> None:
        """Wait until a pipe is ready, as long as the process may take. Windows cannot wait for pipes."""
        if sys.platform == "win32":
            return
        from select import POLLIN, POLLOUT, poll

        assert self._process is not None
        assert self._process.stdin is not None
        poller = poll()
        poller.register(pipe, POLLOUT if pipe == self._process.stdin.fileno() else POLLIN)
        begun = monotonic()
        ready = poller.poll(max(0.0, 1000 * self._left))
        self._left -= monotonic() - begun
        if not ready:
            raise TimeoutError


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, once it has."""
    code = process.returncode
    if code is not None and code < 0:
        import signal

        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def integers(found: Any, count: int | None = None) -> tuple[int, ...]:
    """A list of so many integers, none negative. Raises `Nonsense`."""
    if not isinstance(found, list) or count not in (None, len(found)):
        raise Nonsense
    if not all(type(one) is int and 0 <= one < 1 << 63 for one in found):
        raise Nonsense
    return tuple(found)


def texts(found: Any, count: int | None = None) -> tuple[str, ...]:
    """A list of so many strings. Raises `Nonsense`."""
    if not isinstance(found, list) or count not in (None, len(found)):
        raise Nonsense
    if not all(isinstance(one, str) for one in found):
        raise Nonsense
    return tuple(found)
