#!/usr/bin/env python3
"""Mutate small files of every format, and run every verb on them: nothing but our own errors may come out.

    python scripts/fuzz.py --runs 20000
    python scripts/fuzz.py --runs 100000 --only onnx --only caffe --first 7000000
    python scripts/fuzz.py --again every.msgpack 1234 --keep FOLDER

Each mutation has a number and is the same every time. The exit code is 1 where a fault was found.
"""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from fuzzing.run import mutated, run  # noqa: E402
from fuzzing.seeds import networks, seeds  # noqa: E402

FIXTURES = ROOT / "tests" / "fixtures"


def main() -> int:
    """Run, or write the files of one mutation; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="how many mutations (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default: 0)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="KIND", help="such as onnx; may be repeated"
    )
    parser.add_argument(
        "--again", nargs=2, metavar=("SEED", "NUMBER"), help="write the files of one mutation"
    )
    parser.add_argument(
        "--keep", metavar="FOLDER", default=".", help="where --again writes them (default: .)"
    )
    options = parser.parse_args()
    if options.again:
        name, number = options.again
        every = chain(seeds(FIXTURES), networks())
        seed = next(seed for seed in every if next(iter(seed.files)) == name)
        for part, content in mutated(seed, int(number)).items():
            (Path(options.keep) / part).write_bytes(content)
        return 0
    faults, outcomes = run(FIXTURES, options.runs, first=options.first, only=options.only)
    for fault in faults:
        print(f"--- {fault.verb}: {fault.seed} {fault.number}\n{fault.what}")
    for (verb, outcome), count in sorted(outcomes.items()):
        print(f"{verb:14}{outcome:14}{count:8,}")
    print(f"{options.runs:,} mutations, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
