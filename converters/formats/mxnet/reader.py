"""Reads MXNet's NDArray lists: names, dtypes, shapes and places. No array is read; `ndarray_list` has the format."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from struct import calcsize, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.other_value import OtherValue, unconverted
from converters.printable import short_name
from converters.record import Record
from converters.tensor import ITEMSIZE, FileBytes, Tensor

from .ndarray_list import ARRAYS, AXES, DENSE, FLAGS, LIST_MAGIC, MAGICS, OTHER_FLAGS, PREFIXES, SPARSE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.files import SourceFile

_LONGEST_NAME = 1 << 12  # bytes
_NAMES = 16 << 20  # bytes of all names
_HEADER = 4 + 4 + 4 + 8 * AXES + 12  # bytes of the longest header
_LEAST = 4 + 4  # bytes of the shortest array, an empty one before version 1
_NONE = OtherValue(kind="array without a shape")


class Array(NamedTuple):
    """An array: its version, the dtype's name, the shape, the type and number of the device that it was on, and its
    bytes. An empty one has neither shape, device nor bytes."""

    version: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    device: tuple[int, int] | None = None
    data: FileBytes | None = None


class ParamsFile(Record):
    """A file's arrays by name, in its order; those of a list without names have their numbers as names.

    ``other_values`` are empty arrays, and those of dtypes that are not converted. ``stored_names`` are the
    names as they are in the file, where all have one of Module's prefixes before them. ``arrays`` are all arrays.
    """

    tensors: Mapping[str, Tensor]
    other_values: Mapping[str, OtherValue]
    stored_names: tuple[str, ...]
    arrays: tuple[Array, ...]

    @property
    def prefixed(self) -> bool:
        """Whether the names in the file have Module's prefixes."""
        return any(name not in self.tensors and name not in self.other_values for name in self.stored_names)


