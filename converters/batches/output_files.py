"""The files that a job writes, and what is recorded of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.files import SourceFile
from converters.formats.io.crc32 import crc32_function
from converters.formats.io.file_crc32 import crc32_of
from converters.lazy_module import LazyModule
from converters.locations import is_remote
from converters.tensor import same_data, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    location: str, recorded: dict[str, Any] | None = None, *, crcs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Name, size and CRC-32 (8 hexadecimal digits) of each file of an output.

    A remote output that still has the version ``recorded`` is not read again, nor is a local file whose checksum is
    known: ``crcs`` are by name.
    """
    if not is_remote(location):
        known = crcs or {}
        files = []
        for path in local_files(location):
            name = os.path.basename(path)
            files.append([name, os.path.getsize(path), known.get(name) or f"{crc32_of(path):08x}"])
        return {"files": files, "version": ""}
    version = remote_storage.version_of(location)
    if recorded and version and recorded.get("version") == version:
        return recorded
    crc, value, size = crc32_function(), 0, 0
    for block in remote_storage.remote_chunks(location):
        value = crc(block, value)
        size += len(block)
    return {"files": [[os.path.basename(location), size, f"{value:08x}"]], "version": version}


def has_same_bytes(location: str, path: str) -> bool:
    """Whether an output has the same bytes as the local output ``path``."""
    if is_remote(location):
        with SourceFile(path) as file:
            return same_data(whole_file(file), _Remote(location))
    files, others = local_files(location), local_files(path)
    return len(files) == len(others) and all(map(same_contents, files, others))


def same_contents(path: str, other: str) -> bool:
    """Whether two files have the same bytes."""
    with SourceFile(path) as a, SourceFile(other) as b:
        return a.size == b.size and same_data(whole_file(a), whole_file(b))


class _Remote(NamedTuple):
    """The bytes of a remote file."""

    location: str

    def chunks(self) -> Iterator[memoryview]:
        return map(memoryview, remote_storage.remote_chunks(self.location))
