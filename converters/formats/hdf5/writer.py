"""Writes HDF5 files with the optional package h5py: Caffe's ``.caffemodel.h5``, Chainer's ``.h5``.

libhdf5 lays out the file without values; the values are then streamed to their offsets, so that only names and one
chunk of data are in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.tensor import NUMPY_CODES

from .package import load_h5py
from .positioned import Positioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

_PAGE = 4096
_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
"""What h5py raises for a name that is taken, or none."""

_CODES = {dtype: code for code, dtype in NUMPY_CODES.items()}


def write_hdf5(
    out: Output,
    tensors: Sequence[Tensor],
    *,
    groups: Iterable[str] = (),
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``tensors`` as contiguous datasets at the paths that are their names, and ``groups``, which may be empty.

    The same tensors give the same bytes with the same version of libhdf5. Raises `Refused` for a dtype or name that
    HDF5 cannot express, and without h5py.
    """
    h5py = load_h5py(out.path)
    frame = _Frame()
    places: list[tuple[int, Tensor]] = []
    with h5py.File(frame, "w", libver="earliest") as file:
        for path in groups:
            try:
                file.require_group(path)
            except _ERRORS as error:
                raise _refused(path, error) from None
        for tensor in tensors:
            if tensor.dtype not in _CODES:
                raise Refused(
                    f"HDF5 has no {tensor.dtype}", where=tensor.name, hint="cast it, as with --dtype float32"
                )
            places.append((_dataset(h5py, file, tensor), tensor))
    at = 0
    for start, tensor in sorted((place for place in places if place[1].nbytes), key=lambda place: place[0]):
        frame.copy(out, at, start)
        for chunk in tensor.data.chunks():
            out.write(chunk)
            if progress is not None:
                progress(len(chunk))
        at = start + tensor.nbytes
    frame.copy(out, at, frame.size)


def _dataset(h5py: Any, file: Any, tensor: Tensor) -> int:
    """Create a dataset whose offset is fixed and whose values are not written; returns the offset."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)
    parents = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    parents.set_create_intermediate_group(True)
    kind = h5py.h5t.py_create(_file_dtype(tensor.dtype), logical=True)
    space = h5py.h5s.create_simple(tensor.shape) if tensor.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    try:
        made = h5py.h5d.create(file.id, None, kind, space, dcpl=settings)
        h5py.h5o.link(made, file.id, tensor.name.encode(), lcpl=parents)
    except _ERRORS as error:
        raise _refused(tensor.name, error) from None
    return int(made.get_offset() or 0)


def _refused(name: str, error: Exception) -> Refused:
    return Refused(f"HDF5 cannot have this name: {error}", where=name, hint="write another format")


def _file_dtype(dtype: str) -> Any:
    """numpy's dtype of a dataset, little-endian."""
    import numpy

    return numpy.dtype(f"<{_CODES[dtype]}" if not _CODES[dtype].endswith("1") else _CODES[dtype])


class _Frame(Positioned):
    """A sparse file in memory: only pages that were written, which hold libhdf5's own structures, take space."""

    def __init__(self) -> None:
        super().__init__(0)
        self._pages: dict[int, bytearray] = {}

    def writable(self) -> bool:
        """Always."""
        return True

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            page, start = divmod(self._at + done, _PAGE)
            piece = view[done : done + _PAGE - start]
            self._pages.setdefault(page, bytearray(_PAGE))[start : start + len(piece)] = piece
            done += len(piece)
        self._at += done
        self.size = max(self.size, self._at)
        return done

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.size - self._at))
        view[:length] = self._bytes(self._at, length)
        self._at += length
        return length

    def copy(self, out: Output, start: int, end: int) -> None:
        """Write a range without tensor values to ``out``."""
        while start < end:
            length = min(_PAGE, end - start)
            out.write(self._bytes(start, length))
            start += length

    def _bytes(self, start: int, length: int) -> bytes:
        out = bytearray()
        while len(out) < length:
            page, first = divmod(start + len(out), _PAGE)
            out += self._pages.get(page, bytes(_PAGE))[first : first + length - len(out)]
        return bytes(out)
