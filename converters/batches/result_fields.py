"""What a recorded result must have. A file of results is input like any other: its checksums may be right and its
fields wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.fields import fields, integer, is_flag, is_number, list_of

if TYPE_CHECKING:
    from converters.fields import Check


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1e18


_count = integer(0, (1 << 63) - 1)
_texts = list_of(_text)


def _file(value: Any) -> bool:
    """A file's name, size and CRC-32."""
    is_row = isinstance(value, list) and len(value) == 3
    return is_row and _text(value[0]) and _count(value[1]) and _text(value[2])


def _worst(value: Any) -> bool:
    return value is None or isinstance(value, float)


_COMMON: dict[str, Check] = {"task": _text, "spec": _text, "tool": _text, "seconds": _number}
_FAILED = fields(
    {**_COMMON, "error": fields({"text": _text, "faults": _texts}, {"exit_code": _count, "restart": is_flag})}
)
_DONE = fields(
    {
        **_COMMON,
        "input": fields({"crc32": _text, "size": _count, "version": _text}, {"sha256": _text}),
        "output": fields({"files": list_of(_file), "version": _text}),
        "mapping": fields({"source": _text, "target": _text, "network": _text, "sha256": _text}),
        "bytes": _count,
        "notes": _texts,
        "text": _text,
    },
    {
        "network": _text,
        "classes": _count,
        "checked": is_flag,
        "release": lambda value: isinstance(value, dict),
        "verification": fields({"text": _text, "blocks": _count, "worst": _worst}),
        "published": fields({"file": _text, "size": _count, "sha256": _text}),
    },
)
_OF_STATE = {"failed": _FAILED, "converted": _DONE, "adopted": _DONE}
"""The states that are recorded: a row that was kept has its earlier result."""


def is_result(row: Any) -> bool:
    """Whether a row has the fields of a recorded result, each of its kind."""
    state = row.get("state") if isinstance(row, dict) else None
    return isinstance(state, str) and state in _OF_STATE and _OF_STATE[state](row)
