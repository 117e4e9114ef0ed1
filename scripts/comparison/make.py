"""Write the inputs and the list of cases."""

from __future__ import annotations

import sys
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING

from .cases import write_cases
from .files import means, pytorch_files, source_files
from .inputs import Inputs
from .mapping_files import mapping_files
from .networks import every_network, graphs
from .samples import inflations, options

if TYPE_CHECKING:
    from argparse import Namespace

STEPS = (every_network, options, graphs, pytorch_files, source_files, means, inflations, mapping_files)
"""In this order: later ones have cases of earlier ones' files."""


def make(arguments: Namespace) -> int:
    """Write the inputs and the list of cases into a new folder."""
    started = perf_counter()
    arguments.inputs.mkdir(parents=True)
    inputs = Inputs(arguments.inputs.resolve())
    for step in STEPS:
        step(inputs)
        count = sum(case.count() for case in inputs.cases)
        print(
            f"{step.__name__}: {count} cases, {perf_counter() - started:.0f} s", file=sys.stderr, flush=True
        )
    names = Counter(case.name for case in inputs.cases)
    if repeated := [name for name, number in names.items() if number > 1]:
        raise SystemExit(f"several cases have one name: {', '.join(repeated)}")
    write_cases(inputs.folder, inputs.cases)
    size = sum(path.stat().st_size for path in inputs.folder.rglob("*") if path.is_file())
    print(f"{size / 1e9:.1f} GB", file=sys.stderr)
    return 0
