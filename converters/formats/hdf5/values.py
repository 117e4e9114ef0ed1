"""Values of HDF5 datasets that only libhdf5 can decode: they stay in the file until they are read."""

from __future__ import annotations

import io
from importlib import import_module
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput, Refused
from converters.files import CHUNK
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile

SLAB = 32 << 20
"""The most bytes of a dataset that libhdf5 decodes at a time."""

_READ = 4 << 20  # so many where its chunks are small
ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a damaged file, by the place of the damage."""


def load_h5py(path: str) -> Any:
    """The package h5py. Raises `Refused`, naming the file at ``path``, where it is not installed."""
    try:
        return import_module("h5py")
    except ImportError:
        raise Refused(
            "is an HDF5 file, which needs the package h5py",
            path=path,
            hint="install it with: pip install 'video-checkpoint-converters[hdf5]'",
        ) from None


class Handle(io.RawIOBase):
    """A source file as the file object that h5py reads from."""

    def __init__(self, file: SourceFile) -> None:
        self._source = file
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._source.size - self._at))
        done = 0
        for chunk in self._source.chunks(self._at, length):
            view[done : done + len(chunk)] = chunk
            done += len(chunk)
        self._at += done
        return done


class Decoded:
    """A dataset that is compressed, in chunks, in places never written, or of a dtype that libhdf5 converts, read a few
    rows at a time.

    The file is open in libhdf5 only during a read: it closes open files when the process ends, through Python objects
    that no longer exist by then.
    """

    __slots__ = ("chunk", "dtype", "file", "path", "shape")

    def __init__(self, file: SourceFile, path: str, dataset: Any) -> None:
        self.file = file
        self.path = path
        self.shape: tuple[int, ...] = dataset.shape
        self.chunk: tuple[int, ...] = dataset.chunks or self.shape
        self.dtype = dataset.dtype

    def chunks(self) -> Iterator[memoryview]:
        for place in slabs(self.shape, self.chunk, self.dtype.itemsize):
            raw = self._read(place)
            for start in range(0, len(raw), CHUNK):
                yield raw[start : start + CHUNK]

    def _read(self, place: tuple[int | slice, ...]) -> memoryview:
        h5py = load_h5py(self.file.path)
        try:
            with h5py.File(Handle(self.file), "r") as root:
                values = root[self.path][place].astype(self.dtype.newbyteorder("<"), copy=False)
        except ERRORS as error:
            raise damaged(self.file, error, self.path) from None
        found: memoryview = values.reshape(-1).view("u1").data
        return found


def slabs(shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int) -> Iterator[tuple[int | slice, ...]]:
    """Selections that together cover an array in C order: whole rows of chunks where they fit into a slab."""
    if not shape:
        yield ()
    if not shape or 0 in shape:
        return
    inner = [prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape))]
    split = next(axis for axis, size in enumerate(inner) if size <= SLAB)
    row = inner[split]
    rows = chunk[split] * max(1, _READ // max(1, chunk[split] * row))
    rows = max(1, min(rows, SLAB // row))
    for outer in product(*(range(size) for size in shape[:split])):
        for first in range(0, shape[split], rows):
            yield (*outer, slice(first, first + rows))


class Undecoded(NamedTuple):
    """A dataset whose elements are no plain numbers, as h5py gives them. Needs memory for all of them."""

    file: SourceFile
    path: str

    def chunks(self) -> Iterator[memoryview]:
        h5py = load_h5py(self.file.path)
        try:
            with h5py.File(Handle(self.file), "r") as root:
                dataset = root[self.path]
                if dataset.is_virtual or dataset.external:
                    raise BadInput(
                        "has its values in another file", path=self.file.path, where=short_name(self.path)
                    )
                data = plain_bytes(dataset[()])
        except ERRORS as error:
            raise damaged(self.file, error, self.path) from None
        for start in range(0, len(data), CHUNK):
            yield memoryview(data)[start : start + CHUNK]


def plain_bytes(value: Any) -> bytes:
    """Something equal for equal values: the little-endian bytes of numbers, what Python calls anything else."""
    if getattr(value, "dtype", None) is None:
        return repr(value).encode("utf-8", "backslashreplace")
    if value.dtype.hasobject:
        return repr(value.tolist()).encode("utf-8", "backslashreplace")
    raw: bytes = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    return raw


def damaged(file: SourceFile, error: BaseException, path: str = "") -> BadInput:
    """The error with h5py's own message, on one line."""
    message = short_name(str(error).strip("'\""))
    return BadInput(
        f"cannot be read as HDF5: {message}",
        path=file.path,
        where=f"dataset {short_name(path)}" if path else "",
        hint="the file is damaged; fetch it again",
    )
