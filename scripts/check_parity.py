#!/usr/bin/env python3
"""Verify every mapping: each network of each source, with seeded weights, converted to each layout that supports it.

For each pair it writes a file as the source framework does, converts it, and runs `convert verify` on a small clip:
every byte the same after converting back, every block equal in onnxruntime (the source's graph) and PyTorch (the
reference network). The exit code is 1 where a pair fails.

    python scripts/check_parity.py                         all: an hour on two cores
    python scripts/check_parity.py --only '*-18' --only i3d
    python scripts/check_parity.py --smallest              one network for each family, source and layout: minutes
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from math import prod
from multiprocessing import get_context
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn

import numpy as np

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, REPOSITORY)

from converters import convert, verify  # noqa: E402
from converters.batches.run import processors  # noqa: E402
from converters.errors import ConverterError, Refused  # noqa: E402
from converters.formats.format import Content  # noqa: E402
from converters.formats.io.atomic import replacing_all  # noqa: E402
from converters.formats.registry import formats_for, usual_suffix  # noqa: E402
from converters.inspection.support_table import holding_layouts  # noqa: E402
from converters.mapping.globs import is_for  # noqa: E402
from converters.mapping.layout_tables import load_layout, models  # noqa: E402
from converters.mapping.names import families, left_out, tensor_slots  # noqa: E402
from converters.mapping.storage import DIVISOR  # noqa: E402
from converters.mapping.table_files import layout_names  # noqa: E402
from converters.mapping.variants import parameters, variants  # noqa: E402
from converters.networks import network_record  # noqa: E402
from converters.reports.terminal.verification import verification_text  # noqa: E402
from converters.source_graphs.registry import source_records  # noqa: E402
from converters.tensor import Held, Tensor  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.names import TensorSlot
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

SIZES = {"classes": 7, "channels": 3, "stem_t": 3, "lateral_t": 3}
"""What a file decides, where the network does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network of a source layout, and the layouts to convert it to.

    ``hint`` is what ``--variant`` has to say: the name of a published model where there are such, as several may have
    one network, else that of the variant.
    """

    layout: LayoutTable
    variant: Variant
    hint: str
    targets: tuple[str, ...]

    @property
    def title(self) -> str:
        """The network in a line of the report."""
        name = self.variant.name
        return name if self.hint == name else f"{name} ({self.hint})"


def sizes_of(variant: Variant) -> dict[str, int]:
    """The sizes that a seeded file of a variant has."""
    return {name: variant.values.get(name, [size])[0] for name, size in SIZES.items()}


def seeded_tensors(layout: LayoutTable, variant: Variant) -> Iterator[Tensor]:
    """Seeded float32 tensors of one network under a layout's names, kept in range over depth. A tensor with several
    names has the same values under each."""
    random = np.random.default_rng(1)
    sizes = sizes_of(variant)
    for _, group in groupby(tensor_slots(layout, variant, sizes, {}), key=lambda slot: slot.canonical):
        slots = [slot for slot in group if slot.name]
        if slots:
            shape = tuple(size if isinstance(size, int) else sizes[size] for size in slots[0].shape)
            values = seeded_values(random, slots[0], shape).astype("<f4").reshape(-1)
            for slot in slots:
                yield Tensor(slot.name, "float32", slot.file_shape(sizes), Held(values.view("u1").data))


def seeded_values(random: np.random.Generator, slot: TensorSlot, shape: Sequence[int]) -> np.ndarray:
    """Values of one tensor; the order of axes does not matter to noise. The last layer of a residual branch is scaled
    down, as in a trained network: otherwise attention and depth amplify the rounding of float32 more than trained
    weights ever do."""
    if slot.leaf == DIVISOR:
        return np.full(shape, 2.0)
    noise = random.standard_normal(shape)
    attention = ".nonlocal" in slot.canonical
    if slot.leaf == "running_var" or (slot.leaf == "weight" and slot.kind == "bn"):
        last = slot.leaf == "weight" and (attention or slot.canonical.endswith("conv3.bn.weight"))
        return (1 + 0.3 * np.tanh(noise)) * (0.2 if last else 1)
    scale = prod(shape[1:]) ** -0.5 if slot.leaf == "weight" else 0.1
    return noise * scale * (0.5 if attention else 1)


def clip_shape(layout: LayoutTable, variant: Variant) -> tuple[int, ...] | None:
    """A small clip that both networks take, [N, C, T, H, W]; None where the input is not a clip."""
    family = variant.family
    records = [record for record in source_records() if layout.name in record.layouts]
    clips = (record.test_clips[family] for record in records if family in record.test_clips)
    shape = next(clips, network_record(family).test_clip)
    if shape is None or not variant.values.get("stem_spans_clip"):
        return shape
    return (*shape[:2], sizes_of(variant)["stem_t"], *shape[3:])


def write(path: str, layout: LayoutTable, tensors: list[Tensor]) -> None:
    """Write a file of the layout's own format."""

    def nothing(*_: object) -> NoReturn:
        raise AssertionError("source frameworks' files have no record and no graph")

    format_ = formats_for(layout.format)[0]
    content = Content(
        tensors=tensors,
        original={},
        same_layout=False,
        wrapper=None,
        slash_keys=layout.slash_keys,
        provenance=nothing,
        graph=nothing,
        progress=None,
    )
    with replacing_all(format_.files(path), force=True) as outputs:
        format_.write(outputs, content)


