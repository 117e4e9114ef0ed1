"""The files that a job writes, and what is recorded of them."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from converters.checksums import sha256_of
from converters.lazy_module import LazyModule
from converters.locations import is_remote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from . import remote_storage
else:
    remote_storage = LazyModule("converters.batches.remote_storage")


def local_files(path: str) -> list[str]:
    """The files of a local output: one, or the two of a TensorFlow checkpoint."""
    if os.path.isfile(path) and not path.endswith(".index"):
        return [path]
    return list(checkpoint_files(path))


def checkpoint_files(path: str) -> tuple[str, str]:
    """The two files of a TensorFlow checkpoint with this prefix."""
    from converters.formats.tensorflow import checkpoint_names

    return checkpoint_names(path.removesuffix(".index"))


def remove(path: str) -> None:
    """Remove a local output."""
    for file in local_files(path):
        os.unlink(file)


def describe(
    location: str, recorded: dict[str, Any] | None = None, *, hashes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Name, size and SHA-256 of each file of an output.

    A remote output that still has the version ``recorded`` is not read again, nor is a local file whose hash is known:
    ``hashes`` are by name.
    """
    if not is_remote(location):
        known = hashes or {}
        files = []
        for path in local_files(location):
            name = os.path.basename(path)
            files.append([name, os.path.getsize(path), known.get(name) or sha256_of(path)])
        return {"files": files, "version": ""}
    version = remote_storage.version_of(location)
    if recorded and version and recorded.get("version") == version:
        return recorded
    digest, size = sha256(), 0
    for block in remote_storage.remote_chunks(location):
        digest.update(block)
        size += len(block)
    return {"files": [[os.path.basename(location), size, digest.hexdigest()]], "version": version}
