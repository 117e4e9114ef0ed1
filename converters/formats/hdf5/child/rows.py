"""A value that is not converted as a row for JSON: the fields of `OtherValue`, and its path."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def row(
    kind: str,
    *,
    shape: tuple[int, ...] | None = None,
    value: str | None = None,
    opaque: bool = False,
    hint: str = "",
    **more: Any,
) -> Row:
    """A value. ``more`` has its ``path``, and where its contents are: ``bytes`` in hexadecimal digits, rows of its
    ``parts``, or whether they are to be asked for, as ``raw`` bytes or as what it ``refers`` to."""
    return {"kind": kind, "shape": shape, "value": value, "opaque": opaque, "hint": hint, **more}
