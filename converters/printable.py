"""Text from files and paths made safe to print, and how shapes are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    """Text with everything but printable characters escaped: no control sequence, no second line, no surrogate."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def with_article(noun: str) -> str:
    """A noun after its "a" or "an"; a few names of formats are spoken letter by letter."""
    return f"{'an' if noun.startswith((*'AEIOaeio', 'HDF', 'MX')) else 'a'} {noun}"


def possessive(name: str) -> str:
    """A name in the possessive; one that ends in s, such as a plural, takes the apostrophe alone."""
    return f"{name}'" if name.endswith("s") else f"{name}'s"


_BITS = 1 << 12  # of a number that is written out; Python refuses much longer ones
_LONGEST = 80
"""Characters of a short name."""


def short_name(name: object) -> str:
    """A name from a file, for a message: ASCII, and at most 80 characters. Bytes are taken for UTF-8.

    What is neither a text nor a number is told by its type alone: a list may hold itself, and a few nested tuples
    that share their parts would take hours to print.
    """
    text = _start(name, _LONGEST + 1)
    text = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _start(value: object, length: int) -> str:
    """The first ``length`` characters of a text or a number; the type of anything else."""
    if isinstance(value, bytes):
        return value[: 4 * length].decode("utf-8", "backslashreplace")[:length]
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"a number of {value.bit_length():,} bits"
    return str(value) if value is None or isinstance(value, (int, float)) else f"a {type(value).__name__}"


def shape_text(shape: Iterable[int]) -> str:
    """Sizes of axes: ``64x3x7x7``."""
    return "x".join(map(str, shape)) or "scalar"
