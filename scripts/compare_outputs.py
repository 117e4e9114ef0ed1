#!/usr/bin/env python3
"""Show that a change of the code keeps every output as it was, byte for byte.

Write the inputs once, convert them there and back with the version before the change and with the one after it, and
compare the two lists of digests:

    python scripts/compare_outputs.py make INPUTS
    python scripts/compare_outputs.py run INPUTS before.jsonl --python OLD/bin/python
    python scripts/compare_outputs.py run INPUTS after.jsonl --python NEW/bin/python
    python scripts/compare_outputs.py diff before.jsonl after.jsonl

The exit code of `diff` is 1 where an output or an exit code differs. The words of the provenance record and of error
messages may change: `diff` counts how many do, and does not fail for them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.diff import diff
from comparison.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence


def make(options: argparse.Namespace) -> int:
    """Write the inputs, with the package and the tests' helpers of this checkout."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from comparison.make import make

    return make(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the three commands; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("make", help="write the inputs and the list of cases")
    command.add_argument("inputs", metavar="INPUTS", type=Path, help="a new folder")
    command.set_defaults(call=make)
    command = commands.add_parser("run", help="run every case, and keep the digests of its output")
    command.add_argument("inputs", metavar="INPUTS", type=Path)
    command.add_argument("outputs", metavar="OUTPUTS", type=Path, help="a file of JSON lines")
    python = "an interpreter that has the package"
    command.add_argument("--python", metavar="PY", default=sys.executable, help=python)
    command.add_argument("--only", action="append", metavar="GLOB", help="cases by name; may be repeated")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="run N cases at once")
    command.add_argument("--folder", type=Path, help="where to keep outputs for a moment: /dev/shm is fast")
    command.set_defaults(call=run)
    command = commands.add_parser("diff", help="compare two runs")
    command.add_argument("before", metavar="BEFORE", type=Path)
    command.add_argument("after", metavar="AFTER", type=Path)
    command.add_argument("--common", action="store_true", help="ignore cases that only one of them has")
    command.add_argument("--errors", action="store_true", help="show the errors that have another text")
    command.set_defaults(call=diff)
    options = parser.parse_args(arguments)
    code: int = options.call(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
