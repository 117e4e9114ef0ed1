"""Where files are: local paths, or addresses. What asks a store is in `remote_storage`, imported when it is needed."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from converters.lazy_module import LazyModule
from converters.locations import SCHEMES, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import remote_storage
else:
    remote_storage = LazyModule("converters.batches.remote_storage")

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
        return remote_storage.matches(location)
    pattern = local_path(location, glob.escape(folder))
    if pattern.endswith(f"{os.sep}**"):
        pattern += f"{os.sep}*"
    return sorted({*_found(pattern)})


def _found(pattern: str) -> Iterator[str]:
    """What an absolute pattern matches. ``**`` does not go through links to folders, which may lead back."""
    before, double, rest = pattern.partition(f"{os.sep}**{os.sep}")
    if not double:
        yield from glob.glob(pattern)
        return
    for top in glob.glob(before or os.sep):
        for folder, inner, _ in os.walk(top):
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from _found(os.path.join(glob.escape(folder), rest))


def exists(location: str) -> bool:
    """Whether there is a file, or a TensorFlow checkpoint with this prefix."""
    if is_remote(location):
        return remote_storage.exists(location)
    return os.path.lexists(location) or os.path.lexists(location.removesuffix(".index") + ".index")


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
