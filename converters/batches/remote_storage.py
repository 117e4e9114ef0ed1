"""Remote files, which are transferred whole."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from converters.errors import BadInput, Refused
from converters.locations import WEB
from converters.remote.address import parse_address
from converters.remote.download import WATCHER, source_of
from converters.remote.sets import fetch_checkpoint
from converters.remote.source import BLOCK
from converters.remote.stores import file_system, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def matches(pattern: str) -> list[str]:
    """The files in a bucket that a pattern matches, sorted. Raises `ConverterError` if the store cannot be reached."""
    with file_system(parse_address(pattern)) as files:
        return sorted(f"s3://{name}" for name in files.glob(pattern))


def exists(location: str) -> bool:
    """Whether there is a file."""
    with file_system(parse_address(location)) as files:
        return bool(files.exists(location))


def require_input(location: str) -> None:
    """Raise `BadInput` unless an input exists, as a file or by its prefix."""
    address = parse_address(location)
    try:
        source_of(address).close()
    except BadInput:
        if address.scheme in WEB or not matching(address, ".*"):
            raise


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
