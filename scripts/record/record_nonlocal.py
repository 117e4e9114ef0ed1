"""Record what real Caffe2 computes for video-nonlocal-net's networks, from seeded weights, as small ``.npz`` goldens.

Runs in the environment of ``record_caffe2.py``, see ``scripts/README.md``, and imports nothing of the project: the
networks are the operators that video-nonlocal-net's own builders made (``tests/data/nonlocal-ops.json.gz``), so that
neither the project's mappings nor its PyTorch networks can agree with a golden by sharing a mistake with it. AffineNd,
which only a GPU has, is a multiplication and an addition over the channels. Caffe2's reshapes name sizes of the
original crop where frames are grouped: that network takes 224 pixels only.

    python scripts/record/record_nonlocal.py                  record every golden
    python scripts/record/record_nonlocal.py --list           names and clips; runs nothing
    python scripts/record/record_nonlocal.py --check FILE...  run the same again and compare

Files are of the form and recipe that ``tests/goldens/README-zoo.md`` describes.
"""

from __future__ import annotations

import os

# One thread: the same order of additions on any number of cores. Read when the libraries load.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import gzip
import hashlib
import json
import sys
import zlib
from typing import Any, NamedTuple

import numpy as np
from recording import (
    CLOSE,
    DATA,
    GOLDENS,
    check_all,
    chosen,
    command_line,
    difference,
    little_endian,
    load_npz,
    print_list,
    record_all,
    sha256,
    stem,
)

OUT = os.path.join(GOLDENS, "nonlocal-recorded")


class Spec(NamedTuple):
    """One golden: the released model, the variant to ask for, and the clip. Odd sizes on purpose."""

    model: str
    variant: str
    clip: tuple


SPECS = {
    "c2d_baseline_8x8": Spec("c2d_baseline_8x8_IN_pretrain_400k", "8x8", (1, 3, 8, 219, 227)),
    "c2d_nonlocal_32x2": Spec("c2d_nonlocal_32x2_IN_pretrain_400k", "32x2", (1, 3, 32, 223, 218)),
    "i3d_nonlocal_8x8": Spec("i3d_nonlocal_8x8_IN_pretrain_400k", "8x8", (1, 3, 8, 221, 226)),
    "i3d_baseline_32x4": Spec("i3d_baseline_32x4_I3D_pretrain_400k", "32x4", (1, 3, 32, 217, 222)),
    "i3d_nonlocal_32x4": Spec("i3d_nonlocal_32x4_I3D_pretrain_400k", "32x4", (1, 3, 32, 224, 224)),
}


def read(name: str) -> Any:
    """A table of the tests' data."""
    with gzip.open(os.path.join(DATA, name), "rt", encoding="utf-8") as text:
        return json.load(text)


def uniform(name: str, seed: int, shape: tuple, low: float, high: float) -> np.ndarray:
    """A name's own stream (recipe U)."""
    stream = zlib.crc32(name.encode()) ^ (seed * 2654435761) % 2**32
    drawn = np.random.RandomState(stream).random_sample(int(np.prod(shape)))
    return (low + (high - low) * drawn).astype(np.float32).reshape(shape)


def weight(name: str, seed: int, shape: tuple) -> np.ndarray:
    """A blob's values (recipe U)."""
    low, high = -0.1, 0.1
    if name.endswith("_bn_s"):
        damped = name.endswith("branch2c_bn_s") or name.startswith("nonlocal")
        low, high = (0.1, 0.4) if damped else (0.6, 1.4)
    elif name.endswith(("_bn_b", "_bn_rm")):
        low, high = -0.2, 0.2
    elif name.endswith("_bn_riv"):
        low, high = 0.5, 1.5
    elif name.endswith("_w"):
        high = float(np.sqrt(6 / np.prod(shape[1:])))
        high *= 0.2 if name == "pred_w" else 0.5 if name.startswith("nonlocal") else 1
        low = -high
    return uniform(name, seed, shape, low, high)


