"""``convert inspect FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.options import NetworkOptions, ReadOptions

from .options import add_options, report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Show what a checkpoint is: format, network, layout, classes, cost,
preprocessing, provenance and tensors."""

EXAMPLES = (
    "convert inspect out.pth",
    "convert inspect out.pth --tensors --stats",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a checkpoint of any format and layout")
    parser.add_argument("--layout", metavar="LAYOUT", help="its layout, if several fit")
    add_options(parser, ReadOptions, only=("entry",))
    add_options(parser, NetworkOptions, only=("head", "drop"))
    parser.add_argument(
        "--tensors", action="store_true", help="list all tensors and values, folded by their numbers"
    )
    parser.add_argument(
        "--layouts", action="store_true", help="say of every layout whether it holds the network"
    )
    parser.add_argument(
        "--stats", action="store_true", help="read the tensors and count NaN, Inf and all-zero ones"
    )
    parser.add_argument(
        "--hash",
        action="store_true",
        help="read the file, show its hashes, and say which published release it is by them",
    )
    parser.add_argument(
        "--mapping", metavar="FILE", help="report how well the file matches a mapping file of your own"
    )


def run(options: argparse.Namespace) -> int:
    """Inspect and print; returns 1 if the file does not match the given mapping."""
    from converters.inspection.inspect import inspect
    from converters.reports.terminal.inspection import inspection_text

    from .progress_bar import StatusLine, is_shown

    with StatusLine() as line:
        inspection = inspect(
            options.file,
            layout=options.layout,
            entry=options.entry,
            head=options.head,
            drop=options.drop,
            stats=options.stats,
            mapping=options.mapping,
            hash=options.hash,
            progress=line.say if is_shown(options) else None,
        )

    def text() -> str:
        return inspection_text(inspection, tensors=options.tensors, layouts=options.layouts)

    matches = not (inspection.mapping and inspection.mapping.faults)
    return report(options, inspection.as_data, text, ok=matches)
