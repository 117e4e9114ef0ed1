"""Reads the datasets of an HDF5 file, with the optional package h5py (the extra ``[hdf5]``).

libhdf5 parses the file's structure, through reads that are bounded by the file; nothing outside the file is
opened: no external links, no external or virtual storage, no filters but those that libhdf5 has built in.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput
from converters.formats.other_value import DICTIONARY, OtherValue, unconverted
from converters.formats.sniff import expect
from converters.printable import printable, short_name
from converters.record import Record
from converters.tensor import NUMPY_CODES, Held, Tensor

from .references import Targets
from .storage import Odd, Storage
from .values import ERRORS, Handle, Undecoded, damaged, load_h5py, plain_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile

_OBJECTS = 50_000
_DEPTH = 16
_UNDECODED = 64 << 20  # bytes of a dataset that would have to be held whole


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


class _Link(NamedTuple):
    """A link to a place elsewhere, in the file or outside."""

    target: str


def read_hdf5(file: SourceFile) -> Hdf5File:
    """Read the paths, shapes and offsets of all datasets. What has not been written has the fill value.

    Raises `BadInput` for a file of another kind and a damaged file; `Refused` without h5py.
    """
    expect(file, "hdf5")
    h5py = load_h5py(file.path)
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    empty: list[str] = []
    groups: list[str] = []
    try:
        with h5py.File(Handle(file), "r") as root:
            storage = Storage(h5py, file)
            for path, found in _walk(h5py, file, root):
                if isinstance(found, h5py.Group):
                    groups.append(path)
                    continue
                if isinstance(found, h5py.Datatype):
                    continue
                value = _value(file, path, found, storage)
                if value is None:
                    empty.append(path)
                elif isinstance(value, Tensor):
                    tensors[path] = value
                else:
                    other_values[path] = value
            attributes = tuple(str(name) for name, _ in zip(root.attrs, range(_OBJECTS), strict=False))
    except ERRORS as error:
        raise damaged(file, error) from None
    metadata = {"attributes": OtherValue(kind=DICTIONARY, parts=lambda: _attributes(file), beside=True)}
    return Hdf5File(
        tensors=tensors,
        empty=tuple(empty),
        other_values=other_values,
        groups=tuple(groups),
        attributes=attributes,
        metadata=metadata,
    )


def _value(file: SourceFile, path: str, found: Any, storage: Storage) -> Tensor | OtherValue | None:
    """A dataset or a link; None for a dataset without a value."""
    if isinstance(found, _Link):
        return OtherValue(
            kind="link that refers to another place or file", value=found.target, hint="copy the data in"
        )
    shape = found.shape
    if shape is None:
        return None
    try:
        numbers = found.dtype
    except TypeError:
        return unconverted("elements of a type that numpy does not have", shape, None)
    dtype = "" if numbers.names else NUMPY_CODES.get(numbers.newbyteorder("=").str[1:], "")
    if _refers(numbers):
        odd = unconverted(_kind(numbers), shape, None)
        outside = found.is_virtual or found.external or prod(shape) * numbers.itemsize > _UNDECODED
        return odd if outside else odd.replace(opaque=False, parts=lambda: _references(file, path))
    if not dtype or numbers.metadata:
        small = prod(shape) * numbers.itemsize <= _UNDECODED
        return unconverted(_kind(numbers), shape, Undecoded(file, path) if small else None)
    data = storage.data(path, dtype, found)
    if isinstance(data, Odd):
        return unconverted(f"{dtype} {data.what}", shape, None).replace(hint=data.hint)
    return Tensor(path, dtype, shape, data)


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


def _references(file: SourceFile, path: str) -> Iterator[tuple[str, OtherValue]]:
    """What the references in a dataset refer to."""
    h5py = load_h5py(file.path)
    try:
        with h5py.File(Handle(file), "r") as root:
            targets = Targets(h5py, root, _walk(h5py, file, root))
            yield from targets.parts(root[path][()])
    except ERRORS as error:
        raise damaged(file, error, path) from None


def _named_type(found: Any) -> OtherValue:
    """A datatype that is stored under a name. Opaque where numpy does not show all of it."""
    try:
        dtype = found.dtype
    except TypeError:
        return OtherValue(kind="named datatype that numpy does not have", opaque=True)
    plain = not dtype.names and not dtype.metadata and dtype.kind not in "OV"
    kind = dtype.str if plain else _kind(dtype)
    return OtherValue(kind=f"named datatype, {kind}", opaque=not plain)


def _attributes(file: SourceFile) -> Iterator[tuple[str, OtherValue]]:
    """Every group, named datatype, dataset without a value, and attribute of the file and of all in it, by path."""
    h5py = load_h5py(file.path)
    targets: Targets | None = None
    try:
        with h5py.File(Handle(file), "r") as root:
            for path, found in (("", root), *_walk(h5py, file, root)):
                if path and isinstance(found, h5py.Group):
                    yield f"{path}/", OtherValue(kind="group")
                elif path and isinstance(found, h5py.Datatype):
                    yield path, _named_type(found)
                elif path and getattr(found, "shape", ()) is None:
                    yield path, OtherValue(kind=f"{_kind(found.dtype)} without a value")
                elif path and _is_big_endian(found):
                    yield path, OtherValue(kind="big-endian")
                for name in () if isinstance(found, _Link) else found.attrs:
                    if _refers(found.attrs.get_id(name).dtype):
                        targets = targets or Targets(h5py, root, _walk(h5py, file, root))
                    yield f"{path}@{name}", _attribute(found.attrs, name, targets)
    except ERRORS as error:
        raise damaged(file, error) from None


def _is_big_endian(found: Any) -> bool:
    """Whether numbers of a dataset are: their bytes are given little-endian."""
    try:
        dtype = getattr(found, "dtype", None)
    except TypeError:
        return False
    return dtype is not None and dtype != dtype.newbyteorder("<")


def _attribute(attributes: Any, name: str, targets: Targets | None) -> OtherValue:
    """An attribute; ``targets`` are known where it has references."""
    stored, value = attributes.get_id(name), attributes[name]
    if targets is not None and _refers(stored.dtype):
        parts = tuple(targets.parts(value))
        return OtherValue(kind=_kind(stored.dtype), shape=stored.shape, parts=lambda: iter(parts))
    kind = _kind(value.dtype) if hasattr(value, "dtype") else type(value).__name__
    return OtherValue(kind=kind, shape=getattr(value, "shape", None), data=Held(plain_bytes(value)))


def _walk(h5py: Any, file: SourceFile, root: Any) -> Iterator[tuple[str, Any]]:
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
