"""How reports word sizes, numbers and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from converters.mapping.network_info import NetworkInfo

RELEASED_ONLY = "if these are the released weights, which is not proved"
"""What is said of the licence of a release that a file is only taken for."""


def printable_lines(lines: Iterable[str]) -> str:
    """Lines as one text, with whatever a file put into them made safe to print."""
    return "\n".join(map(printable, lines))


def human_size(size: int) -> str:
    """A number of bytes in decimal units, as file managers show it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def again_text(described: Mapping[str, Any]) -> str:
    """Which of a clip's frames come again, to be put behind what is said of the frames."""
    every = described.get("again_every")
    return f"; one in {every} of them comes again at the end" if every else ""


def values_text(values: Iterable[float]) -> str:
    """Numbers, separated by spaces."""
    return " ".join(f"{value:g}" for value in values)


def means_text(means: Iterable[float]) -> str:
    """The means of a mean file's channels."""
    return f"channel means {' '.join(f'{value:.2f}' for value in means)}"


def classes_text(info: NetworkInfo) -> str:
    """How many classes a network has."""
    return counted(info.classes, "class") if info.classes else "no head"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it takes one: ``1 tensor``, ``2 classes``."""
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"
