#!/usr/bin/env python3
"""Verify every mapping: each network of each source, with seeded weights, converted to each layout that holds it.

For each pair a file as the source framework writes it, a conversion, and `convert verify` on a small clip: every byte
back, every block equal in onnxruntime (the source's side) and PyTorch (ours). Exit code 1 where one fails.

    python scripts/check_parity.py                         all, an hour on two cores
    python scripts/check_parity.py --only '*-18' --only i3d
    python scripts/check_parity.py --smallest              one network of each family, source and layout: minutes
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from fnmatch import fnmatchcase
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, REPOSITORY)

from converters import convert, verify  # noqa: E402
from converters.errors import ConverterError, Refused  # noqa: E402
from converters.formats.io.atomic import replacing  # noqa: E402
from converters.inspection.support_table import holding_layouts  # noqa: E402
from converters.mapping.catalog import layout_names, load_layout, models  # noqa: E402
from converters.mapping.globs import is_for  # noqa: E402
from converters.mapping.names import families, left_out, tensor_slots  # noqa: E402
from converters.mapping.storage import DIVISOR  # noqa: E402
from converters.mapping.variants import parameters, variants  # noqa: E402
from converters.reports.terminal import verification_text  # noqa: E402
from converters.tensor import Held, Tensor  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.names import TensorSlot
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

SIZES = {"classes": 7, "channels": 3}
CLIPS = {
    "resnet3d": (1, 3, 8, 48, 52),
    "audiovisual": (1, 3, 8, 48, 52),
    "c3d_bn": (1, 3, 16, 96, 110),
    "c3d": (1, 3, 9, 97, 110),
    "c3d_resnet": (1, 3, 7, 50, 46),
    "bn_inception": (1, 3, 1, 31, 38),
    "i3d": (1, 3, 9, 197, 224),
    "resnet_i3d": (1, 3, 32, 209, 212),
    "slowfast/resnet_i3d": (1, 3, 2, 193, 196),
    "slowfast/slowfast": (1, 3, 16, 193, 196),
    "slowfast/x3d": (1, 3, 2, 290, 301),
}
"""Small and odd, of a family or of one source's; of `resnet2d_audio` the log-mels are always of one size."""

SUFFIX = {"caffe2-pickle": "pkl", "tensorflow": "ckpt", "caffe": "caffemodel", "chainer": "npz"}


def sizes_of(one: Variant) -> dict[str, int]:
    """The sizes that a file binds."""
    given = {**SIZES, "stem_t": 3, "lateral_t": 3}
    return {name: one.values.get(name, [size])[0] for name, size in given.items()}


def tensors_of(layout: LayoutTable, one: Variant) -> Iterator[Tensor]:
    """Seeded tensors of one network under a layout's names, kept in range over depth."""
    random = np.random.default_rng(1)
    sizes = sizes_of(one)
    for entry in tensor_slots(layout, one, sizes, {}):
        if entry.name:
            shape = entry.file_shape(sizes)
            plain = tuple(size if isinstance(size, int) else sizes[size] for size in entry.shape)
            value = (drawn(random, entry, plain)).astype("<f4").reshape(-1)
            yield Tensor(entry.name, "float32", shape, Held(value.view("u1").data))


def drawn(random: np.random.Generator, entry: TensorSlot, shape: Sequence[int]) -> np.ndarray:
    """Values of one tensor. Order of axes does not matter to noise. The end of a block counts little, as in a trained
    network: else attention and depth make more of float32's rounding than weights ever do."""
    if entry.leaf == DIVISOR:
        return np.full(shape, 2.0)
    noise = random.standard_normal(shape)
    inner = ".nonlocal" in entry.canonical
    if entry.leaf == "running_var" or (entry.leaf == "weight" and entry.kind == "bn"):
        last = entry.leaf == "weight" and (inner or entry.canonical.endswith("conv3.bn.weight"))
        return (1 + 0.3 * np.tanh(noise)) * (0.2 if last else 1)
    scale = prod(shape[1:]) ** -0.5 if entry.leaf == "weight" else 0.1
    return noise * scale * (0.5 if inner else 1)


