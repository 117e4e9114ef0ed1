"""``convert diff A B``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
    from ..difference import diff

    found = diff(options.a, options.b, layout_a=options.layout_a, layout_b=options.layout_b)
    if options.json:
        print(json.dumps({"ok": found.same, **found.as_data()}))
    elif not options.quiet:
        from ..report import difference_text

        print(difference_text(found))
    return 0 if found.same else 1
