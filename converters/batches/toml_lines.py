"""Where a key stands in a TOML document, for messages: the standard library's parser does not tell."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Key = tuple[str | int, ...]

_HEADER = re.compile(r"\s*\[\[\s*convert\s*\]\]")
_BLANK = re.compile(r"\s*(#.*)?")


def line_of(text: str, key: Key) -> int:
    """The line of a key, such as ``("convert", 2, "to")`` for that of the third row.

    Parses ever longer beginnings of the document until the key is in it, so that only the parser has to understand
    quotes and brackets.
    """
    lines = text.splitlines(keepends=True)
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    # A header may be part of a string, so the row's own header is this one or a later one.
    row = key[1] if len(key) > 1 and key[0] == "convert" else None
    before = headers[row] if isinstance(row, int) and row < len(headers) else 0
    for end in range(before + 1, len(lines) + 1):
        document = _parsed(lines[:end])
        if document is not None:
            if _has(document, key):
                break
            before = end
    while before < len(lines) - 1 and _BLANK.fullmatch(lines[before].rstrip("\r\n")):
        before += 1
    return before + 1


def row_lines(text: str, count: int) -> list[int]:
    """The lines on which ``count`` rows ``[[convert]]`` begin."""
    headers = [number for number, line in enumerate(text.splitlines(), 1) if _HEADER.match(line)]
    if len(headers) == count:
        return headers
    return [line_of(text, ("convert", number)) for number in range(count)]


def spelled(key: Key) -> str:
    """A key as messages show it: ``convert[2].to``."""
    text = str(key[0])
    for part in key[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _parsed(lines: list[str]) -> Any:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _has(value: Any, key: Key) -> bool:
    for part in key:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
