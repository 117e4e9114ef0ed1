"""``convert help [VERB | sources]``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from converters.errors import UsageError

from .overview import COMMANDS, CONVERSIONS, fitted, overview
from .terminal import width

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Show the help of a verb, the list of sources, or an overview of all verbs."

EXAMPLES = ("convert help verify", "convert help sources")

SOURCES = "sources"
"""The topic that lists all layouts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("topic", metavar="VERB", nargs="?", help="a verb, `convert`, a layout, or `sources`")


def run(options: argparse.Namespace) -> int:
    """Print a help. Raises `UsageError` for a word that has none."""
    columns = width(sys.stdout)
    if options.topic is None:
        print(overview(columns))
    elif options.topic == SOURCES:
        print(sources(columns))
    else:
        print(verb_help(options.topic))
    return 0


def verb_help(word: str) -> str:
    """The help of a verb, or of a conversion from a layout."""
    from converters.mapping.table_files import layout_names
    from converters.spelling import did_you_mean

    from .parser import parser_of

    word = "auto" if word == "convert" else word
    known = [*COMMANDS, *(name for name in CONVERSIONS if name.islower()), *layout_names()]
    if word not in known:
        hint = did_you_mean(word, [*known, SOURCES]) or "`convert help` lists the verbs"
        raise UsageError(f"there is no help on {word!r}", hint=hint)
    return parser_of(word).format_help().rstrip()


def sources(columns: int) -> str:
    """Every layout with its title and its files: each is a source, and a target."""
    from converters.formats.registry import formats_for
    from converters.mapping.layout_tables import readable_layouts

    layouts = readable_layouts()
    longest = max(len(layout.name) for layout in layouts)
    lines = ["Layouts: whose names a file has. Each is a source, and with --to a target.", ""]
    lines += [
        fitted(f"  {layout.name:<{longest}}  {layout.title}: {formats_for(layout.format)[0].title}", columns)
        for layout in layouts
    ]
    lines += [
        "",
        "`convert IN OUT` recognises them; `convert models --layout NAME` lists a layout's networks.",
    ]
    return "\n".join(lines)
