"""The compiled form of the tables: JSON, made when the package is built, which loads in a tenth of the TOML's time.

`compile` writes it to ``compiled/`` beside the tables. A table's compiled form counts
only while its key is that of the TOML and of the code as they stand; else, and where there is none, the TOML is read.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from converters.record import Record

from . import schema
from .storage import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Reader = Callable[[Any], Any]

FOLDER = "compiled"
_CODE = ("schema.py", "storage.py", "expand.py", "compiled.py")
"""What decides, beside the TOML, what the compiled form is."""

Table = Any
"""A `schema.LayoutTable` or a `schema.NetworkTable`."""


def read_compiled(root: str, folder: str, name: str, text: bytes) -> Table | None:
    """A table from its compiled form; None where there is none of it as its TOML, ``text``, is now."""
    try:
        with open(compiled_path(root, folder, name), "rb") as file:
            content = json.loads(file.read())
        if content["key"] != table_key(root, folder, text, content["reads"]):
            return None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return restore(schema.LayoutTable if folder == "layouts" else schema.NetworkTable, content["table"])


def compiled_path(root: str, folder: str, name: str) -> str:
    """Where a table's compiled form is."""
    return os.path.join(root, FOLDER, f"{folder}-{name}.json")


def table_key(root: str, folder: str, text: bytes, reads: Iterable[str]) -> int:
    """A checksum over the code, a table's TOML and those that it takes something from."""
    from zlib import crc32

    crc = crc32(text, _code_key())
    for name in reads:
        with open(os.path.join(root, folder, f"{name}.toml"), "rb") as file:
            crc = crc32(file.read(), crc)
    return crc


@cache
def _code_key() -> int:
    from zlib import crc32

    crc, folder = 0, os.path.dirname(os.path.abspath(__file__))
    for name in _CODE:
        with open(os.path.join(folder, name), "rb") as file:
            crc = crc32(file.read(), crc)
    return crc


def as_data(value: Any) -> Any:
    """A table as JSON has it; a record without the fields that have their defaults."""
    if isinstance(value, Record):
        return {
            name: as_data(own)
            for name in value.fields
            if (own := getattr(value, name)) != getattr(type(value), name, _NO_DEFAULT)
        }
    if isinstance(value, (tuple, list)):
        return [as_data(item) for item in value]
    if hasattr(value, "items"):
        return {key: as_data(item) for key, item in value.items()}
    return value


_NO_DEFAULT = object()


def restore(record: type[Record], data: dict[str, Any]) -> Any:
    """A record from its data, which has been checked before it was written."""
    readers = _readers(record)  # type: ignore[arg-type]  # mypy: a class is not Hashable
    return record(
        **{
            name: value if (reader := readers[name]) is None else reader(value)
            for name, value in data.items()
        }
    )


@cache
def _readers(record: type[Record]) -> dict[str, Reader | None]:
    """What turns JSON into each field's value; None where it is that already."""
    return {name: _reader(record.__annotations__[name]) for name in record.fields}


@cache
def _reader(annotation: str) -> Reader | None:
    """The reader for an annotation, by its text: to evaluate it would take longer than all else."""
    if annotation.startswith("tuple["):
        return _list_reader(_reader(annotation[6:-6]))
    if annotation.startswith("Mapping[str, "):
        inner = _reader(annotation[13:-1])
        return None if inner is None else _table_reader(inner)
    if annotation == "StoredTensor":
        return _stored
    record = getattr(schema, annotation.removesuffix(" | None"), None)
    if isinstance(record, type) and issubclass(record, Record):
        return lambda data: data if data is None else restore(record, data)
    return None


def _list_reader(inner: Reader | None) -> Reader:
    return tuple if inner is None else lambda values: tuple([inner(value) for value in values])


def _table_reader(inner: Reader) -> Reader:
    return lambda rows: {key: inner(value) for key, value in rows.items()}


def _stored(values: list[Any]) -> StoredTensor:
    return StoredTensor._make(tuple(value) if isinstance(value, list) else value for value in values)
