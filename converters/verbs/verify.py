"""``convert verify SOURCE OUTPUT``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Prove a conversion on your own file: the inverse mapping gives the source's
bytes back, and the source framework's network (run by onnxruntime) computes
what the output's network computes, block by block. Exit code 1 where not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("source_file", metavar="SOURCE", help="the file that was converted")
    parser.add_argument(
        "output", metavar="OUTPUT", help="what it was converted into, by this tool or another"
    )
    parser.add_argument("--source", metavar="LAYOUT", help="SOURCE's layout, where more than one fits")
    parser.add_argument("--layout", metavar="LAYOUT", help="OUTPUT's")
    parser.add_argument("--variant", metavar="NAME", help="the network, where names and shapes fit several")
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="where OUTPUT runs: cpu (default), cuda or auto"
    )
    parser.add_argument(
        "--clip", metavar="FILE.npy", help="float32 [N, C, T, H, W], preprocessed (default: noise)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    pool = parser.add_mutually_exclusive_group()
    pool.add_argument(
        "--pool1", action="store_true", default=None, help="SOURCE has a max pool behind the stem"
    )
    pool.add_argument("--no-pool1", dest="pool1", action="store_false", help="it has none")
    parser.add_argument("--stem-stride", type=int, metavar="N", help="the stride in time of SOURCE's stem")
    parser.add_argument(
        "--inverse-std", action="store_true", help="SOURCE has inverse standard deviations for variances"
    )
    parser.add_argument("--junit", metavar="FILE.xml", help="write the outcome for a CI server as well")


def run(options: argparse.Namespace) -> int:
    """Verify, print, and return 1 where something is missed."""
    from ..verification import verify

    found = verify(
        options.source_file,
        options.output,
        source_layout=options.source,
        layout=options.layout,
        variant=options.variant,
        device=options.device,
        clip=options.clip,
        seed=options.seed,
        pool1=options.pool1,
        stem_stride=options.stem_stride,
        inverse_std=options.inverse_std,
    )
    if options.junit is not None:
        from ..junit import write_junit

        write_junit(options.junit, found)
    if options.json:
        print(json.dumps({"ok": found.ok, **found.as_data()}))
    elif not options.quiet:
        from ..report import verification_text

        print(verification_text(found))
    return 0 if found.ok else 1