def read_params(file: SourceFile) -> ParamsFile:
    """Read a list's headers and names.

    Raises `BadInput` for another kind of file, for one whose counts, sizes and lengths contradict each other or the
    file's end, for a name that occurs twice, and for sparse arrays.
    """
    if file.size < 8 or _number(file, 0) != LIST_MAGIC:
        raise BadInput("is not an MXNet parameter file", path=file.path)
    count = _number(file, 16)
    if count > min(ARRAYS, file.size // _LEAST):
        raise _bad(file, f"says that it holds {count:,} arrays, which it cannot")
    offset = 24
    arrays = []
    for place in range(count):
        array, offset = _array(file, offset, place)
        arrays.append(array)
    stored = _names(file, offset, count)
    bare = [name[len(PREFIXES[0]) :] for name in stored if name.startswith(PREFIXES)]
    if len({*bare}) < len(bare):
        ordered = sorted(bare)
        doubled = next(name for name, after in pairwise(ordered) if name == after)
        raise _bad(file, f"has {short_name(doubled)} both as a parameter (arg:) and as a statistic (aux:)")
    names = without_prefixes(stored) if stored else [str(place) for place in range(count)]
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    for name, array in zip(names, arrays, strict=True):
        if array.data is None:
            other_values[name] = _NONE
        elif array.dtype in ITEMSIZE:
            tensors[name] = Tensor(name, array.dtype, array.shape, array.data)
        else:
            other_values[name] = unconverted(array.dtype, array.shape, array.data)
    return ParamsFile(
        tensors=tensors, other_values=other_values, stored_names=tuple(stored), arrays=tuple(arrays)
    )


def without_prefixes(names: Sequence[str]) -> list[str]:
    """Names without Module's prefixes, if all have one and are different without."""
    bare = [name[len(PREFIXES[0]) :] for name in names if name.startswith(PREFIXES)]
    return bare if len({*bare}) == len(names) else [*names]


def _array(file: SourceFile, offset: int, place: int) -> tuple[Array, int]:
    """The array at an offset, and the offset after it."""
    head = _Head(file, offset, place)
    (first,) = head.take("I")
    version = MAGICS.get(first, 0)
    if version >= 2:
        (storage,) = head.take("i")
        if storage != DENSE:
            raise head.wrong_storage(storage)
    axes = head.take("i")[0] if version else first
    if axes > AXES or axes < (-1 if version == 3 else 0):
        raise head.bad(f"has an array of {axes:,} axes")
    shape = head.take(f"{axes}{'q' if version else 'I'}") if axes > 0 else ()
    if axes < (0 if version == 3 else 1) or (version == 3 and -1 in shape):
        return Array(version), head.offset
    if any(size < 0 for size in shape):
        raise head.bad("has an array of negative size")
    *device, flag = head.take("3i")
    dtype, itemsize = OTHER_FLAGS.get(flag) or (FLAGS.get(flag, ""), ITEMSIZE.get(FLAGS.get(flag, ""), 0))
    if not dtype:
        raise head.bad(f"has an array of the type {flag}, which MXNet does not have")
    length = prod(shape) * itemsize
    if length > file.size - head.offset:
        raise head.bad(f"ends early: an array of {length:,} bytes is not there whole")
    data = FileBytes(file, head.offset, length)
    return Array(version, dtype, shape, (device[0], device[1]), data), head.offset + length


class _Head:
    """The numbers of an array's header, one after the other."""

    def __init__(self, file: SourceFile, offset: int, place: int) -> None:
        self.offset, self._file, self._place, self._start = offset, file, place, offset
        self._raw = file.read_at(offset, min(_HEADER, file.size - offset))

    def take(self, code: str) -> tuple[int, ...]:
        """The next numbers, by their codes in `struct`."""
        size, at = calcsize(f"<{code}"), self.offset - self._start
        if at + size > len(self._raw):
            raise self._file.cut(self.offset, size)
        self.offset += size
        return unpack_from(f"<{code}", self._raw, at)

    def bad(self, what: str) -> BadInput:
        """The error for this array."""
        return _bad(self._file, what, self._place)

    def wrong_storage(self, storage: int) -> BadInput:
        """The error for an array that is not dense."""
        if storage not in SPARSE:
            return self.bad(f"has an array of the storage type {storage}, which MXNet does not have")
        error = self.bad(f"has a sparse array ({SPARSE[storage]}), which is not read")
        error.hint = "in MXNet, make it dense with array.tostype('default'), and save it again"
        return error


def _names(file: SourceFile, offset: int, arrays: int) -> list[str]:
    """The names at an offset, which end the file: none, or as many as there are arrays."""
    count = _number(file, offset)
    offset += 8
    if count not in (0, arrays):
        raise _bad(file, f"has {arrays:,} arrays and says that it has {count:,} names")
    rest = file.size - offset
    if count * 8 > rest:
        raise file.cut(offset, count * 8)
    if rest > _NAMES:
        raise _bad(file, f"has {rest:,} bytes in the place of {count:,} names")
    raw, at = file.read_at(offset, rest), 0
    names: dict[str, None] = {}
    for _ in range(count):
        length = int.from_bytes(raw[at : at + 8], "little")
        at += 8 + length
        if length > _LONGEST_NAME:
            raise _bad(file, f"has a name of {length:,} bytes")
        if at > rest:
            raise file.cut(offset + at - length, length)
        try:
            name = raw[at - length : at].decode("utf-8")
        except UnicodeDecodeError:
            raise _bad(file, f"has a name that is not UTF-8: {short_name(raw[at - length : at])}") from None
        if name in names:
            raise _bad(file, f"has the name {short_name(name)} twice")
        names[name] = None
    if at != rest:
        raise _bad(file, f"has {rest - at:,} bytes after its end")
    return list(names)


def _number(file: SourceFile, offset: int) -> int:
    return int.from_bytes(file.read_at(offset, 8), "little")


def _bad(file: SourceFile, what: str, place: int | None = None) -> BadInput:
    where = "" if place is None else f"array {place}"
    hint = "the file is damaged, or is not an MXNet parameter file; fetch it again"
    return BadInput(what, path=file.path, where=where, hint=hint)
