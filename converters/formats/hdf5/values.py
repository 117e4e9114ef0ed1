"""Values of HDF5 datasets that only libhdf5 can decode: they stay in the file until they are read."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .library import Library

SLAB = 32 << 20
"""The most bytes of a dataset that libhdf5 decodes at a time."""

_READ = 4 << 20  # so many where its chunks are small


class Decoded(NamedTuple):
    """A dataset that is compressed, in chunks, in places never written, or of a dtype that libhdf5 converts, read a few
    rows at a time. ``chunk`` is the shape of its chunks, ``itemsize`` the bytes of an element."""

    library: Library
    path: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        for place in slabs(self.shape, self.chunk, self.itemsize):
            outer = [one for one in place if isinstance(one, int)]
            rows = [[one.start, one.stop] for one in place if isinstance(one, slice)]
            _, raw = self.library.ask("slab", path=self.path, outer=outer, rows=rows)
            if len(raw) != self._size(place):
                raise self.library.nonsense()
            yield from _pieces(raw)

    def _size(self, place: tuple[int | slice, ...]) -> int:
        """The bytes of a selection."""
        sizes = [
            len(range(*one.indices(size))) if isinstance(one, slice) else 1
            for one, size in zip(place, self.shape, strict=False)
        ]
        return prod((*sizes, *self.shape[len(place) :])) * self.itemsize


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
    """A dataset whose elements are not plain numbers, as h5py gives them. Needs memory for all of them."""

    library: Library
    path: str

    def chunks(self) -> Iterator[memoryview]:
        _, raw = self.library.ask("raw", path=self.path)
        yield from _pieces(raw)


def _pieces(raw: bytes) -> Iterator[memoryview]:
    for start in range(0, len(raw), CHUNK):
        yield memoryview(raw)[start : start + CHUNK]
