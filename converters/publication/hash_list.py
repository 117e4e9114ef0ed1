"""``SHA256SUMS``: the list of a published folder's files with their hashes."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from converters.checksums import dump_sums, parse_sums
from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.io.atomic import replacing

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIST_NAME = "SHA256SUMS"

MAX_SIZE = 1 << 24
"""Of a list, in bytes."""


def list_path(folder: str) -> str:
    """Where a folder's list is."""
    return os.path.join(folder, LIST_NAME)


def read_hashes(folder: str) -> dict[str, str]:
    """Hexadecimal hashes by file name. Raises `BadInput` if there is no list, or it is not valid."""
    path = list_path(folder)
    with SourceFile(path) as file:
        if file.size > MAX_SIZE:
            raise BadInput("is too long for a list of hashes", path=path)
        data = file.read_at(0, file.size)
    try:
        return parse_sums(data.decode(), path)
    except UnicodeDecodeError:
        raise BadInput("is not a list of SHA-256 hashes", path=path) from None


def add_hashes(folder: str, hashes: Mapping[str, str]) -> None:
    """Add files to a folder's list, which is created if needed. The folder must be `locked`."""
    known = read_hashes(folder) if os.path.lexists(list_path(folder)) else {}
    write_text(list_path(folder), dump_sums({**known, **hashes}))


def write_text(path: str, text: str) -> None:
    """Write a file, whole or not at all, replacing an existing one."""
    with replacing(path, force=True) as out:
        out.write(text.encode())


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other runs from publishing to a folder meanwhile, where the file system has locks."""
    if sys.platform == "win32":
        yield
        return
    fd = os.open(folder or os.curdir, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
