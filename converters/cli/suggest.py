"""``convert suggest A B -o MAPPING``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Propose a mapping from one checkpoint's names to another's, from values, names,
shapes and order. What is not certain is marked, and not used before you say so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("a", metavar="A", help="a checkpoint with the names you have")
    parser.add_argument("b", metavar="B", help="one of the same network with the names you want")
    parser.add_argument(
        "-o", "--output", metavar="MAPPING", required=True, help="the mapping to write (.toml)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing mapping")
    parser.add_argument("--no-values", action="store_true", help="go by names and shapes, read no tensor")


def run(options: argparse.Namespace) -> int:
    """Propose, write, print."""
    from converters.reports.terminal import suggestion_text
    from converters.suggestion.suggest import suggest

    found = suggest(options.a, options.b, options.output, values=not options.no_values, force=options.force)
    return outcome(options, found.as_data, lambda: suggestion_text(found))
