"""Where files are: local paths, or addresses. Remote files are transferred whole."""

from __future__ import annotations

import glob
import os
from contextlib import closing
from typing import TYPE_CHECKING

from converters.errors import BadInput, Refused
from converters.locations import is_remote
from converters.remote.address import SCHEMES, WEB, parse_address
from converters.remote.download import WATCHER, source_of
from converters.remote.sets import fetch_checkpoint
from converters.remote.source import BLOCK
from converters.remote.stores import file_system, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOLS = ("file", *SCHEMES)
"""Protocols of input URLs."""

_WILDCARDS = frozenset("*?[")


def protocol(location: str) -> str:
    """What stands before ``://``; empty for a path."""
    head, separator, _ = location.partition("://")
    return head if separator else ""


def local_path(location: str, folder: str) -> str:
    """The absolute path of a local location; relative ones are in ``folder``."""
    path = location[len("file://") :] if protocol(location) == "file" else location
    return os.path.normpath(os.path.join(folder, path))


def is_pattern(location: str, folder: str) -> bool:
    """Whether a location is a pattern; an existing path with ``*`` or ``[`` in its name is not."""
    if not _WILDCARDS & set(location):
        return False
    if is_remote(location):
        return protocol(location) == "s3"
    return not os.path.lexists(local_path(location, folder))


def matches(location: str, folder: str) -> list[str]:
    """The files that a pattern matches, sorted, or the location itself if it is not a pattern.

    Raises `ConverterError` if a store cannot be reached.
    """
    if not is_pattern(location, folder):
        return [location if is_remote(location) else local_path(location, folder)]
    if is_remote(location):
        with file_system(parse_address(location)) as files:
            return sorted(f"s3://{name}" for name in files.glob(location))
    return sorted(glob.glob(local_path(location, glob.escape(folder)), recursive=True))


def exists(location: str) -> bool:
    """Whether there is a file, or a TensorFlow checkpoint with this prefix."""
    if not is_remote(location):
        return os.path.lexists(location) or os.path.lexists(location.removesuffix(".index") + ".index")
    with file_system(parse_address(location)) as files:
        return bool(files.exists(location))


def require_input(location: str) -> None:
    """Raise `BadInput` unless a remote input exists, as a file or by its prefix."""
    address = parse_address(location)
    try:
        source_of(address).close()
    except BadInput:
        if address.scheme in WEB or not matching(address, ".*"):
            raise


def size_of(location: str) -> int:
    """Bytes of a local input, all files of a TensorFlow checkpoint; 0 if unknown."""
    if is_remote(location):
        return 0
    try:
        if os.path.isfile(location) and not location.endswith(".index"):
            return os.path.getsize(location)
        return sum(map(os.path.getsize, glob.glob(glob.escape(location.removesuffix(".index")) + ".*")))
    except OSError:
        return 0


def version_of(location: str) -> str:
    """What changes with a remote file's content; empty if the store has no such thing."""
    with closing(source_of(parse_address(location))) as source:
        return source.version


def fetch(location: str, progress: Callable[[int, int], None] | None = None) -> str:
    """Fetch a file, or the files of a TensorFlow checkpoint's prefix, into the cache; returns its address, with its
    hash where it is one file, so that nobody has to ask for it again.

    Raises `BadInput` if there is none or it arrives incomplete.
    """
    address = parse_address(location)
    token = WATCHER.set(progress)
    try:
        files = fetch_checkpoint(address)
    finally:
        WATCHER.reset(token)
    return f"{address.url}#sha256={files.digest}" if files.digest else address.url


def remote_chunks(location: str) -> Iterator[bytes]:
    """The bytes of a remote file, block by block."""
    with (
        file_system(parse_address(location)) as files,
        files.open(location, "rb", block_size=BLOCK) as source,
    ):
        while block := source.read(BLOCK):
            yield block


def store(path: str, location: str) -> None:
    """Upload a local file. Raises `Refused` if it does not arrive whole."""
    with file_system(parse_address(location)) as files:
        files.put_file(path, location)
        files.invalidate_cache()
        if files.info(location)["size"] != os.path.getsize(path):
            raise Refused("was not stored whole", path=location, hint="try again")
