"""The further names under which a layout's files store a tensor once more (`Twice` in `schema`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Line(NamedTuple):
    """A line of a table: both of its names, as patterns and as templates."""

    further: re.Pattern[str]
    first: re.Pattern[str]
    further_template: str
    first_template: str


class FurtherNames:
    """What the lines of a layout's rows say for one variant. A line's right side may itself be a further name that a
    later line explains."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines = [
            _Line(_pattern(further), _pattern(first), _template(further), _template(first))
            for further, first in lines
        ]

    def first(self, name: str) -> str:
        """The layout's own name of a tensor, by any name of it."""
        for line in self._lines:
            if match := line.further.fullmatch(name):
                name = line.first_template.format(*match.groups())
        return name

    def of(self, first: str) -> list[str]:
        """The further names of a tensor, by the layout's own."""
        names = [first]
        for line in reversed(self._lines):
            names += [
                line.further_template.format(*match.groups())
                for name in names
                if (match := line.first.fullmatch(name))
            ]
        return names[1:]

    def firsts(self, names: Iterable[str]) -> set[str]:
        """The own names of the tensors that some names are of."""
        return {self.first(name) for name in names}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, name.split("*"))))


def _template(name: str) -> str:
    return "{}".join(part.replace("{", "{{").replace("}", "}}") for part in name.split("*"))
