"""Text from files and paths, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text with everything but printable characters escaped: no control sequence, no second line, no surrogate."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
