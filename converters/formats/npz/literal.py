"""Python literals in the header of an array: dictionaries, tuples, lists, texts, integers, True, False and None,
with comments.

numpy reads headers with `ast.literal_eval`. It is not used here: a hostile text can exhaust the stack of the parser
after it. Here depth and length are bounded.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

_TOKEN = re.compile(
    r"""(?:[ \t\r\n\f]|\#[^\r\n]*(?=[\r\n]|\Z))*(?:
        (?P<name>True|False|None)\b
        |(?P<number>[+-]?\d[\da-fA-FxXoO_]*)[lL]?\b
        |(?P<prefix>[uU]|[rR]|)(?P<quote>['"])(?P<text>(?:(?!(?P=quote))[^\\\n]|\\.)*)(?P=quote)
        |(?P<mark>[][(){}:,])
        |(?P<end>\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
_NAMES = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_DEPTH = 32
_DIGITS = 40


def literal(text: str) -> Any:
    """The value of a literal, in which integers may have the L of Python 2. Raises `ValueError`."""
    reader = _Reader(text)
    value = reader.value(0)
    if reader.kind != "end":
        raise ValueError
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.kind = ""
        self.token: Any = None
        self.advance()

    def advance(self) -> None:
        """Go to the next token."""
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            raise ValueError
        self.at = match.end()
        if match["mark"]:
            self.kind = self.token = match["mark"]
        elif match["end"] is not None:
            self.kind = "end"
        elif match["name"]:
            self.kind, self.token = "value", _NAMES[match["name"]]
        elif match["number"]:
            if len(match["number"]) > _DIGITS:
                raise ValueError
            self.kind, self.token = "value", int(match["number"], 0)
        else:
            raw = match["text"]
            escaped = "\\" in raw and match["prefix"] not in ("r", "R")
            self.kind, self.token = "text", _unescaped(raw) if escaped else raw

    def value(self, depth: int) -> Any:
        """The value that begins at the current token."""
        kind, token = self.kind, self.token
        if depth > _DEPTH or kind not in ("value", "text", "(", "[", "{"):
            raise ValueError
        self.advance()
        if kind == "value":
            return token
        if kind == "text":
            while self.kind == "text":  # texts side by side are one
                token += self.token
                self.advance()
            return token
        items, commas = [], 0
        while self.kind != _CLOSING[kind]:
            item = self.value(depth + 1)
            if kind == "{":
                self.expect(":")
                item = (item, self.value(depth + 1))
            items.append(item)
            if self.kind != _CLOSING[kind]:
                self.expect(",")
                commas += 1
        self.advance()
        if kind == "{":
            if not all(isinstance(key, (str, int, type(None))) for key, _ in items):
                raise ValueError
            return dict(items)
        if kind == "[":
            return items
        return tuple(items) if commas or not items else items[0]

    def expect(self, mark: str) -> None:
        """Pass a mark."""
        if self.kind != mark:
            raise ValueError
        self.advance()


def _unescaped(text: str) -> str:
    """A text with its escapes. Python only warns of an unknown one, such as ``\\h``, and keeps it as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
