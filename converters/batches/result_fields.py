"""What a recorded result must have. A file of results is input like any other: its checksums may be right and its
fields wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _fields(needed: Mapping[str, Check], allowed: Mapping[str, Check] | None = None) -> Check:
    """A table with all of ``needed``, and of ``allowed`` what it likes."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and check(value[name]) for name, check in needed.items())
            and all(check(value[name]) for name, check in (allowed or {}).items() if name in value)
        )

    return fits


def _files(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == 3 and _text(row[0]) and _count(row[1]) and _text(row[2])
        for row in value
    )


def _worst(value: Any) -> bool:
    return value is None or isinstance(value, float)


_COMMON: dict[str, Check] = {"task": _text, "spec": _text, "tool": _text, "seconds": _number}
_FAILED = _fields(
    {**_COMMON, "error": _fields({"text": _text, "faults": _texts}, {"exit_code": _count, "restart": _flag})}
)
_DONE = _fields(
    {
        **_COMMON,
        "input": _fields({"sha256": _text, "size": _count}),
        "output": _fields({"files": _files}),
        "mapping": _fields({"source": _text, "target": _text, "network": _text, "sha256": _text}),
        "bytes": _count,
        "notes": _texts,
        "text": _text,
    },
    {
        "network": _text,
        "classes": _count,
        "checked": _flag,
        "release": lambda value: isinstance(value, dict),
        "verification": _fields({"text": _text, "blocks": _count, "worst": _worst}),
        "published": _fields({"file": _text, "size": _count, "sha256": _text}),
    },
)
_OF_STATE = {"failed": _FAILED, "converted": _DONE, "adopted": _DONE}
"""The states that are recorded: a row that was kept has its earlier result."""


def is_result(row: Any) -> bool:
    """Whether a row has the fields of a recorded result, each of its kind."""
    state = row.get("state") if isinstance(row, dict) else None
    return isinstance(state, str) and state in _OF_STATE and _OF_STATE[state](row)
