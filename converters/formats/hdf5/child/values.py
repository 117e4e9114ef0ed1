"""Values as h5py gives them, as bytes."""

from __future__ import annotations

from typing import Any

from converters.errors import BadInput
from converters.printable import short_name

ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a damaged file, by the place of the damage."""


def slab(dataset: Any, outer: list[int], rows: list[list[int]]) -> memoryview:
    """The little-endian bytes of some rows of a dataset: an index for each of its first axes, and a range."""
    place = (*outer, *(slice(start, stop) for start, stop in rows))
    values = dataset[place].astype(dataset.dtype.newbyteorder("<"), copy=False)
    found: memoryview = values.reshape(-1).view("u1").data
    return found


def undecoded(dataset: Any) -> bytes:
    """All values of a dataset whose elements are not plain numbers."""
    if dataset.is_virtual or dataset.external:
        raise BadInput("has its values in another file", where=short_name(dataset.name))
    return plain_bytes(dataset[()])


def plain_bytes(value: Any) -> bytes:
    """Something equal for equal values: the little-endian bytes of numbers, what Python calls anything else."""
    if getattr(value, "dtype", None) is None:
        return repr(value).encode("utf-8", "backslashreplace")
    if value.dtype.hasobject:
        return repr(value.tolist()).encode("utf-8", "backslashreplace")
    raw: bytes = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    return raw


def damaged(error: BaseException, path: str = "") -> BadInput:
    """The error with h5py's own message, on one line."""
    message = short_name(str(error).strip("'\"")) or "it needs too much memory"
    return BadInput(
        f"cannot be read as HDF5: {message}",
        where=f"dataset {short_name(path)}" if path else "",
        hint="the file is damaged; fetch it again",
    )
