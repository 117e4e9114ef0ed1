"""A TOML table as a record, by the record's annotations: what is unknown, missing or of another type is an error that
names file, line and key, and the nearest right word."""

from __future__ import annotations

import re
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from converters.errors import ConverterError
from converters.record import Record
from converters.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

R = TypeVar("R", bound=Record)
Key = tuple["str | int", ...]
"""Where something stands in a table: ``("supports", 2, "variants")``."""


class TableError(ConverterError):
    """A table does not follow the grammar. Names the file, the line and the key."""


class Fault(Exception):
    """What is wrong at a key, before its file and line are known; ``hint`` has the nearest right word."""

    def __init__(self, key: Key, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.key, self.what, self.hint = key, what, hint

    def at(self, path: str, text: str) -> TableError:
        """The error, for a file and its text."""
        where = f"line {line_of(text, self.key)}, {spelled(self.key)}" if self.key else "line 1"
        return TableError(self.what, path=path, where=where, hint=self.hint)


class Check(NamedTuple):
    """Raises an error for a file, naming the key."""

    path: str
    error: type[TableError] = TableError

    def that(self, truth: bool, key: str, what: str) -> None:
        """Raise unless ``truth``."""
        if not truth:
            raise self.error(what, path=self.path, where=key)

    def keys(self, row: Mapping[str, Any], where: str, needed: set[str], allowed: set[str]) -> None:
        """Raise if a table lacks a needed key or has an unknown one."""
        for key in sorted(needed - set(row)):
            raise self.error(f"lacks {key!r}", path=self.path, where=where or "top level")
        for key in row:
            if key not in needed and key not in allowed:
                hint = did_you_mean(key, needed | allowed)
                raise self.error(
                    f"unknown key {key[:60]!r}", path=self.path, where=where or "top level", hint=hint
                )


def parse(record: type[R], raw: object, key: Key = ()) -> R:
    """A record from a TOML table that stands at ``key``. Raises `Fault`."""
    if not isinstance(raw, dict):
        raise Fault(key, "must be a table")
    types = field_types(record)  # type: ignore[arg-type]  # mypy: a class is not Hashable
    words = {name.rstrip("_"): name for name in types}
    for word in raw:
        if word not in words:
            raise Fault((*key, word), f"unknown key {word!r}", did_you_mean(word, words))
    for word, name in words.items():
        if word not in raw and not hasattr(record, name):
            raise Fault(key, f"lacks {word!r}")
    return record(**{words[word]: value_of(types[words[word]], raw[word], (*key, word)) for word in raw})


@cache
def field_types(record: type[Record]) -> dict[str, Any]:
    """The types of a record's fields."""
    from collections.abc import Mapping

    from . import schema

    types = get_type_hints(record, {**vars(schema), "Mapping": Mapping, "ClassVar": ClassVar})
    return {name: types[name] for name in record.fields}


_SCALARS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def value_of(type_: Any, raw: object, key: Key) -> Any:
    """A value as what its annotation says."""
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ is Any:
        return raw
    if origin is UnionType:
        return _one_of(arguments, raw, key)
    if origin is tuple:
        if not isinstance(raw, list):
            raise Fault(key, "must be a list")
        return tuple(value_of(arguments[0], item, (*key, place)) for place, item in enumerate(raw))
    if origin is not None:  # a mapping
        if not isinstance(raw, dict):
            raise Fault(key, "must be a table")
        return {word: value_of(arguments[1], item, (*key, word)) for word, item in raw.items()}
    if issubclass(type_, Record):
        return parse(type_, raw, key)
    fits = isinstance(raw, (int, float) if type_ is float else type_)
    if not fits or (isinstance(raw, bool) and type_ is not bool):
        raise Fault(key, f"must be {_SCALARS[type_]}, not {raw!r}")
    return raw


def _one_of(types: tuple[Any, ...], raw: object, key: Key) -> Any:
    """A value as the first of several types that it may be."""
    kinds = [type_ for type_ in types if type_ is not type(None)]
    for type_ in kinds[:-1]:
        try:
            return value_of(type_, raw, key)
        except Fault:
            continue
    return value_of(kinds[-1], raw, key)


def spelled(key: Key) -> str:
    """A key as a person writes it: ``supports[2].variants``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]*?)\s*\]")
_LINE = re.compile(r"\s*((?:\"[^\"]*\"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:\"[^\"]*\"|'[^']*'|[\w-]+))*)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)")


def line_of(text: str, key: Key) -> int:
    """The line of a TOML document at which a key stands, or the innermost table around it. Values are on one line."""
    best, line = 0, 1
    for number, other_key in _keys(text):
        same = next(
            (place for place, (a, b) in enumerate(zip(other_key, key, strict=False)) if a != b),
            min(len(other_key), len(key)),
        )
        if same == len(other_key) and same > best:
            best, line = same, number
    return line


def _keys(text: str) -> Iterator[tuple[int, Key]]:
    """Every header and key of a document with its line."""
    rows: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                rows[table] = rows.get(table, -1) + 1
                table = (*table, rows[table])
            yield number, table
        elif match := _LINE.match(line):
            yield number, (*table, *_parts(match[1]))


def _parts(text: str) -> Key:
    return tuple(next(part for part in match.groups() if part is not None) for match in _PART.finditer(text))
