"""Keys of dictionaries in a pickle: names, and everything else that Python allows.

Names and small numbers are kept as they are. All others are a `Key`, whose hash the file cannot choose: hashes of
equal numbers can be made to collide, and nested tuples can take any time to hash. Objects are keys by their identity.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from zlib import crc32

from converters.printable import short_name

from .strings import PickleError, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PARTS = 32
"""Values in a tuple that is a key, those in inner tuples counted."""

_TEXT = 160
"""Characters of a key's text; a longer one is cut, and has a checksum of the whole behind it."""


class Key:
    """A key that is neither a name nor a small number: None, a float, a large number, a long text, or a tuple."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self._hash = hash(tuple(map(_random_hash, _parts(value))))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(other) is Key and (self.value is other.value or self.value == other.value)


def as_key(value: object) -> object:
    """What stands for a value, which is neither a name nor a small number, as a key. Raises `PickleError` for one that
    cannot be a key."""
    if isinstance(value, (list, dict)):
        raise PickleError("has a dictionary key that is a list or a dictionary")
    if value is None or isinstance(value, (int, float, tuple, Span)):
        return Key(value)
    return value


def key_text(key: object, long: Callable[[Span], str] | None = None) -> str:
    """A key for people, of bounded length; different keys have different texts. ``long`` gives the text of one that
    stayed in the file; otherwise its place stands for it."""
    if type(key) is str:
        return key
    text = "".join(_pieces(key, long or _place, _Budget()))
    if len(text) <= _TEXT:
        return text
    return f"{text[:_TEXT]}... (CRC-32 {crc32(text.encode('utf-8', 'backslashreplace')):08x})"


def no_name(key: object, kind: str) -> str:
    """In words, why a key is not the name of an entry: it is too long, or no string. ``kind`` is what has the name."""
    span = key.value if isinstance(key, Key) else key
    if isinstance(span, Span):
        return f"has a name of {span.length:,} bytes, and at most 255 can be read"
    return f"has {kind} not a string: {short_name(key if isinstance(key, bytes) else key_text(key))}"


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
    """A hash that a file cannot choose: those of texts are random in each process, those of numbers are not. NaN is
    equal to itself alone, so its hash is its own, too."""
    if isinstance(part, tuple):
        return len(part)
    if part != part:
        return id(part)
    return hash(repr(part) if isinstance(part, (int, float)) else part)


def _place(span: Span) -> str:
    return f"text of {span.length:,} bytes at {span.offset:,}"


class _Budget:
    """How many values may still be written: an object that is a key may hold anything."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 2 * _PARTS


def _pieces(value: object, long: Callable[[Span], str], budget: _Budget) -> Iterator[str]:
    budget.left -= 1
    if budget.left < 0:
        yield "..."
    elif isinstance(value, Key):
        yield from _pieces(value.value, long, budget)
    elif isinstance(value, (tuple, list)):
        yield getattr(value, "name", "")
        yield from _sequence(value, long, budget)
    elif isinstance(value, dict):
        yield "dict"
        yield from _sequence([part for item in islice(value.items(), _PARTS) for part in item], long, budget)
    elif isinstance(value, Span):
        yield long(value)
    elif (name := getattr(value, "name", None)) and isinstance(value, (str, bytes, int, float)):
        yield f"{name}({_plain_text(value)})"
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "backslashreplace")
    elif value is None or isinstance(value, (str, int, float)):
        yield str(value)
    else:
        yield str(getattr(value, "name", type(value).__name__))
        made_from = getattr(value, "made_from", None)
        if callable(made_from) and (parts := made_from()):
            yield from _sequence(parts, long, budget)


def _plain_text(value: str | bytes | float) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str.__str__(value) if isinstance(value, str) else value.__repr__()


def _sequence(values: Sequence[object], long: Callable[[Span], str], budget: _Budget) -> Iterator[str]:
    yield "("
    for index, part in enumerate(values):
        if budget.left < 0:
            break
        yield ", " if index else ""
        if type(part) is str or type(part) is bytes:  # to tell them from numbers and from each other
            budget.left -= 1
            yield repr(part)
        else:
            yield from _pieces(part, long, budget)
    yield ",)" if len(values) == 1 else ")"
