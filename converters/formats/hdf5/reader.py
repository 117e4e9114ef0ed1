"""Reads the datasets of an HDF5 file, with the optional package h5py (the extra ``[hdf5]``).

libhdf5 parses the file's structure, through reads that are bounded by the file; nothing outside the file is
opened: no external links, no external or virtual storage, no filters but those that libhdf5 has built in.
"""

from __future__ import annotations

import io
from importlib import import_module
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput, Refused
from converters.files import CHUNK
from converters.formats.other_value import DICTIONARY, OtherValue, unconverted
from converters.formats.sniff import expect
from converters.printable import short_name
from converters.tensor import ITEMSIZE, NUMPY_CODES, FileBytes, Held, Swapped, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile
    from converters.tensor import Data

_OBJECTS = 50_000
_DEPTH = 16
_SLAB = 32 << 20  # the most bytes of a compressed dataset that are inflated at a time
_READ = 4 << 20  # so many where its chunks are small
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32
_RATIO = 1032  # deflate cannot do better
_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a damaged file, by the place of the damage."""


class Hdf5File(NamedTuple):
    """A file's datasets by path, sorted by name as HDF5 does.

    ``tensors`` are those with dtypes that a state dict can hold, ``empty`` the paths of datasets without a value,
    ``other_values`` are the rest, ``groups`` the paths of all groups. ``metadata`` are the attributes of groups and
    datasets, which are not read before they are asked for.
    """

    tensors: dict[str, Tensor]
    empty: tuple[str, ...]
    other_values: dict[str, OtherValue]
    groups: tuple[str, ...]
    metadata: Mapping[str, OtherValue]


def read_hdf5(file: SourceFile) -> Hdf5File:
    """Read the paths, shapes and offsets of all datasets.

    Raises `BadInput` for a file of another kind, a damaged file, and one that refers to other files; `Refused`
    without h5py.
    """
    expect(file, "hdf5")
    h5py = load_h5py(file.path)
    attributes = OtherValue(kind=DICTIONARY, parts=lambda: _attributes(file), beside=True)
    contents = Hdf5File({}, (), {}, (), {"attributes": attributes})
    empty: list[str] = []
    groups: list[str] = []
    try:
        with h5py.File(_Handle(file), "r") as root:
            for path, link in _walk(h5py, file, root):
                if isinstance(link, h5py.Group):
                    groups.append(path)
                    continue
                code = link.dtype.newbyteorder("=").str[1:] if link.dtype.names is None else ""
                dtype = NUMPY_CODES.get(code, "")
                if link.shape is None:
                    empty.append(path)
                elif not dtype or link.dtype.metadata:
                    kind = short_name(link.dtype)
                    contents.other_values[path] = unconverted(kind, link.shape, _Undecoded(file, path))
                else:
                    contents.tensors[path] = Tensor(
                        path, dtype, link.shape, _data(h5py, file, path, dtype, link)
                    )
    except _ERRORS as error:
        raise _damaged(file, error) from None
    return contents._replace(empty=tuple(empty), groups=tuple(groups))


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


class _Handle(io.RawIOBase):
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


class _Compressed:
    """A dataset that only libhdf5 can decode, read a few rows at a time.

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
        for place in _slabs(self.shape, self.chunk, self.dtype.itemsize):
            raw = self._read(place)
            for start in range(0, len(raw), CHUNK):
                yield raw[start : start + CHUNK]

    def _read(self, place: tuple[int | slice, ...]) -> memoryview:
        h5py = load_h5py(self.file.path)
        try:
            with h5py.File(_Handle(self.file), "r") as root:
                values = root[self.path][place].astype(self.dtype.newbyteorder("<"), copy=False)
        except _ERRORS as error:
            raise _damaged(self.file, error, self.path) from None
        found: memoryview = values.reshape(-1).view("u1").data
        return found


class _Undecoded(NamedTuple):
    """A dataset whose elements are no plain numbers, as h5py gives them. Needs memory for all of them."""

    file: SourceFile
    path: str

    def chunks(self) -> Iterator[memoryview]:
        h5py = load_h5py(self.file.path)
        try:
            with h5py.File(_Handle(self.file), "r") as root:
                dataset = root[self.path]
                if dataset.is_virtual or dataset.external:
                    raise BadInput(
                        "has its values in another file", path=self.file.path, where=short_name(self.path)
                    )
                data = _plain_bytes(dataset[()])
        except _ERRORS as error:
            raise _damaged(self.file, error, self.path) from None
        for start in range(0, len(data), CHUNK):
            yield memoryview(data)[start : start + CHUNK]


