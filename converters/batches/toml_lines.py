"""Where a key stands in a TOML document, for messages: the standard library's parser does not tell."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    Key = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
    "{3} (?: \\. | [^\\] )*? "{3,5} | '{3} .*? '{3,5}
    | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* '
    | \#[^\n]* | [\[\]{}] | \n | [^\S\n]+ | [^\s"'\#\[\]{}]+
    """,
    re.DOTALL | re.VERBOSE,
)
"""Texts of four kinds, comments, brackets, ends of lines, spaces, and whatever else is in a document that is right."""


class _Statement(NamedTuple):
    """A header or a key with its value: the line on which it begins, and its place in the text."""

    line: int
    start: int


def line_of(text: str, key: Key) -> int:
    """The line of a key in a document that is right, such as ``("convert", 2, "to")`` for that of the third row.

    The key is in the last statement of the shortest beginning, of whole statements, that has it.
    """
    statements = list(_statements(text))
    ends = [*(one.start for one in statements[1:]), len(text)]
    place = bisect_left(ends, True, key=lambda end: _has(tomllib.loads(text[:end]), key))
    return statements[min(place, len(statements) - 1)].line


def row_lines(text: str, count: int) -> list[int]:
    """The lines on which ``count`` rows ``[[convert]]`` begin; that of the array, where they are in one."""
    headers = [one.line for one in _statements(text) if _is_header(text, one)]
    return headers if len(headers) == count else [line_of(text, ("convert",))] * count


def _is_header(text: str, statement: _Statement) -> bool:
    if not text.startswith("[[", statement.start):
        return False
    end = text.find("\n", statement.start)
    return tomllib.loads(text[statement.start : end if end > 0 else len(text)]) == {"convert": [{}]}


def _statements(text: str) -> Iterator[_Statement]:
    line, depth, at_start = 1, 0, True
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == "\n":
            line += 1
            at_start = depth == 0
        elif not word.isspace() and not word.startswith("#"):
            if at_start:
                yield _Statement(line, token.start())
            at_start = False
            depth += (word in "[{") - (word in "]}")
            line += word.count("\n")


def spelled(key: Key) -> str:
    """A key as messages show it: ``convert[2].to``."""
    text = str(key[0])
    for part in key[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _has(value: Any, key: Key) -> bool:
    for part in key:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
