"""Parses the provenance record that this tool writes into files. It is untrusted: every field is validated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.fields import fields, integer, is_flag, is_number, list_of, map_of
from converters.tensor import ITEMSIZE

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def _number(value: Any) -> bool:
    return is_number(value) and abs(value) < 1e12


def _float(value: Any) -> bool:
    return _text(value) and value in ITEMSIZE and "float" in value


_SIZES = list_of(integer(1, 100_000))
_INPUT = fields(
    {},
    {
        "clip": _SIZES,
        "counted_at": _SIZES,
        "counted_positions": integer(1, 100_000),
        "frame_step": integer(1, 1000),
        "again_every": integer(1, 1000),
        "resize": _text,
        "order": _text,
        "range": lambda value: list_of(_number)(value) and len(value) == 2,
        "mean": list_of(_number),
        "std": list_of(_number),
        "labels": list_of(_text),
        "labels_notice": _text,
        "labels_file": _text,
        "rate": _number,
        "interpolation": _text,
        "mean_cube": _text,
        "mean_file": fields({"name": _text, "shape": _SIZES, "means": list_of(_number), "crc32": _text}),
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


_LAYER = fields(
    {
        "name": _text,
        "kind": lambda value: _text(value) or integer(0, 1 << 31)(value),
        "blobs": integer(0, 64),
    }
)
_SETTINGS = map_of(lambda value: _text(value) or is_flag(value) or (_number(value) and 0 <= value <= 64))


def _scaled(value: Any) -> bool:
    """A list of the number of rows, whether the tensor was divided by its root, and packed steps."""
    checks = (integer(1, 1 << 31), is_flag, _text)
    return (
        isinstance(value, list)
        and len(value) == len(checks)
        and all(check(item) for check, item in zip(checks, value, strict=True))
    )


def _array_form(value: Any) -> bool:
    """A list of the version of MXNet's array and the type and number of its device."""
    return list_of(_INT32)(value) and len(value) == 3 and integer(0, 3)(value[0])


_INT32 = integer(-(1 << 31), (1 << 31) - 1)
_DETAILS = {
    "nested": is_flag,
    "dialect": _text,
    "net": _text,
    "layers": list_of(_LAYER),
    "stored_names": list_of(_text),
    "version": integer(0, 3),
    "device": lambda value: list_of(_INT32)(value) and len(value) == 2,
    "other_arrays": map_of(_array_form),
    "paddle": fields(
        {"protocol": integer(0, 5), "numpy2": is_flag},
        {"parameters": map_of(_text)},
    ),
}
FORM = tuple(_DETAILS)
"""The details of a file's form that the way back restores. They are recorded in ``origin`` alone."""

_RECORD = fields(
    {
        "provenance": lambda value: value == VERSION and integer(1, VERSION)(value),
        "tool": fields({"name": _text, "version": _text}),
        "mapping": fields({"source": _text, "target": _text, "network": _text, "sha256": _text}),
        "layout": _text,
        "source": fields(
            {
                "name": _text,
                "size": integer(0, 1 << 62),
                "layout": _text,
                "container": _text,
                "scope": _text,
            },
            {"sha256": _text, "drop": list_of(_text), "address": _text},
        ),
        "notes": list_of(_text),
        "restore": fields(
            {},
            {
                "dtypes": map_of(_float),
                "moved": fields({"settings": _SETTINGS, "tensors": map_of(_scaled)}),
                "variance": fields(
                    {"shift": lambda value: _number(value) and abs(value) < 1, "steps": map_of(_text)}
                ),
            },
        ),
    },
    # A record of a conversion with a user's own mapping file has none of these.
    {
        "network": fields(
            {
                "variant": _text,
                "settings": _SETTINGS,
                "model": _text,
                "input": _input,
                "licence": _text,
            },
        ),
        "origin": fields(
            {
                "layout": _text,
                "scope": _text,
                "details": fields({}, _DETAILS),
                "names": map_of(_text),
                "bn_eps": lambda value: _number(value) and 0 <= value < 1,
                "dtype": _float,
                "dtypes": map_of(_float),
                "shapes": map_of(list_of(integer(0, 1 << 40))),
                "lossy": is_flag,
            },
            {
                "steps": map_of(_text),
                "inverse_std": is_flag,
                "absent": is_flag,
                "head": _text,
                "file_names": map_of(_text),
                "lacks": list_of(_text),
            },
        ),
    },
)