def _plain_bytes(value: Any) -> bytes:
    """Something equal for equal values: the bytes of numbers, what Python calls anything else."""
    if getattr(value, "dtype", None) is None:
        return repr(value).encode("utf-8", "backslashreplace")
    if value.dtype.hasobject:
        return repr(value.tolist()).encode("utf-8", "backslashreplace")
    raw: bytes = value.tobytes()
    return raw


def _attributes(file: SourceFile) -> Iterator[tuple[str, OtherValue]]:
    """Every attribute of the file, its groups and its datasets, by path."""
    h5py = load_h5py(file.path)
    try:
        with h5py.File(_Handle(file), "r") as root:
            for path, link in (("", root), *_walk(h5py, file, root)):
                for name in link.attrs:
                    value = link.attrs[name]
                    kind = short_name(getattr(value, "dtype", type(value).__name__))
                    shape = getattr(value, "shape", None)
                    yield f"{path}@{name}", OtherValue(kind=kind, shape=shape, data=Held(_plain_bytes(value)))
    except _ERRORS as error:
        raise _damaged(file, error) from None


def _slabs(
    shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int
) -> Iterator[tuple[int | slice, ...]]:
    """Selections that together cover an array in C order: whole rows of chunks where they fit into a slab."""
    if not shape:
        yield ()
    if not shape or 0 in shape:
        return
    inner = [prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape))]
    split = next(axis for axis, size in enumerate(inner) if size <= _SLAB)
    row = inner[split]
    rows = chunk[split] * max(1, _READ // max(1, chunk[split] * row))
    rows = max(1, min(rows, _SLAB // row))
    for outer in product(*(range(size) for size in shape[:split])):
        for first in range(0, shape[split], rows):
            yield (*outer, slice(first, first + rows))


def _walk(h5py: Any, file: SourceFile, root: Any) -> Iterator[tuple[str, Any]]:
    """Every group and dataset with its path; stays inside the file and follows no cycles."""
    stack = [("", root, 0)]
    count = 0
    while stack:
        path, group, depth = stack.pop()
        if path:
            yield path, group
        if not isinstance(group, h5py.Group):
            continue
        if depth == _DEPTH:
            raise BadInput(
                "nests its groups too deeply",
                path=file.path,
                where=short_name(path),
                hint="no model does; fetch the file again",
            )
        inner = []
        for name in group:
            count += 1
            if count > _OBJECTS:
                raise BadInput(
                    f"has more than {_OBJECTS:,} objects", path=file.path, hint="no model has; fetch it again"
                )
            link = f"{path}/{name}" if path else str(name)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BadInput(
                    "refers to another place or file",
                    path=file.path,
                    where=short_name(link),
                    hint="copy the data in",
                )
            value = group[name]
            if isinstance(value, (h5py.Group, h5py.Dataset)):
                inner.append((link, value, depth + 1))
        stack += reversed(inner)


def _data(h5py: Any, file: SourceFile, path: str, dtype: str, dataset: Any) -> Data:
    def bad(what: str, hint: str) -> BadInput:
        return BadInput(what, path=file.path, where=f"dataset {short_name(path)}", hint=hint)

    again = "write it again with gzip or without compression"
    if dataset.is_virtual or dataset.external:
        raise bad("has its values in another file", "copy them in")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(index)[0] for index in range(settings.get_nfilters())}
    if filters - _FILTERS:
        raise bad(f"is compressed by filter {min(filters - _FILTERS)}, which is not read", again)
    size = prod(dataset.shape) * ITEMSIZE[dtype]
    stored = dataset.id.get_storage_size()
    if size > stored * (_RATIO if filters else 1):
        raise bad(f"has {stored:,} bytes for an array of {size:,}", "the file is damaged; fetch it again")
    if dataset.chunks and prod(dataset.chunks) * ITEMSIZE[dtype] > _SLAB:
        raise bad("is stored in chunks of more than 32 MiB", again)
    offset = dataset.id.get_offset()
    if offset is None or settings.get_layout() != h5py.h5d.CONTIGUOUS:
        return _Compressed(file, path, dataset)
    data = FileBytes(file, offset, size)
    if offset + size > file.size:
        raise file.cut(offset, size)
    return Swapped(data, ITEMSIZE[dtype]) if dataset.dtype.str[0] == ">" else data


def _damaged(file: SourceFile, error: BaseException, path: str = "") -> BadInput:
    """The error with h5py's own message, on one line."""
    message = short_name(str(error).strip("'\""))
    return BadInput(
        f"cannot be read as HDF5: {message}",
        path=file.path,
        where=f"dataset {short_name(path)}" if path else "",
        hint="the file is damaged; fetch it again",
    )
