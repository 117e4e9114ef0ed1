"""Names of output files: the stem of an input's name, and patterns such as ``{stem}-{layout}.pth``."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

from converters.errors import UsageError
from converters.formats.registry import formats

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def stem_of(path: str) -> str:
    """A file's name without folders and without the suffix of a format: ``a/out.pth.tar`` is ``out``."""
    name = os.path.basename(path.rstrip("/"))
    for suffix in _suffixes():
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


@cache
def _suffixes() -> list[str]:
    """The suffixes of all formats, longer ones first."""
    suffixes = {suffix for record in formats() for suffix in (*record.suffixes, *record.other_suffixes)}
    return sorted(suffixes, key=len, reverse=True)


def placeholders(pattern: str) -> list[str]:
    """The names between braces in a pattern. Raises `UsageError` for an unmatched brace."""
    if re.search(r"[{}]", _PLACEHOLDER.sub("", pattern)):
        raise UsageError(f"{pattern!r} has an unmatched brace")
    return _PLACEHOLDER.findall(pattern)


def fill(pattern: str, values: Mapping[str, object]) -> str:
    """A pattern with every ``{placeholder}`` replaced by its value. Raises `UsageError` for an unknown one."""
    for name in placeholders(pattern):
        if name not in values:
            raise UsageError(
                f"{pattern!r} has the unknown placeholder {{{name}}}",
                hint=f"there are {', '.join(f'{{{known}}}' for known in values)}",
            )
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), pattern)
