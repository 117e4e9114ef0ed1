#!/usr/bin/env python3
"""Verify every mapping: each network of each source, with seeded weights, converted to each layout that holds it.

For each pair a file as the source framework writes it, a conversion, and `convert verify` on a small clip: every byte
back, every block equal in onnxruntime (the source's side) and PyTorch (ours). Exit code 1 where one fails.

    python scripts/check_parity.py                         all, an hour on two cores
    python scripts/check_parity.py --only '*-18' --only i3d
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from fnmatch import fnmatchcase
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, REPOSITORY)

from converters import convert, verify  # noqa: E402
from converters.errors import ConverterError, Refused  # noqa: E402
from converters.mapping.layout import entries, families  # noqa: E402
from converters.mapping.network import variants  # noqa: E402
from converters.mapping.tables import DIVISOR, layout_names, load_layout  # noqa: E402
from converters.support import holding_layouts  # noqa: E402
from converters.tensor import Held, Tensor  # noqa: E402
from converters.write.atomic import replacing  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.layout import Entry
    from converters.mapping.network import Variant
    from converters.mapping.tables import LayoutTable

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
}
"""Small and odd; of `resnet2d_audio` the log-mels are always of one size."""

SUFFIX = {"caffe2-pickle": "pkl", "tensorflow": "ckpt", "caffe": "caffemodel", "chainer": "npz"}


def tensors_of(layout: LayoutTable, one: Variant) -> Iterator[Tensor]:
    """Seeded tensors of one network under a layout's names, kept in range over depth."""
    random = np.random.default_rng(1)
    first = {name: value[0] for name, value in one.values.items() if isinstance(value, list)}
    sizes = {"stem_t": 3, **first, **SIZES}
    for entry in entries(layout, one, sizes, {}):
        if entry.name:
            shape = entry.file_shape(sizes)
            plain = tuple(size if isinstance(size, int) else sizes[size] for size in entry.shape)
            value = (drawn(random, entry, plain)).astype("<f4").reshape(-1)
            yield Tensor(entry.name, "float32", shape, Held(value.view("u1").data))


def drawn(random: np.random.Generator, entry: Entry, shape: Sequence[int]) -> np.ndarray:
    """Values of one tensor. Order of axes does not matter to noise."""
    if entry.leaf == DIVISOR:
        return np.full(shape, 2.0)
    noise = random.standard_normal(shape)
    if entry.leaf == "running_var" or (entry.leaf == "weight" and entry.kind == "bn"):
        return 1 + 0.3 * np.tanh(noise)
    return noise * (prod(shape[1:]) ** -0.5 if entry.leaf == "weight" else 0.1)


def write(path: str, layout: LayoutTable, tensors: list[Tensor]) -> None:
    """Write a file of the layout's own format."""
    if layout.format == "tensorflow":
        from converters.write.tensorflow import checkpoint_names, write_tensorflow

        data, index = checkpoint_names(path)
        with replacing(data, force=True) as data_out, replacing(index, force=True) as index_out:
            write_tensorflow(data_out, index_out, tensors)
        return
    with replacing(path, force=True) as out:
        if layout.format == "caffe2-pickle":
            from converters.write.caffe2 import write_caffe2_pickle

            write_caffe2_pickle(out, tensors)
        elif layout.format == "caffe":
            from converters.write.caffe import write_caffemodel

            write_caffemodel(out, tensors)
        else:
            from converters.write.npz import write_npz

            write_npz(out, tensors)


def cases(only: Sequence[str]) -> Iterator[tuple[LayoutTable, Variant, str]]:
    """Every network of every source, and what to ask for: one of its models where a layout has several."""
    for name in layout_names():
        layout = load_layout(name)
        for family in families(layout) if layout.format != "pytorch" else ():
            for one in variants(family):
                if layout.holding(one.name).refuse or not any(fnmatchcase(one.name, glob) for glob in only):
                    continue
                rows = [
                    row for row in layout.made_for if any(fnmatchcase(one.name, v) for v in row["variants"])
                ]
                for word in [row["name"] for row in rows if "name" in row] or [one.name]:
                    yield layout, one, word


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what is asked for; returns 1 where something fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="GLOB", help="networks; may be repeated")
    parser.add_argument("--device", default="cpu", help="where the outputs run: cpu, cuda or auto")
    options = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        clip, out = os.path.join(folder, "clip.npy"), os.path.join(folder, "out.pth")
        for layout, one, word in cases(options.only or ["*"]):
            source = os.path.join(folder, f"source.{SUFFIX[layout.format]}")
            write(source, layout, list(tensors_of(layout, one)))
            if one.family in CLIPS:
                shape = CLIPS[one.family]
                frames = one.values.get("stem_t", [3])[0] if one.name.startswith("r2d-") else shape[2]
                size = (*shape[:2], frames, *shape[3:])
                np.save(clip, np.random.default_rng(2).standard_normal(size, np.float32))
            for to in holding_layouts(one)[0]:
                started = perf_counter()
                try:
                    convert(layout.name, source, out, to=to, variant=word, force=True)
                except Refused as error:  # a model's settings may be none of a layout's
                    print(f"none {layout.name} -> {to}: {one.name} ({word}): {error.what}", flush=True)
                    continue
                try:
                    found = verify(
                        source,
                        out,
                        source_layout=layout.name,
                        layout=to,
                        variant=word,
                        clip=clip if one.family in CLIPS else None,
                        device=options.device,
                    )
                    good, text = found.ok, f"{len(found.exact.changed)} tensors differ"
                    if found.functional is not None:
                        worst = max(found.functional.blocks, key=lambda block: block.relative)
                        text += f", worst block {worst.name} {worst.relative:.1e}"
                    else:
                        text += f"; {found.skipped}"
                except ConverterError as error:
                    good, text = False, str(error)
                failed += not good
                seconds = perf_counter() - started
                name = one.name if word == one.name else f"{one.name} ({word})"
                text = f"{layout.name} -> {to}: {name}: {text} ({seconds:.1f} s)"
                print(f"{'ok  ' if good else 'FAIL'} {text}", flush=True)
    print(f"{failed} failed" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
