"""Names of files: what is their stem, and patterns with holes that give new ones."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from converters.errors import UsageError

from .write import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOLE = re.compile(r"\{([^{}]*)\}")

_SUFFIXES = sorted(
    {".caffemodel.h5", ".h5", ".tar", ".tf", *(suffix for of in SUFFIXES.values() for suffix in of)},
    key=lambda suffix: -len(suffix),
)


def stem_of(path: str) -> str:
    """A file's name without folders and without the suffix of a format: ``a/out.pth.tar`` is ``out``."""
    name = os.path.basename(path.rstrip("/"))
    suffix = next((one for one in _SUFFIXES if name.lower().endswith(one) and len(name) > len(one)), "")
    return name[: len(name) - len(suffix)]


def holes(pattern: str) -> list[str]:
    """The names between braces in a pattern. Raises `UsageError` for a brace that has no partner."""
    if re.search(r"[{}]", _HOLE.sub("", pattern)):
        raise UsageError(f"{pattern!r} has a brace without its partner")
    return _HOLE.findall(pattern)


def fill(pattern: str, values: Mapping[str, object]) -> str:
    """A pattern with every ``{hole}`` replaced by its value. Raises `UsageError` for a hole that there is not."""
    for hole in holes(pattern):
        if hole not in values:
            raise UsageError(
                f"{pattern!r} has a hole {{{hole}}}",
                hint=f"there are {', '.join(f'{{{name}}}' for name in values)}",
            )
    return _HOLE.sub(lambda match: str(values[match[1]]), pattern)
