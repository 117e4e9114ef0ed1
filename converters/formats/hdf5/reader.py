"""Reads the datasets of an HDF5 file, with the optional package h5py (the extra ``[hdf5]``).

libhdf5 parses the file's structure in a process of its own (`library`). What is contiguous in the file is read from
there directly; only what must be decoded comes from that process.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from converters.formats.other_value import DICTIONARY, OtherValue
from converters.formats.sniff import expect
from converters.record import Record
from converters.tensor import ITEMSIZE, FileBytes, Held, Swapped, Tensor

from .library import Nonsense, integers, library_of, texts
from .values import SLAB, Decoded, Undecoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile
    from converters.tensor import Data

    from .library import Library


class Hdf5File(Record):
    """A file's datasets by path, sorted by name as HDF5 does.

    ``tensors`` are those with dtypes that a state dict can hold, ``empty`` the paths of datasets without a value,
    ``other_values`` are the rest, which includes links, that are not followed; ``groups`` are the paths of all groups,
    ``attributes`` the names of the file's own attributes. ``metadata`` are the attributes of groups and datasets, which
    are not read before they are asked for.
    """

    tensors: dict[str, Tensor]
    empty: tuple[str, ...]
    other_values: dict[str, OtherValue]
    groups: tuple[str, ...]
    attributes: tuple[str, ...]
    metadata: Mapping[str, OtherValue]


def read_hdf5(file: SourceFile) -> Hdf5File:
    """Read the paths, shapes and offsets of all datasets. What has not been written has the fill value.

    Raises `BadInput` for a file of another kind and a damaged file; `Refused` without h5py.
    """
    expect(file, "hdf5")
    library = library_of(file)
    found, _ = library.ask("contents")
    try:
        return _contents(library, found)
    except (Nonsense, KeyError, TypeError):
        library.close()
        raise library.nonsense() from None


def _contents(library: Library, found: dict[str, Any]) -> Hdf5File:
    """What the process found, checked."""
    values = OtherValue(kind=DICTIONARY, parts=lambda: _parts(library, "metadata"), beside=True)
    return Hdf5File(
        tensors={row["path"]: _tensor(library, row) for row in _rows(found["tensors"])},
        empty=texts(found["empty"]),
        other_values={row["path"]: _other(library, row) for row in _rows(found["others"])},
        groups=texts(found["groups"]),
        attributes=texts(found["attributes"]),
        metadata={"attributes": values},
    )


def _rows(found: Any) -> list[dict[str, Any]]:
    """Rows that have a path each."""
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Nonsense
    texts([row["path"] for row in found])
    return found


def _tensor(library: Library, row: dict[str, Any]) -> Tensor:
    shape = integers(row["shape"])
    if row["dtype"] not in ITEMSIZE:
        raise Nonsense
    return Tensor(row["path"], row["dtype"], shape, _data(library, row, shape))


def _data(library: Library, row: dict[str, Any], shape: tuple[int, ...]) -> Data:
    """Where the values are. Raises `BadInput` for a place beyond the file's end."""
    itemsize = ITEMSIZE[row["dtype"]]
    if "chunk" in row:
        chunk = integers(row["chunk"], len(shape))
        too_large = prod(chunk) * itemsize > SLAB and chunk != shape
        if too_large or (0 in chunk and 0 not in shape):
            raise Nonsense
        return Decoded(library, row["path"], shape, chunk, itemsize)
    (offset,) = integers([row["offset"]])
    size = prod(shape) * itemsize
    if offset + size > library.file.size:
        raise library.file.cut(offset, size)
    data = FileBytes(library.file, offset, size)
    return Swapped(data, itemsize) if row["swapped"] is True else data


def _other(library: Library, row: dict[str, Any]) -> OtherValue:
    """A value that is not converted. Its bytes or parts are in its row, or asked for when they are wanted."""
    kind, hint = texts([row["kind"], row["hint"]])
    value, shape = row["value"], row["shape"]
    if not isinstance(value, str | None):
        raise Nonsense
    path, inside = row.get("path", ""), row.get("parts")
    held = None if inside is None else tuple(_named(library, inside))
    parts = None if held is None else partial(iter, held)
    if row.get("refers"):
        parts = partial(_parts, library, "references", path=path)
    return OtherValue(
        kind=kind,
        shape=None if shape is None else integers(shape),
        data=_bytes(library, row, path),
        value=value,
        parts=parts,
        opaque=row["opaque"] is True,
        hint=hint,
    )


def _bytes(library: Library, row: dict[str, Any], path: str) -> Data | None:
    """The bytes of a value, if it has any."""
    if row.get("raw"):
        return Undecoded(library, path)
    try:
        return Held(bytes.fromhex(row["bytes"])) if "bytes" in row else None
    except ValueError:
        raise Nonsense from None


def _named(library: Library, found: Any) -> Iterator[tuple[str, OtherValue]]:
    """Values by name."""
    for row in _rows(found):
        yield row["path"], _other(library, row)


def _parts(library: Library, what: str, **values: Any) -> Iterator[tuple[str, OtherValue]]:
    """The answer to a question for values by name. All of them are held."""
    found, _ = library.ask(what, **values)
    try:
        parts = [*_named(library, found)]
    except (Nonsense, KeyError, TypeError, RecursionError):
        library.close()
        raise library.nonsense() from None
    yield from parts
