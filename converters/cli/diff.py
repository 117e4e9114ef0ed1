"""``convert diff A B``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Compare two checkpoints: names, shapes, dtypes, values. Two layouts of one
network are compared under canonical names. Exit code 1 where they differ."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("a", metavar="A", help="a checkpoint of any format and layout")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--layout-a", metavar="LAYOUT", help="A's layout, where more than one fits")
    parser.add_argument("--layout-b", metavar="LAYOUT", help="B's")


def run(options: argparse.Namespace) -> int:
    """Compare, print, and return 1 where something differs."""
    from converters.inspection.diff import diff
    from converters.reports.terminal import difference_text

    found = diff(options.a, options.b, layout_a=options.layout_a, layout_b=options.layout_b)
    return outcome(options, found.as_data, lambda: difference_text(found), ok=found.same)
