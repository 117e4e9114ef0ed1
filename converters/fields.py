"""Checks of data that came from outside as JSON: what each takes is a value, and what it says is whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[Any], bool]


def is_flag(value: Any) -> bool:
    """A truth value."""
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def list_of(item: Check) -> Check:
    """A list of what ``item`` takes."""
    return lambda value: isinstance(value, list) and all(item(element) for element in value)


def map_of(item: Check) -> Check:
    """A dictionary whose values ``item`` takes."""
    return lambda value: isinstance(value, dict) and all(item(element) for element in value.values())


def fields(needed: Mapping[str, Check], allowed: Mapping[str, Check] | None = None) -> Check:
    """A dictionary with all fields in ``needed``; those in ``allowed`` are checked if present, others are ignored."""

    def has_fields(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and check(value[name]) for name, check in needed.items())
            and all(check(value[name]) for name, check in (allowed or {}).items() if name in value)
        )

    return has_fields
