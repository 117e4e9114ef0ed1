"""What is in an HDF5 file, as rows for JSON.

Reads are bounded by the file; nothing outside the file is opened: no external links, no external or virtual storage,
no filters but those that libhdf5 has built in.
"""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput
from converters.printable import printable, short_name
from converters.tensor import NUMPY_CODES

from .references import Targets
from .rows import row
from .storage import Odd, Storage
from .values import plain_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .handle import Handle
    from .rows import Row

_OBJECTS = 50_000
_DEPTH = 16
_UNDECODED = 64 << 20  # bytes of a dataset that would have to be held whole


class _Link(NamedTuple):
    """A link to a place elsewhere, in the file or outside."""

    target: str


class Contents:
    """An open file. Raises `ImportError` without h5py."""

    def __init__(self, handle: Handle) -> None:
        self._h5py: Any = import_module("h5py")
        self._size = handle.size
        self.root: Any = self._h5py.File(handle, "r")

    def rows(self) -> dict[str, Any]:
        """Every dataset, link and group, and the names of the file's attributes."""
        storage = Storage(self._h5py, self._size)
        rows: dict[str, list[Any]] = {name: [] for name in ("tensors", "others", "empty", "groups")}
        for path, found in _walk(self._h5py, self.root):
            if isinstance(found, self._h5py.Group):
                rows["groups"].append(path)
            elif not isinstance(found, (self._h5py.Datatype, _Link)) and found.shape is None:
                rows["empty"].append(path)
            elif not isinstance(found, self._h5py.Datatype):
                value = _value(path, found, storage)
                rows["tensors" if "dtype" in value else "others"].append({"path": path, **value})
        return {**rows, "attributes": [str(name) for name in islice(self.root.attrs, _OBJECTS)]}

    def references(self, path: str) -> Iterator[Row]:
        """What the references in a dataset refer to."""
        return self._targets().parts(self.root[path][()])

    def metadata(self) -> Iterator[Row]:
        """Every group, named datatype, dataset without a value, and attribute of the file and of all in it, by path."""
        targets: Targets | None = None
        for path, found in (("", self.root), *_walk(self._h5py, self.root)):
            if path and isinstance(found, self._h5py.Group):
                yield row("group", path=f"{path}/")
            elif path and isinstance(found, self._h5py.Datatype):
                yield {"path": path, **_named_type(found)}
            elif path and getattr(found, "shape", ()) is None:
                yield row(f"{_kind(found.dtype)} without a value", path=path)
            elif path and _is_big_endian(found):
                yield row("big-endian", path=path)
            for name in () if isinstance(found, _Link) else found.attrs:
                if _refers(found.attrs.get_id(name).dtype):
                    targets = targets or self._targets()
                yield {"path": f"{path}@{name}", **_attribute(found.attrs, name, targets)}

    def _targets(self) -> Targets:
        return Targets(self._h5py, self.root, _walk(self._h5py, self.root))


def _value(path: str, found: Any, storage: Storage) -> Row:
    """A dataset or a link."""
    if isinstance(found, _Link):
        return row("link that refers to another place or file", value=found.target, hint="copy the data in")
    shape = found.shape
    try:
        numbers = found.dtype
    except TypeError:
        return row("elements of a type that numpy does not have", shape=shape, opaque=True)
    dtype = "" if numbers.names else NUMPY_CODES.get(numbers.newbyteorder("=").str[1:], "")
    small = prod(shape) * numbers.itemsize <= _UNDECODED
    if _refers(numbers):
        outside = found.is_virtual or found.external or not small
        return row(_kind(numbers), shape=shape, opaque=outside, refers=not outside)
    if not dtype or numbers.metadata:
        return row(_kind(numbers), shape=shape, opaque=not small, raw=small)
    place = storage.place(path, found)
    if isinstance(place, Odd):
        return row(f"{dtype} {place.what}", shape=shape, opaque=True, hint=place.hint)
    return {"dtype": dtype, "shape": shape, **place}


def _kind(dtype: Any) -> str:
    """What elements that are not converted are. What their bytes do not show is in it: fields, and values' names."""
    little = dtype.newbyteorder("<")
    if dtype.names:
        return printable(f"compound {little}")
    if "ref" in (dtype.metadata or ()):
        return "region references" if "Region" in dtype.metadata["ref"].__name__ else "object references"
    known = {"vlen": "lists", "enum": "enumeration"}
    for key, word in known.items():
        if key in (dtype.metadata or ()):
            inner = dtype.metadata[key]
            if inner in (str, bytes):
                return "text" if inner is str else "text, ASCII"
            return printable(f"{word} of {little.str[1:]} {inner}")
    if dtype.kind in "SU":
        return f"text of {dtype.itemsize} bytes{', UTF-8' if dtype.metadata else ''}"
    return "opaque bytes" if dtype.kind == "V" else str(dtype.name)


def _refers(dtype: Any) -> bool:
    """Whether elements refer to other objects, in a field or a list too."""
    metadata = dtype.metadata or {}
    inner = metadata.get("vlen", None if dtype.subdtype is None else dtype.subdtype[0])
    fields = [dtype[name] for name in dtype.names or ()]
    fields += [inner] if hasattr(inner, "metadata") else []
    return "ref" in metadata or any(_refers(field) for field in fields)


def _named_type(found: Any) -> Row:
    """A datatype that is stored under a name. Opaque where numpy does not show all of it."""
    try:
        dtype = found.dtype
    except TypeError:
        return row("named datatype that numpy does not have", opaque=True)
    plain = not dtype.names and not dtype.metadata and dtype.kind not in "OV"
    kind = dtype.str if plain else _kind(dtype)
    return row(f"named datatype, {kind}", opaque=not plain)


def _is_big_endian(found: Any) -> bool:
    """Whether numbers of a dataset are: their bytes are given little-endian."""
    try:
        dtype = getattr(found, "dtype", None)
    except TypeError:
        return False
    return dtype is not None and dtype != dtype.newbyteorder("<")


def _attribute(attributes: Any, name: str, targets: Targets | None) -> Row:
    """An attribute; ``targets`` are known where it has references."""
    stored, value = attributes.get_id(name), attributes[name]
    if targets is not None and _refers(stored.dtype):
        return row(_kind(stored.dtype), shape=stored.shape, parts=[*targets.parts(value)])
    kind = _kind(value.dtype) if hasattr(value, "dtype") else type(value).__name__
    return row(kind, shape=getattr(value, "shape", None), bytes=plain_bytes(value).hex())


def _walk(h5py: Any, root: Any) -> Iterator[tuple[str, Any]]:
    """Every group, dataset and link with its path; stays inside the file and follows no cycles."""
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
                where=short_name(path),
                hint="no model does; fetch the file again",
            )
        inner = []
        for name in group:
            count += 1
            if count > _OBJECTS:
                raise BadInput(f"has more than {_OBJECTS:,} objects", hint="no model has; fetch it again")
            place = f"{path}/{name}" if path else str(name)
            value = _linked(h5py, group, name)
            if isinstance(value, (h5py.Group, h5py.Dataset, h5py.Datatype, _Link)):
                inner.append((place, value, depth + 1))
        stack += reversed(inner)


def _linked(h5py: Any, group: Any, name: str) -> Any:
    """The object of this name in a group; a link that would lead away is not followed."""
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.HardLink):
        return group[name]
    target = getattr(link, "path", "")
    outside = getattr(link, "filename", "")
    return _Link(f"{outside}:{target}" if outside else str(target))
