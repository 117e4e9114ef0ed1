"""``convert inspect FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import add_entry, outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Say what a checkpoint is: format, network, classes, cost, tensors."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help="a source or an output")
    parser.add_argument("--layout", metavar="LAYOUT", help="its layout, where more than one fits")
    add_entry(parser)
    parser.add_argument("--stats", action="store_true", help="read the tensors: NaN, Inf, all-zero ones")
    parser.add_argument("--mapping", metavar="FILE", help="say how it agrees with a mapping of your own")


def run(options: argparse.Namespace) -> int:
    """Look, print, and return 1 where the file does not agree with the mapping asked about."""
    from converters.inspection.inspect import inspect
    from converters.reports.terminal import inspection_text

    found = inspect(
        options.file,
        layout=options.layout,
        entry=options.entry,
        head=options.head,
        stats=options.stats,
        mapping=options.mapping,
    )
    agrees = not (found.mapping and found.mapping.faults)
    return outcome(options, found.as_data, lambda: inspection_text(found), ok=agrees)
