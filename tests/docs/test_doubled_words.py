"""No word stands twice in a row: in no page, in no message and docstring, in no table."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

DOUBLED = re.compile(r"\b([A-Za-z]+)\s+\1\b", re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
RIGHT = {"is is", "tag TAG"}
"""Doubled words that are none: "which it is is known", and a field with its tag."""


def doubled(text: str) -> list[str]:
    return [
        found for found in map(re.Match.group, DOUBLED.finditer(CODE.sub("#", text))) if found not in RIGHT
    ]


def strings(source: str) -> Iterator[str]:
    """The texts in a module, those in pieces whole."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "#" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_word_is_doubled() -> None:
    found = []
    for page in (
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("scripts/*.md"),
    ):
        found += [(page.name, words) for words in doubled(page.read_text())]
    for table in REPOSITORY.glob("mappings/**/*"):
        if table.suffix in (".toml", ".md"):
            found += [(table.name, words) for words in doubled(table.read_text())]
    for module in REPOSITORY.glob("converters/**/*.py"):
        for text in strings(module.read_text()):
            found += [(module.name, words) for words in doubled(text)]
    assert not found


def test_doubled_words_are_seen() -> None:
    assert doubled("Of the\nthe `a a` file file.") == ["the\nthe", "file file"]
    (whole,) = [text for text in strings('f"the {x} of" " of it"') if "#" in text]
    assert doubled(whole) == ["of of"]