def write(path: str, layout: LayoutTable, tensors: list[Tensor]) -> None:
    """Write a file of the layout's own format."""
    if layout.format == "tensorflow":
        from converters.formats.tensorflow.writer import checkpoint_names, write_tensorflow

        data, index = checkpoint_names(path)
        with replacing(data, force=True) as data_out, replacing(index, force=True) as index_out:
            write_tensorflow(data_out, index_out, tensors)
        return
    with replacing(path, force=True) as out:
        if layout.format == "caffe2-pickle":
            from converters.formats.caffe2.pickle_writer import write_caffe2_pickle

            write_caffe2_pickle(out, tensors)
        elif layout.format == "caffe":
            from converters.formats.caffe.writer import write_caffemodel

            write_caffemodel(out, tensors)
        else:
            from converters.formats.npz.writer import write_npz

            write_npz(out, tensors)


class Case(NamedTuple):
    """A network of a source, what ``--variant`` has to say (a published model's name where there are such: several may
    have one network), and the layouts that it goes to."""

    layout: LayoutTable
    one: Variant
    word: str
    targets: list[str]


def cases(only: Sequence[str]) -> Iterator[Case]:
    """Every network of every source, under each of its models' names."""
    for name in layout_names():
        layout = load_layout(name)
        for family in families(layout) if layout.format != "pytorch" else ():
            for one in variants(family):
                if layout.support_for(one.name).unsupported or not any(
                    fnmatchcase(one.name, glob) for glob in only
                ):
                    continue
                named = [row.name for row in models(layout) if is_for(row.variants, one.name)]
                targets = [
                    to
                    for to in holding_layouts(one)[0]
                    if not left_out(load_layout(to), one) - left_out(layout, one)
                ]
                for word in named or [one.name]:
                    yield Case(layout, one, word, targets)


def smallest(found: Sequence[Case]) -> Iterator[Case]:
    """Of those of one family and source the ones with the fewest weights that go to a layout."""
    weights = [parameters(case.one, sizes_of(case.one), {}) for case in found]
    chosen: dict[tuple[str, str, str], int] = {}
    for place in sorted(range(len(found)), key=weights.__getitem__):
        case = found[place]
        for to in case.targets:
            chosen.setdefault((case.layout.name, case.one.family, to), place)
    for place in sorted(set(chosen.values())):
        yield found[place]._replace(targets=[to for (_, _, to), winner in chosen.items() if winner == place])


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what is asked for; returns 1 where something fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="GLOB", help="networks; may be repeated")
    parser.add_argument(
        "--smallest", action="store_true", help="one network of each family, source and layout"
    )
    parser.add_argument("--device", default="cpu", help="where the outputs run: cpu, cuda or auto")
    options = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        clip, out = os.path.join(folder, "clip.npy"), os.path.join(folder, "out.pth")
        found = list(cases(options.only or ["*"]))
        if not found:
            parser.error(f"no network is called {' or '.join(options.only)}")
        for layout, one, word, targets in smallest(found) if options.smallest else found:
            source = os.path.join(folder, f"source.{SUFFIX[layout.format]}")
            write(source, layout, list(tensors_of(layout, one)))
            shape = CLIPS.get(f"{layout.name}/{one.family}", CLIPS.get(one.family))
            if shape is not None:
                frames = one.values.get("stem_t", [3])[0] if one.name.startswith("r2d-") else shape[2]
                size = (*shape[:2], frames, *shape[3:])
                np.save(clip, np.random.default_rng(2).standard_normal(size, np.float32))
            for to in targets:
                started, more = perf_counter(), ""
                try:
                    convert(layout.name, source, out, to=to, variant=word, force=True)
                except Refused as error:  # a model's settings may be none of a layout's
                    print(f"none {layout.name} -> {to}: {one.name} ({word}): {error.what}", flush=True)
                    continue
                try:
                    proof = verify(
                        source,
                        out,
                        source_layout=layout.name,
                        layout=to,
                        variant=word,
                        clip=clip if shape is not None else None,
                        device=options.device,
                    )
                    good, text = proof.ok, f"{len(proof.exact.changed)} tensors differ"
                    more = "" if good else "\n" + verification_text(proof)
                    if proof.functional is not None:
                        worst = max(proof.functional.blocks, key=lambda block: block.relative)
                        text += f", worst block {worst.name} {worst.relative:.1e}"
                    else:  # a source whose networks nobody has written from its side
                        text += f"; {proof.skipped}"
                except ConverterError as error:
                    good, text = False, str(error)
                failed += not good
                seconds = perf_counter() - started
                name = one.name if word == one.name else f"{one.name} ({word})"
                text = f"{layout.name} -> {to}: {name}: {text} ({seconds:.1f} s)"
                print(f"{'ok  ' if good else 'FAIL'} {text}{more}", flush=True)
    print(f"{failed} failed" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