def cases(only: Sequence[str]) -> Iterator[Case]:
    """Every network of every source that matches one of the globs, under each of its models' names."""
    for layout in map(load_layout, layout_names()):
        for family in families(layout) if layout.format != "pytorch" else ():
            for variant in variants(family):
                asked = any(fnmatchcase(variant.name, glob) for glob in only)
                if asked and not layout.support_for(variant.name).unsupported:
                    targets = tuple(targets_of(layout, variant))
                    for hint in model_names(layout, variant) or [variant.name]:
                        yield Case(layout=layout, variant=variant, hint=hint, targets=targets)


def model_names(layout: LayoutTable, variant: Variant) -> list[str]:
    """The published models of a variant, as a layout names them."""
    return [row.name for row in models(layout) if is_for(row.variants, variant.name)]


def targets_of(layout: LayoutTable, variant: Variant) -> Iterator[str]:
    """The layouts that store all of a variant that ``layout`` stores."""
    for name in holding_layouts(variant)[0]:
        if not left_out(load_layout(name), variant) - left_out(layout, variant):
            yield name


def smallest(candidates: Sequence[Case]) -> Iterator[Case]:
    """For each source, family and target the case with the fewest weights."""
    weights = [parameters(case.variant, sizes_of(case.variant), {}) for case in candidates]
    chosen: dict[tuple[str, str, str], int] = {}
    for place in sorted(range(len(candidates)), key=weights.__getitem__):
        case = candidates[place]
        for target in case.targets:
            chosen.setdefault((case.layout.name, case.variant.family, target), place)
    for place in sorted(set(chosen.values())):
        targets = tuple(target for (_, _, target), winner in chosen.items() if winner == place)
        yield replace(candidates[place], targets=targets)


def check_all(chosen: Sequence[Case], device: str, jobs: int) -> int:
    """Check the cases in so many processes, which share the processors; returns how many pairs failed."""
    if jobs == 1:
        return check_some(chosen, device)
    os.environ["OMP_NUM_THREADS"] = str(max(1, processors() // jobs))  # PyTorch is imported later
    context = get_context("fork")
    counts = context.SimpleQueue()
    workers = [
        context.Process(
            target=lambda place: counts.put(check_some(chosen[place::jobs], device)), args=(place,)
        )
        for place in range(jobs)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    broken = sum(worker.exitcode != 0 for worker in workers)
    return broken + sum(counts.get() for _ in range(jobs - broken))


def check_some(chosen: Sequence[Case], device: str) -> int:
    """Check the cases one after the other; returns how many pairs failed."""
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        return sum(check_case(case, folder, device) for case in chosen)


def check_case(case: Case, folder: str, device: str) -> int:
    """Convert and verify one case to each of its targets, a line for each; returns how many failed."""
    source = os.path.join(folder, f"source{usual_suffix(case.layout.format)}")
    write(source, case.layout, list(seeded_tensors(case.layout, case.variant)))
    clip, shape = None, clip_shape(case.layout, case.variant)
    if shape is not None:
        clip = os.path.join(folder, "clip.npy")
        np.save(clip, np.random.default_rng(2).standard_normal(shape, np.float32))
    failed = 0
    for target in case.targets:
        started = perf_counter()
        status, text = check_pair(case, target, source, clip, device)
        failed += status == "FAIL"
        first, *more = text.split("\n", 1)
        line = f"{status:4} {case.layout.name} -> {target}: {case.title}: {first}"
        print("\n".join([f"{line} ({perf_counter() - started:.1f} s)", *more]), flush=True)
    return failed


def check_pair(case: Case, target: str, source: str, clip: str | None, device: str) -> tuple[str, str]:
    """``ok``, ``FAIL`` or ``none``, where the target does not support a model's settings; and why, in words."""
    output = os.path.join(os.path.dirname(source), "out.pth")
    try:
        convert(source, output, source=case.layout.name, to=target, variant=case.hint, force=True)
    except Refused as error:
        return "none", error.what
    try:
        proof = verify(
            source,
            output,
            source_layout=case.layout.name,
            layout=target,
            variant=case.hint,
            clip=clip,
            device=device,
        )
    except ConverterError as error:
        return "FAIL", str(error)
    text = f"{len(proof.exact.changed)} tensors differ"
    if proof.functional is None:  # these networks have no source graph
        text += f"; {proof.skipped}"
    else:
        worst = max(proof.functional.blocks, key=lambda block: block.relative)
        text += f", worst block {worst.name} {worst.relative:.1e}"
    return ("ok", text) if proof.ok else ("FAIL", f"{text}\n{verification_text(proof)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what is asked for; returns 1 where something fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="GLOB", help="networks; may be repeated")
    parser.add_argument(
        "--smallest", action="store_true", help="one network for each family, source and layout"
    )
    parser.add_argument("--device", default="cpu", help="where the outputs run: cpu, cuda or auto")
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=processors(), help="processes (default: one a processor)"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    selected = list(cases(options.only or ["*"]))
    if not selected:
        parser.error(f"no network is called {' or '.join(options.only)}")
    chosen = list(smallest(selected)) if options.smallest else selected
    failed = check_all(chosen, options.device, min(options.jobs, len(chosen)))
    print(f"{failed} failed" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
