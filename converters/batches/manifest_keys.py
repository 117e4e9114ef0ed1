"""The keys of a manifest's row, and what their values may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.options import NetworkOptions, ReadOptions, WriteOptions, options_of
from converters.conversion.output_names import fill
from converters.errors import ConverterError, Told, UsageError
from converters.hashes import FORMS, parse_hash
from converters.mapping.settings import check_settings
from converters.mapping.table_files import layout_names
from converters.option_names import in_manifest
from converters.spelling import did_you_mean, did_you_mean_or_list
from converters.tensor import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Any], str | Told]

PLACEHOLDERS = ("stem", "folder", "to", "source")
"""Placeholders of an output's name: the input's name without suffix, the name of its folder, the two layouts."""


def as_keys(text: str) -> str:
    """A message with its options as keys of a row."""
    return in_manifest(text, KEYS)


def _told(error: ConverterError) -> Told:
    return Told(*map(as_keys, error.told))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        return "must be a string that is not empty"
    return ""


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _sha256(value: Any) -> str:
    if fault := _flag(value):
        return f"{fault}: whether to record it; one that the input must have is given by 'hash'"
    return ""


def _layout(value: Any) -> str | Told:
    if fault := _text(value):
        return fault
    if value not in layout_names():
        return Told(f"there is no layout {value!r}", did_you_mean_or_list(value, layout_names()))
    return ""


def _source(value: Any) -> str | Told:
    return "" if value == "auto" else _layout(value)


def _layouts(value: Any) -> str | Told:
    if isinstance(value, str):
        return _layout(value)
    if not isinstance(value, list) or not value:
        return "must be a layout or a list of layouts"
    if len(set(map(str, value))) != len(value):
        return "names a layout twice"
    return next((fault for name in value if (fault := _layout(name))), "")


def _hash(value: Any) -> str:
    texts = value if isinstance(value, list) and value else [value]
    try:
        for text in texts:
            parse_hash(text if isinstance(text, str) else "")
    except ValueError:
        return f"must be {FORMS}, or a list of one for each file of the input"
    return ""


def _pattern(value: Any) -> str | Told:
    if fault := _text(value):
        return fault
    try:
        fill(value, dict.fromkeys(PLACEHOLDERS, ""))
    except UsageError as error:
        return _told(error)
    return ""


def _dtype(value: Any) -> str | Told:
    if value in FLOATS:
        return ""
    return Told(f"must be one of {', '.join(FLOATS)}", did_you_mean(str(value), FLOATS))


def _settings(value: Any) -> str | Told:
    if not isinstance(value, dict):
        return "must be a table of settings, such as { pool1 = true }"
    try:
        check_settings(value)
    except UsageError as error:
        return _told(error)
    return ""


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list) or any(_text(item) for item in value):
        return "must be a string or a list of strings that are not empty"
    return ""


_OF_TYPE: dict[type, Check] = {bool: _flag, str: _text, tuple: _texts}
_OF_NAME: dict[str, Check] = {"dtype": _dtype, "settings": _settings, "sha256": _sha256}


def _licence(value: Any) -> str:
    return _text(value) or ("" if value.isprintable() else "has a character that a card cannot hold")


_EXCLUDED = ("mean", "force", "dry_run")
"""Options of a conversion that a row does not have: the batch decides."""

OPTIONS: dict[str, Check] = {
    option.name: _OF_NAME.get(option.name) or _OF_TYPE[option.type]
    for options in (ReadOptions, NetworkOptions, WriteOptions)
    for option in options_of(options)
    if option.name not in _EXCLUDED
} | {"verify": _flag, "publish": _text, "license": _licence}
"""The options of a conversion. A check returns what is wrong with a value, also with a hint, or nothing."""

PATHS = ("labels", "publish")
"""Those that are paths, relative to the manifest."""

KEYS: dict[str, Check] = {
    "source": _source,
    "input": _text,
    "hash": _hash,
    "to": _layouts,
    "output": _pattern,
    **OPTIONS,
}
"""All keys."""
