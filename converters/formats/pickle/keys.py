"""Keys of dictionaries in a pickle: names, and everything else that Python allows.

Names and small numbers are kept as they are. All others are a `Key`, whose hash the file cannot choose: hashes of
equal numbers can be made to collide, and nested tuples can take any time to hash. Objects are keys by their identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .strings import PickleError, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS = 32
"""Values in a tuple that is a key, those in inner tuples counted."""

_TEXT = 80
"""Characters of a key's text at most."""


class Key:
    """A key that is neither a name nor a small number: None, a float, a large number, a long text, or a tuple."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self._hash = hash(tuple(map(_random_hash, _parts(value))))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(other) is Key and self.value == other.value

    def __repr__(self) -> str:
        text = _text(self.value)
        return text if len(text) <= _TEXT else text[: _TEXT - 3] + "..."


def as_key(value: object) -> object:
    """What stands for a value, which is neither a name nor a small number, as a key. Raises `PickleError` for one that
    cannot be a key."""
    if isinstance(value, (list, dict)):
        raise PickleError("has a dictionary key that is a list or a dictionary")
    if value is None or isinstance(value, (int, float, tuple, Span)):
        return Key(value)
    return value


def key_text(key: object) -> str:
    """A key for people, of bounded length. Names of the stream are short."""
    return key if isinstance(key, str) else _text(key) if type(key) is not Key else repr(key)


def _parts(value: object) -> list[object]:
    """A value and, if it is a tuple, all that is in it. Raises `PickleError`."""
    parts = [value]
    for part in parts:  # grows
        if isinstance(part, tuple):
            parts += part[: _PARTS + 1]
        if isinstance(part, (list, dict)) or len(parts) > _PARTS:
            raise PickleError("has a dictionary key that holds a list, a dictionary or too many values")
    return parts


def _random_hash(part: object) -> int:
    """A hash that a file cannot choose: those of texts are random in each process, those of numbers are not."""
    if isinstance(part, tuple):
        return len(part)
    return hash(repr(part) if isinstance(part, (int, float)) else part)


def _text(value: object) -> str:
    return "".join(_pieces(value))


def _pieces(value: object) -> Iterator[str]:
    """Tuples are at most `_PARTS` deep: `_parts` has seen them."""
    if isinstance(value, tuple):
        yield "("
        for index, part in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(part)
        yield ",)" if len(value) == 1 else ")"
    elif isinstance(value, Span):
        yield f"text of {value.length:,} bytes at {value.offset:,}"
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "backslashreplace")
    elif value is None or isinstance(value, (str, int, float)):
        yield str(value)
    else:
        yield str(getattr(value, "name", type(value).__name__))
