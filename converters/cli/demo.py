"""``convert demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Write a full-size ir-CSN-152 pickle with seeded weights in VMZ's file format,
convert it, and compare the logits with those that real Caffe2 computed.
Needs PyTorch."""

EXAMPLES = (
    "convert demo",
    "convert demo --to mmaction2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "folder", nargs="?", default="demo-files", help="the folder to write to (default: demo-files)"
    )
    parser.add_argument(
        "--to", metavar="LAYOUT", default="vmz-pt", help="the output's layout (default: vmz-pt)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demonstration step by step; returns 1 if the outputs differ."""
    from .demo_parity import demonstrate

    quiet = options.json or options.quiet
    figures = demonstrate(options.folder, to=options.to, say=(lambda _: None) if quiet else print)
    return report(options, lambda: figures, None, ok=figures["parity"])
