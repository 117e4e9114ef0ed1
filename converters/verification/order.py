"""Whether the two files of a verification were given in the wrong order."""

from __future__ import annotations

from os.path import basename, normpath
from typing import TYPE_CHECKING, Any

from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified

MAX_CHAIN = 16
"""Conversions that are followed back: a record is not trusted to end."""


def was_made_from(one: Identified, other: Identified) -> bool:
    """Whether the record of ``one`` names ``other`` as a file that it was made from, and not the other way round."""
    return _name(other) in _made_from(one) and _name(one) not in _made_from(other)


def wrong_order(source: Identified, output: Identified) -> str:
    """What to say of a source that was made from the output."""
    return (
        f"the files are in the wrong order: {_name(source)} was made from {_name(output)}, as its record says; "
        "the source comes first"
    )


def _name(side: Identified) -> str:
    return printable(basename(normpath(side.checkpoint.path)))


def _made_from(side: Identified) -> set[str]:
    return set(_chain(side.checkpoint.provenance))


def _chain(provenance: Mapping[str, Any] | None) -> Iterator[str]:
    source = (provenance or {}).get("source")
    for _ in range(MAX_CHAIN):
        if not isinstance(source, dict) or not isinstance(source.get("name"), str):
            return
        yield source["name"]
        source = source.get("converted_from")
