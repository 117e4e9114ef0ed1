"""Where the values of a dataset are in an HDF5 file, and whether they can be read from there."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from converters.errors import BadInput
from converters.formats.hdf5.values import SLAB
from converters.printable import short_name

_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32
_RATIO = 1032  # deflate cannot do better
_UNWRITTEN = 64 << 20  # bytes that were never written, in all datasets of a file,
_UNWRITTEN_RATIO = 16  # or so many times the file's size
_AGAIN = "write it again with gzip or without compression"


class Odd(NamedTuple):
    """Values that are not read: ``what`` follows the dtype in words."""

    what: str
    hint: str


class Storage:
    """Finds the values of the datasets of one file of ``size`` bytes."""

    def __init__(self, h5py: Any, size: int) -> None:
        self._h5py = h5py
        self._unwritten = max(_UNWRITTEN, _UNWRITTEN_RATIO * size)

    def place(self, path: str, dataset: Any) -> dict[str, Any] | Odd:
        """The offset of the values of the dataset at ``path`` and whether they are big-endian; or the shape of the
        chunks in which they must be decoded. Raises `BadInput` for fewer bytes than its shape wants."""
        if dataset.is_virtual or dataset.external:
            return Odd("with its values in another file", "copy them in")
        settings = dataset.id.get_create_plist()
        filters = {settings.get_filter(index)[0] for index in range(settings.get_nfilters())}
        if filters - _FILTERS:
            return Odd(f"compressed by filter {min(filters - _FILTERS)}, which is not read", _AGAIN)
        kind = dataset.id.get_type()
        chunk = prod(dataset.chunks) * kind.get_size() if dataset.chunks else 0
        if chunk > SLAB:
            return Odd("in chunks of more than 32 MiB", _AGAIN)
        if not self._is_whole(path, dataset, prod(dataset.shape) * kind.get_size(), chunk, bool(filters)):
            undefined = self._h5py.h5d.FILL_VALUE_UNDEFINED
            if settings.fill_value_defined() == undefined:
                return Odd("that was not written everywhere, and has no fill value", "write its values")
            return {"chunk": dataset.chunks or dataset.shape}
        offset = dataset.id.get_offset()
        as_numpy = self._h5py.h5t.py_create(dataset.dtype, logical=True)
        contiguous = settings.get_layout() == self._h5py.h5d.CONTIGUOUS
        if offset is None or not contiguous or not kind.equal(as_numpy):
            return {"chunk": dataset.chunks or dataset.shape}
        return {"offset": offset, "swapped": dataset.dtype.str[0] == ">"}

    def _is_whole(self, path: str, dataset: Any, size: int, chunk: int, packed: bool) -> bool:
        """Whether all ``size`` bytes of a dataset were written, in chunks of ``chunk`` bytes or at once. The rest is
        its fill value, of which a file may not ask for too much."""
        stored = dataset.id.get_storage_size()
        written = min(size, dataset.id.get_num_chunks() * chunk) if chunk else size
        written = written if stored else 0
        if written > stored * (_RATIO if packed else 1):
            raise self._too_few(path, stored, size)
        self._unwritten -= size - written
        if self._unwritten < 0:
            raise self._too_few(path, stored, size)
        return written == size

    def _too_few(self, path: str, stored: int, size: int) -> BadInput:
        return BadInput(
            f"has {stored:,} bytes for an array of {size:,}",
            where=f"dataset {short_name(path)}",
            hint="the file is damaged; fetch it again",
        )