def clip_of(seed: int, shape: tuple) -> np.ndarray:
    """Squares of 16 pixels and noise (recipe U)."""
    height, width = shape[-2:]
    coarse = uniform("clip/coarse", seed, (*shape[:-2], -(-height // 16), -(-width // 16)), -1.5, 1.5)
    coarse = coarse.repeat(16, axis=-2).repeat(16, axis=-1)[..., :height, :width]
    return coarse + uniform("clip/fine", seed, shape, -0.5, 0.5)


def operators(kind: str, read_: list, written: list, args: dict) -> list:
    """One operator of the table as Caffe2's own."""
    from caffe2.python import core

    if kind == "AffineNd":
        values, scale, shift = read_
        mul = core.CreateOperator("Mul", [values, scale], written, broadcast=1, axis=1)
        return [mul, core.CreateOperator("Add", [written[0], shift], written, broadcast=1, axis=1)]
    if kind in ("Conv", "SpatialBN", "MaxPool", "AveragePool"):
        args = dict(args, order="NCHW")
    return [core.CreateOperator(kind, read_, written, **args)]


def is_stage(kind: str, written: list, later: list) -> bool:
    """Whether the golden holds a blob: stem, pools, and the sums of blocks once nothing changes them any more."""
    name = written[0]
    if any(name in op[2] for op in later):
        return False
    return (
        name in ("res_conv1_bn", "pool1", "pool2", "pool5")
        or (name.startswith("res") and name.endswith("branch2c_bn"))
        or name.endswith("_sum")
    )


def record(name: str) -> dict:
    """Run one network and return its golden, key by key."""
    from caffe2.python import core, workspace

    spec = SPECS[name]
    table = read("nonlocal-ops.json.gz")[spec.model]
    blobs = {blob: tuple(shape) for blob, shape, _ in read("zoo-tables.json.gz")["nonlocal"][table["table"]]}
    seed = 3100 + sorted(SPECS).index(name)
    workspace.ResetWorkspace()
    digest = hashlib.sha256()
    for blob in sorted(blobs):
        value = weight(blob, seed, blobs[blob])
        digest.update(blob.encode() + little_endian(value))
        workspace.FeedBlob(blob, value)
    clip = clip_of(seed + 1000, spec.clip)
    workspace.FeedBlob("data", clip)
    stages, shapes, stats, samples = [], [], [], []
    ops = table["ops"]
    for at, (kind, reads, written, args) in enumerate(ops):
        net = core.Net("one")
        net.Proto().op.extend(operators(kind, reads, written, args))
        workspace.RunNetOnce(net)
        if is_stage(kind, written, ops[at + 1 :]):
            blob = workspace.FetchBlob(written[0])
            wide = blob.astype(np.float64).ravel()
            stages.append(written[0])
            shapes.append(list(blob.shape))
            stats.append([wide.mean(), wide.std(), np.abs(wide).max(), np.sqrt(np.dot(wide, wide))])
            samples.append(blob.ravel()[np.arange(64) * (blob.size - 1) // 63])
    meta = {
        "recipe": "U",
        "golden": name,
        "source": "facebookresearch/video-nonlocal-net@c253ed5 lib/models, run in Caffe2 (torch 1.8.1), CPU",
        "model": spec.model,
        "variant": spec.variant,
        "table": "blobs_{}.json".format(table["table"]),
        "split": "val",
        "weights_seed": seed,
        "clip_seed": seed + 1000,
        "input_shape": list(spec.clip),
        "weights_sha256": digest.hexdigest(),
        "input_sha256": sha256(clip),
        "stages": stages,
        "stage_shapes": shapes,
    }
    golden = {
        "meta": json.dumps(meta),
        "f32/logits": workspace.FetchBlob("pred"),
        "f32/stats": np.array(stats),
        "f32/samples": np.stack(samples).astype(np.float32),
    }
    workspace.ResetWorkspace()
    return golden


def check(path: str) -> bool:
    """Record again what a golden holds and print how far the two are apart. False where they differ."""
    want = load_npz(path)
    got = record(stem(path))
    apart = max(difference(got[key], want[key]) for key in ("f32/logits", "f32/samples", "f32/stats"))
    same = got["meta"] == str(want["meta"]) and apart <= CLOSE
    print("{:30s} {:.1e}  {}".format(os.path.basename(path), apart, "same" if same else "DIFFERS"))
    return same


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    options = parser.parse_args()
    names = chosen(parser, options, dict(sorted(SPECS.items())))
    if options.list:
        lines = {name: f"{'x'.join(map(str, spec.clip)):16s} {spec.model}" for name, spec in SPECS.items()}
        return print_list(lines, names)

    from caffe2.python import workspace

    workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])
    if options.check:
        return check_all(options.check, check)
    return record_all(names, record, options.out)


if __name__ == "__main__":
    sys.exit(main())
