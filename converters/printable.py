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


def short_name(name: object) -> str:
    """A name from a file, for a message: ASCII, and at most 80 characters. Bytes are read as UTF-8."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    text = "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text[:81])
    return text if len(text) <= 80 else text[:77] + "..."


def shape_text(shape: Iterable[int]) -> str:
    """Sizes of axes: ``64x3x7x7``."""
    return "x".join(map(str, shape)) or "scalar"
