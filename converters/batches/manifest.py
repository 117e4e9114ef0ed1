"""Read and check a manifest: which files are converted into what. Every error names the line and the key."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.output_format import formats_of, output_format
from converters.conversion.output_names import fill, placeholders
from converters.errors import BadInput, Told, UsageError
from converters.files import SourceFile
from converters.locations import is_remote
from converters.mapping.layout_tables import load_layout
from converters.record import Record
from converters.spelling import did_you_mean, did_you_mean_or_list

from .manifest_keys import KEYS, OPTIONS, as_keys
from .storage import PROTOCOLS, protocol
from .toml_lines import line_of, row_lines, spelled

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 16 << 20
"""The largest manifest, in bytes."""


class ManifestRow(Record):
    """One ``[[convert]]``, which begins on ``line``. ``hash`` has one hash of the whole input, or one for each of its
    files, or none. ``to`` has the layouts, an empty name where the input's own default is meant. ``options`` has the
    keys of `manifest_keys.OPTIONS`."""

    line: int
    source: str
    input: str
    hash: tuple[str, ...]
    to: tuple[str, ...]
    output: str
    options: Mapping[str, Any]


class Manifest(NamedTuple):
    """The rows of a manifest. Paths in them are relative to ``folder``."""

    path: str
    folder: str
    rows: tuple[ManifestRow, ...]


class _KeyFault(Exception):
    """What is wrong at one key."""

    def __init__(self, what: str, *key: str | int, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.key = key
        self.hint = hint


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a manifest.

    Raises `BadInput` if it cannot be read or is not TOML, `UsageError` if a row is wrong.
    """
    path = os.fspath(path)
    text = _read(path)
    document = _parse(path, text)
    try:
        rows = _rows(text, document)
    except _KeyFault as fault:
        where = f"line {line_of(text, fault.key)}, {spelled(fault.key)}" if fault.key else ""
        raise UsageError(fault.what, path=path, where=where, hint=fault.hint) from None
    return Manifest(path, os.path.dirname(os.path.abspath(path)), tuple(rows))


def _read(path: str) -> str:
    with SourceFile(path) as file:
        if file.size > LIMIT:
            raise BadInput("is too long for a manifest", path=path)
        data = file.read_at(0, file.size)
    try:
        return data.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise BadInput("is not UTF-8", path=path, where=f"byte {error.start}") from None


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        where = where.rstrip(")").replace("end of document", f"line {len(text.splitlines())}, the end")
        raise BadInput(f"is not valid TOML: {what}", path=path, where=where) from None
    except RecursionError:
        raise BadInput("is not valid TOML: nested too deeply", path=path) from None


def _rows(text: str, document: Mapping[str, Any]) -> list[ManifestRow]:
    for key in document:
        if key not in ("convert", "defaults"):
            near = did_you_mean(key, ("convert", "defaults"))
            raise _KeyFault(
                f"unknown key {key!r}", key, hint=near or "a manifest has [defaults] and [[convert]]"
            )
    defaults = document.get("defaults", {})
    if not isinstance(defaults, dict):
        raise _KeyFault("must be a table", "defaults")
    _check_keys(defaults, "defaults", without=("input", "hash"))
    listed = document.get("convert", [])
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise _KeyFault("must be an array of tables: [[convert]]", "convert")
    if not listed:
        raise _KeyFault("has no [[convert]] row, so there is nothing to do")
    lines = row_lines(text, len(listed))
    return [_row(row, defaults, number, lines[number]) for number, row in enumerate(listed)]


def _check_keys(row: Mapping[str, Any], *key: str | int, without: tuple[str, ...] = ()) -> None:
    """Raise `_KeyFault` for an unknown key or a wrong value."""
    for name, value in row.items():
        if name not in KEYS or name in without:
            raise _unknown_key(name, [known for known in KEYS if known not in without], key)
        if fault := KEYS[name](value):
            what, hint = fault if isinstance(fault, Told) else (fault, "")
            raise _KeyFault(what, *key, name, hint=hint)


def _unknown_key(name: str, known: list[str], key: tuple[str | int, ...]) -> _KeyFault:
    return _KeyFault(f"unknown key {name!r}", *key, name, hint=did_you_mean_or_list(name, known))


