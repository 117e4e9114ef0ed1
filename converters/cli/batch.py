"""``convert batch MANIFEST``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .options import outcome

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Convert all that a manifest lists, in several processes, each row for itself.
What was done is recorded row by row: --resume goes on after any end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("manifest", metavar="MANIFEST", help="a TOML file of [[convert]] rows")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one for each processor)")
    parser.add_argument("--dry-run", action="store_true", help="plan all rows, read no tensor, write nothing")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on: skip what is done and unchanged, take over whole outputs",
    )
    parser.add_argument("--fail-fast", action="store_true", help="begin nothing more after a row has failed")
    parser.add_argument(
        "--results",
        metavar="FILE",
        help="where results are recorded (default: MANIFEST's name.results.jsonl)",
    )
    parser.add_argument(
        "--memory", type=int, metavar="MB", default=0, help="memory that each process may have"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a dask.distributed cluster: tcp://HOST:PORT")
    parser.add_argument(
        "--retries", type=int, metavar="N", default=1, help="on a cluster, tries again after a worker failed"
    )


def run(options: argparse.Namespace) -> int:
    """Run the batch, print the summary, and return 1 where a row failed."""
    from converters.batches.progress import watch_on
    from converters.batches.run import convert_batch, summary_text

    summary = convert_batch(
        options.manifest,
        jobs=options.jobs,
        dry_run=options.dry_run,
        resume=options.resume,
        fail_fast=options.fail_fast,
        results=options.results,
        memory=options.memory,
        scheduler=options.scheduler,
        retries=options.retries,
        watch=None if options.quiet or options.json else watch_on(sys.stderr),
    )
    return outcome(options, summary.as_data, lambda: summary_text(summary), ok=summary.ok)
