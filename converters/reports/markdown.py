"""Text from files and their names, made part of Markdown as text: it cannot become markup, HTML or a link."""

from __future__ import annotations

import re

from converters.printable import printable

_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*[]|~$"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}
_PLACES = (
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), "&#95;"),  # within a word it is no emphasis
    (re.compile(r"@"), "&#64;"),
    (re.compile(r":(?=/)"), "&#58;"),
    (re.compile(r"(?i)(?<=www)\."), "&#46;"),
    (re.compile(r"^ "), "&#32;"),  # at the start of a line: a block of code, a list, a rule or a heading
    (re.compile(r"^-"), "&#45;"),
    (re.compile(r"^\+"), "&#43;"),
    (re.compile(r"^#"), "&#35;"),
    (re.compile(r"^="), "&#61;"),
    (re.compile(r"^(\d+)\."), r"\1&#46;"),
    (re.compile(r"^(\d+)\)"), r"\1&#41;"),
)
_PLAIN = re.compile(r"[\w.,+=%/:;@()#-]+(?: [\w.,+=%/:;@()#-]+)*")
_SPAN = re.compile(r"(?<!`)`([^`]*)`(?!`)")


def text(words: str) -> str:
    """One line of text. What Markdown, its tables and HTML would read as theirs becomes character references, which
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
    return "".join(code(part) if number % 2 else text(part) for number, part in enumerate(_SPAN.split(line)))
