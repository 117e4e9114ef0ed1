"""``convert demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Write a full-size ir-CSN-152 pickle with seeded weights, in the byte format of
VMZ's releases, convert it, and compare the logits with those that real Caffe2
computed. Needs PyTorch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "folder", nargs="?", default="demo-files", help="where to write (default: demo-files)"
    )
    parser.add_argument(
        "--to", metavar="LAYOUT", default="vmz-pt", help="the output's layout (default: vmz-pt)"
    )


def run(options: argparse.Namespace) -> int:
    """Do it step by step, and return 1 where the proof fails."""
    from .demo_files import demo

    quiet = options.json or options.quiet
    found = demo(options.folder, to=options.to, say=(lambda _: None) if quiet else print)
    return outcome(options, lambda: found, None, ok=found["parity"])
