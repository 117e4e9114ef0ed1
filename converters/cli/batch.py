"""``convert batch MANIFEST``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .options import report

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Run every conversion in a manifest, in several processes. Each result is
recorded as it comes: --resume continues after a failure, a kill or a crash."""

EXAMPLES = (
    "convert batch zoo.toml --dry-run",
    "convert batch zoo.toml --jobs 4 --resume",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("manifest", metavar="MANIFEST", help="a TOML file with [[convert]] rows")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per processor)")
    parser.add_argument(
        "--dry-run", action="store_true", help="plan every row; read no tensor data, write nothing"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip rows that are done and unchanged, adopt complete outputs",
    )
    parser.add_argument("--fail-fast", action="store_true", help="start no further rows after a failure")
    parser.add_argument(
        "--results", metavar="FILE", help="the file of results (default: zoo.results.jsonl beside zoo.toml)"
    )
    parser.add_argument(
        "--memory", type=int, metavar="MB", default=0, help="memory limit of each process (default: none)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on a dask.distributed cluster: tcp://HOST:PORT"
    )
    parser.add_argument(
        "--retries",
        type=int,
        metavar="N",
        default=1,
        help="on a cluster, attempts after a worker failed (default: 1)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the batch and print its summary; returns 1 if a row failed."""
    from converters.batches.progress import Lines, watch_on
    from converters.batches.run import convert_batch
    from converters.batches.summary import summary_text

    watch = None if options.quiet or options.json else watch_on(sys.stderr, sys.stdout)
    try:
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
            watch=watch,
        )
    except KeyboardInterrupt as error:
        if not options.dry_run:
            error.add_note("finished rows are recorded: --resume continues from there")
        raise
    return report(
        options,
        summary.as_data,
        lambda: summary_text(summary, rows=not isinstance(watch, Lines)),
        ok=summary.ok,
    )
