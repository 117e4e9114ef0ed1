"""Parses the provenance record that this tool writes into files. It is untrusted: every field is validated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.tensor import ITEMSIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[Any], bool]


LONGEST_STRIDE = 64
"""The largest stride in time that a stem can have: as many frames as the longest clips."""

VERSION = 1
"""The version of the record's form."""


def parse_provenance(text: str | None, path: str) -> Mapping[str, Any] | None:
    """The record as data; None for a file without one.

    Raises `BadInput` if it is damaged: not JSON, or a field with a wrong type or out of range.
    """
    if text is None:
        return None
    try:
        record: Mapping[str, Any] = json.loads(text)
        is_valid = _RECORD(record)
    except (ValueError, RecursionError):
        is_valid = False
    if not is_valid:
        raise BadInput("its provenance record is damaged", path=path, hint="convert the source again")
    return record


def _text(value: Any) -> bool:
    """Text that can be encoded as UTF-8: JSON can hold lone surrogates, names cannot."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def _integer(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _list(item: Check) -> Check:
    return lambda value: isinstance(value, list) and all(item(element) for element in value)


def _map(item: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(item(element) for element in value.values())


def _fields(needed: Mapping[str, Check], allowed: Mapping[str, Check] | None = None) -> Check:
    """A dict with all fields in ``needed``; those in ``allowed`` are checked if present, others are ignored."""

    def has_fields(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and check(value[name]) for name, check in needed.items())
            and all(check(value[name]) for name, check in (allowed or {}).items() if name in value)
        )

    return has_fields


def _float(value: Any) -> bool:
    return _text(value) and value in ITEMSIZE and "float" in value


_SIZES = _list(_integer(1, 100_000))
_INPUT = _fields(
    {},
    {
        "clip": _SIZES,
        "counted_at": _SIZES,
        "counted_positions": _integer(1, 100_000),
        "frame_step": _integer(1, 1000),
        "resize": _text,
        "order": _text,
        "range": lambda value: _list(_number)(value) and len(value) == 2,
        "mean": _list(_number),
        "std": _list(_number),
        "labels": _list(_text),
        "labels_notice": _text,
        "labels_file": _text,
        "rate": _number,
        "interpolation": _text,
        "mean_cube": _text,
        "mean_file": _fields({"name": _text, "shape": _SIZES, "means": _list(_number), "crc32": _text}),
    },
)
_CLIP = ("clip", "counted_at", "counted_positions", "frame_step", "resize")
_STATISTICS = ("mean", "std")


def _input(value: Any) -> bool:
    """Whether every field is valid, and fields that belong together are there together."""
    if not _INPUT(value):
        return False
    for group in (_CLIP, _STATISTICS):
        if any(name in value for name in group) and not all(name in value for name in group):
            return False
    if "order" not in value and ("mean" in value or "mean_cube" in value):
        return False
    return "clip" not in value or (
        len(value["clip"]) == len(value["counted_at"]) and len(value["clip"]) in (2, 3)
    )


_LAYER = _fields(
    {
        "name": _text,
        "kind": lambda value: _text(value) or _integer(0, 1 << 31)(value),
        "blobs": _integer(0, 64),
    }
)
_SETTINGS = _map(lambda value: _text(value) or _flag(value) or (_number(value) and 0 <= value <= 64))


def _scaled(value: Any) -> bool:
    """A list of the number of rows, whether the tensor was divided by its root, and packed steps."""
    checks = (_integer(1, 1 << 31), _flag, _text)
    return (
        isinstance(value, list)
        and len(value) == len(checks)
        and all(check(item) for check, item in zip(checks, value, strict=True))
    )


_DETAILS = {
    "nested": _flag,
    "dialect": _text,
    "net": _text,
    "layers": _list(_LAYER),
    "paddle": _fields(
        {"protocol": _integer(0, 5), "numpy2": _flag},
        {"parameters": _map(_text)},
    ),
    "stored_names": _list(_text),
    "version": _integer(0, 3),
    "device": lambda value: _list(_integer(-(1 << 31), (1 << 31) - 1))(value) and len(value) == 2,
}
_RECORD = _fields(
    {
        "provenance": lambda value: value == VERSION and _integer(1, VERSION)(value),
        "tool": _fields({"name": _text, "version": _text}),
        "mapping": _fields({"source": _text, "target": _text, "network": _text, "sha256": _text}),
        "layout": _text,
        "source": _fields(
            {
                "name": _text,
                "size": _integer(0, 1 << 62),
                "layout": _text,
                "container": _text,
                "scope": _text,
            },
            {"sha256": _text, "drop": _list(_text), "address": _text},
        ),
        "notes": _list(_text),
        "restore": _fields(
            {},
            {
                "dtypes": _map(_float),
                "moved": _fields({"settings": _SETTINGS, "tensors": _map(_scaled)}),
                "variance": _fields(
                    {"shift": lambda value: _number(value) and abs(value) < 1, "steps": _map(_text)}
                ),
            },
        ),
    },
    # A record of a conversion with a user's own mapping file has none of these.
    {
        "network": _fields(
            {
                "variant": _text,
                "settings": _SETTINGS,
                "model": _text,
                "input": _input,
                "licence": _text,
            },
        ),
        "origin": _fields(
            {
                "layout": _text,
                "scope": _text,
                "details": _fields({}, _DETAILS),
                "names": _map(_text),
                "bn_eps": lambda value: _number(value) and 0 <= value < 1,
                "dtype": _float,
                "dtypes": _map(_float),
                "shapes": _map(_list(_integer(0, 1 << 40))),
                "lossy": _flag,
            },
            {
                "steps": _map(_text),
                "inverse_std": _flag,
                "absent": _flag,
                "head": _text,
                "file_names": _map(_text),
                "lacks": _list(_text),
            },
        ),
    },
)