class _RowKeys(NamedTuple):
    """A row with the defaults filled in, and where each of its keys stands."""

    values: Mapping[str, Any]
    own: Mapping[str, Any]
    number: int

    def at(self, key: str) -> tuple[str | int, ...]:
        """The full key of a value."""
        return ("convert", self.number, key) if key in self.own else ("defaults", key)


def _row(own: Mapping[str, Any], defaults: Mapping[str, Any], number: int, line: int) -> ManifestRow:
    _check_keys(own, "convert", number)
    row = _RowKeys({**defaults, **own}, own, number)
    values = row.values
    for key in ("input", "output"):
        if key not in values:
            raise _KeyFault(f"has no {key!r}", "convert", number)
    to = values.get("to", "")
    layouts = (to,) if isinstance(to, str) else tuple(to)
    named = "to" in placeholders(values["output"])
    if len(layouts) > 1 and not named:
        raise _KeyFault("needs {to}, as there are several layouts", *row.at("output"))
    if named and not to:
        raise _KeyFault("has {to}, and the row has no 'to'", *row.at("output"), hint='add to = "a layout"')
    for layout in layouts:
        _check_format(row, layout)
    _check_protocols(row)
    if "license" in values and "publish" not in values:
        raise _KeyFault(
            "is for the card of a published file", *row.at("license"), hint="name a folder: publish = ..."
        )
    return ManifestRow(
        line=line,
        source=values.get("source", "auto"),
        input=values["input"],
        hash=_hashes(values.get("hash", [])),
        to=layouts,
        output=values["output"],
        options={key: value for key, value in values.items() if key in OPTIONS},
    )


def _hashes(value: str | list[str]) -> tuple[str, ...]:
    return tuple(text.lower() for text in ([value] if isinstance(value, str) else value))


def _check_format(row: _RowKeys, layout: str) -> None:
    """Raise `_KeyFault` if the output cannot be written in a layout; without one, if no layout can be written so."""
    output = row.values["output"]
    sample = {"stem": "stem", "folder": "folder", "source": row.values.get("source", "auto"), "to": layout}
    path = fill(output, sample)
    try:
        kinds = [output_format(path, load_layout(layout))] if layout else formats_of(path)
    except UsageError as error:
        raise _KeyFault(as_keys(error.told.what), *row.at("output"), hint=as_keys(error.told.hint)) from None
    if kinds == ["tensorflow"] and is_remote(output):
        raise _KeyFault(
            "a TensorFlow checkpoint consists of several files and must be written to a folder",
            *row.at("output"),
        )
    if row.values.get("wrap") and "pth" not in kinds:
        raise _KeyFault("only a .pth can be wrapped", *row.at("wrap"))
    if "publish" in row.values:
        _check_publishable(row)


def _check_publishable(row: _RowKeys) -> None:
    """Raise `_KeyFault` if an output cannot be published to where it should be."""
    from converters.publication.publish import WEIGHTS

    if is_remote(row.values["publish"]):
        raise _KeyFault("must be a folder", *row.at("publish"))
    if is_remote(row.values["output"]) or not row.values["output"].lower().endswith(WEIGHTS):
        raise _KeyFault("only a .pth, .pt or .safetensors in a folder can be published", *row.at("publish"))


def _check_protocols(row: _RowKeys) -> None:
    """Raise `_KeyFault` if the input cannot be fetched or the output cannot be stored where it should be."""
    for key in ("input", "output"):
        location = row.values[key]
        if is_remote(location) and protocol(location) not in PROTOCOLS:
            raise _KeyFault(
                f"{protocol(location)}:// is not supported",
                *row.at(key),
                hint=f"supported are {', '.join(PROTOCOLS)}",
            )
    if is_remote(row.values["output"]) and protocol(row.values["output"]) != "s3":
        raise _KeyFault("an output can be written to a folder or s3:// only", *row.at("output"))
    if protocol(row.values["input"]) == "http" and "hash" not in row.values:
        raise _KeyFault("http:// needs a hash, as the transfer is not protected", *row.at("input"))
