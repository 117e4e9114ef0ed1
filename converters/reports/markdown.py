"""Text from files and their names, made part of Markdown as text: it cannot become markup, HTML or a link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*[]|~$"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}
_PLACES = (
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), "&#95;"),  # within a word it is not an emphasis
    (re.compile(r"@"), "&#64;"),
    (re.compile(r":(?=/)"), "&#58;"),
    (re.compile(r"(?i)(?<=www)\."), "&#46;"),
)
_BLOCK = re.compile(r"(\d*)([ \-+#=]|(?<=\d)[.)](?=\s|$))")
"""At the start of a line: a block of code, a list, a rule or a heading."""

_PLAIN = re.compile(r"[\w.,+=%/:;@()#-]+(?: [\w.,+=%/:;@()#-]+)*")
_SPAN = re.compile(r"(?<!`)`([^`]*)`(?!`)")


def text(words: str) -> str:
    """Text within a line. What Markdown, its tables and HTML would read as theirs becomes character references, which
    these never read as markup."""
    escaped = printable(words).translate(_MARKUP)
    for pattern, reference in _PLACES:
        escaped = pattern.sub(reference, escaped)
    return escaped


def code(words: str) -> str:
    """A name as code; as `text` where it has a character that code in a table cell could not have."""
    words = printable(words)
    return f"`{words}`" if _PLAIN.fullmatch(words) else text(words)


def prose(line: str) -> str:
    """A line of our own words with texts of files in it: `code` between backticks, `text` elsewhere."""
    parts = (code(part) if number % 2 else text(part) for number, part in enumerate(_SPAN.split(line)))
    return paragraph("".join(parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown."""
    lines = [heads, ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraph(line: str) -> str:
    """A line of Markdown that is a paragraph, whatever it begins with."""
    if start := _BLOCK.match(line):
        return f"{start[1]}&#{ord(start[2])};{line[start.end() :]}"
    return line
