"""Fetch a remote file into the cache: whole, checked, and from where an earlier attempt was cut."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from converters.errors import BadInput, ConverterError
from converters.locations import WEB

from .cache import FOLDER, user_cache
from .stores import StoreFile
from .web import Unavailable, WebFile

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .address import Address, Digest
    from .cache import Cache
    from .source import Source

WATCHER: ContextVar[Callable[[int, int], None] | None] = ContextVar("WATCHER", default=None)
"""What is called with (bytes arrived, bytes in all) while a file arrives, in the context that asks for it."""

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each new attempt, when nothing more arrives."""

LARGEST = 1 << 40
"""The most bytes of a file whose server does not say its size."""

_TITLES = {"sha256": "SHA-256", "sha1": "SHA-1", "git": "git blob id"}


def source_of(address: Address) -> Source:
    """A remote file, of which nothing but its size and version is read. Raises `BadInput` where it cannot be."""
    kind = WebFile if address.scheme in WEB else StoreFile
    for pause in (*PAUSES[:2], None):
        try:
            return kind(address)
        except (Unavailable, OSError) as error:
            if pause is None:
                raise _failed(error, address) from None
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def fetch(address: Address) -> str:
    """The path of a remote file in the cache, fetched if it is not there or has changed. Raises `BadInput`."""
    cache = user_cache()
    known = address.digest
    if known and known.kind == "sha256" and (path := cache.file(known.digits, address.name)):
        return path
    source = source_of(address)
    try:
        return fetch_source(source, address, cache)
    finally:
        source.close()


def fetch_source(source: Source, address: Address, cache: Cache) -> str:
    """The same for a source that is open already."""
    path = cache.find(address, source.version, source.size)
    if path and (address.digest is None or not _misfit(path, address.digest)):
        return path
    return _download(source, address, cache)


def _download(source: Source, address: Address, cache: Cache) -> str:
    if source.size is not None and source.size > cache.room():
        raise ConverterError(
            f"there is no room for its {source.size:,} bytes in the cache",
            path=address.shown,
            hint=f"make room, or set {FOLDER} to another folder",
        )
    with _part(cache, cache.part(address, source.version) if _resumable(source) else "") as part:
        _fill(part.file, source, address)
        for known in filter(None, (address.digest, source.digest)):
            if fault := _misfit(part.path, known):
                part.file.truncate(0)
                raise BadInput(
                    fault,
                    path=address.shown,
                    hint="fetch the file again, or correct the hash if another file is meant",
                )
        part.file.flush()
        os.fsync(part.file.fileno())
        return cache.keep(part.path, address, source.version, _digest_of(part.path, "sha256"))


class _Part(NamedTuple):
    """What has arrived of a file, open, and where it is."""

    file: BinaryIO
    path: str


@contextmanager
def _part(cache: Cache, path: str) -> Iterator[_Part]:
    """What an earlier attempt left at ``path``, or a new file where there is no path or another process is at work on
    it."""
    if path:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600), "r+b") as file:
            if _lock(file, path):
                yield _Part(file, path)
                return
    handle, path = tempfile.mkstemp(suffix=".part", dir=cache.parts())
    try:
        with open(handle, "r+b") as file:
            yield _Part(file, path)
    finally:
        if os.path.exists(path):
            os.unlink(path)


def _lock(file: BinaryIO, path: str) -> bool:
    """Whether this process alone now writes to the file at a path, as far as the file system has locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    try:  # another process may have completed it meanwhile, and given it its place
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _fill(file: BinaryIO, source: Source, address: Address) -> None:
    """Write what is missing at the end of a file. Raises `BadInput` where it does not arrive whole."""
    size = source.size
    left = _attempts(source)
    done = _start(file, source)
    while size is None or done != size:
        before, failure = done, None
        try:
            for piece in source.pieces(done):
                done += file.write(piece)
                _bound(done, size, address)
                _tell(done, size)
        except (Unavailable, OSError) as error:
            failure = error
        file.flush()
        if done == size or (size is None and failure is None):
            return
        left = _attempts(source) if done > before and _resumable(source) else left - 1
        if left < 0:
            raise _incomplete(failure, done, size, address)
        time.sleep(PAUSES[-1 - min(left, len(PAUSES) - 1)])
        done = _start(file, source)


def _resumable(source: Source) -> bool:
    """Whether the rest of a file can be asked for, and is known to be of the same version."""
    return source.ranges and bool(source.version)


def _attempts(source: Source) -> int:
    """New attempts, when nothing more arrives or all has to come again."""
    return len(PAUSES) if _resumable(source) else 2


def _start(file: BinaryIO, source: Source) -> int:
    """Where to go on: after what is there, or at 0 where that is of no use."""
    end = file.seek(0, os.SEEK_END)
    if not _resumable(source) or (source.size is not None and end > source.size):
        file.seek(0)
        return file.truncate(0)
    return end


def _bound(done: int, size: int | None, address: Address) -> None:
    if done > (LARGEST if size is None else size):
        raise BadInput("is longer than its server says", path=address.shown, hint="try again")


def _tell(done: int, size: int | None) -> None:
    if watcher := WATCHER.get():
        watcher(done, size or done)


def _incomplete(failure: Exception | None, done: int, size: int | None, address: Address) -> BadInput:
    if not done and failure is not None:
        return _failed(failure, address)
    of = f" of {size:,}" if size is not None else ""
    return BadInput(
        f"is incomplete: {done:,}{of} bytes arrived",
        path=address.shown,
        hint="try again; the part that arrived is kept if the server can resume",
    )


def _failed(error: Exception, address: Address) -> BadInput:
    """The error of a connection that failed again and again."""
    if isinstance(error, BadInput):
        return BadInput(error.told.what, path=address.shown, hint="try again")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    reason = str(reason).splitlines()[0][:300].replace(address.url, address.shown)
    return BadInput(f"cannot be reached: {reason}", path=address.shown, hint="try again")


def _misfit(path: str, known: Digest) -> str:
    """What is wrong where a file does not have a hash; empty where it has."""
    found = _digest_of(path, known.kind)
    if found.startswith(known.digits):
        return ""
    return f"its {_TITLES[known.kind]} begins with {found[:8]}, not with {known.digits[:8]}"


def _digest_of(path: str, kind: str) -> str:
    digest = sha256() if kind == "sha256" else sha1(usedforsecurity=False)
    if kind == "git":
        digest.update(b"blob %d\0" % os.path.getsize(path))
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
