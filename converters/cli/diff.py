"""``convert diff A B``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Compare two checkpoints. Two files of one format are compared in full. Two
layouts of one network are compared by their tensors only, under canonical
names; the rest is listed as not compared. Exit code 1 if they differ."""

EXAMPLES = (
    "convert diff ircsn_152.pkl out.pth",
    "convert diff run.pth out.pth --entry-a ema_state_dict",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", metavar="A", help="a checkpoint of any format and layout")
    parser.add_argument("b", metavar="B", help="another checkpoint")
    parser.add_argument("--layout-a", metavar="LAYOUT", help="the layout of A, if several fit")
    parser.add_argument("--layout-b", metavar="LAYOUT", help="the layout of B, if several fit")
    for file in "ab":
        parser.add_argument(
            f"--entry-{file}",
            metavar="PATH",
            help=f"the state dict in {file.upper()}, such as ema_state_dict; what is beside it is not compared",
        )


def run(options: argparse.Namespace) -> int:
    """Compare and print; returns 1 if the files differ."""
    from converters.inspection.diff import diff
    from converters.reports.terminal.difference import difference_text

    difference = diff(
        options.a,
        options.b,
        layout_a=options.layout_a,
        layout_b=options.layout_b,
        entry_a=options.entry_a,
        entry_b=options.entry_b,
    )
    return report(options, difference.as_data, lambda: difference_text(difference), ok=difference.same)
