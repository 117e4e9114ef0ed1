"""Record what real TensorFlow and Sonnet compute for kinetics-i3d's networks, as small ``.npz`` goldens.

Runs alone under Python 3.7 with TensorFlow 1.15 and Sonnet 1.36; ``scripts/README.md`` says how to make that
environment. Nothing of the project is imported: the variables are those of ``tests/data/i3d-tables.json.gz``, and
the graph is built here from Sonnet's own convolutions and batch norms under the same names, so that neither the
project's mappings nor its PyTorch network can agree with a golden by sharing a mistake with it.

    python scripts/record/record_tensorflow.py                       record every golden
    python scripts/record/record_tensorflow.py --only rgb_9x224      one of them (repeatable)
    python scripts/record/record_tensorflow.py --list                names, shapes, seeds; runs nothing
    python scripts/record/record_tensorflow.py --check FILE.npz ...  run the same again and compare
    python scripts/record/record_tensorflow.py --genuine PREFIX      record goldens of the checkpoint rgb_scratch

The keys of a file and the recipe of weights and inputs are described in ``tests/goldens/i3d/README.md``.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import warnings
from typing import Any, NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import sonnet as snt  # noqa: E402
import tensorflow as tf  # noqa: E402
from recording import (  # noqa: E402
    CLOSE,
    DATA,
    GOLDENS,
    check_all,
    chosen,
    command_line,
    difference,
    load_npz,
    print_list,
    record_all,
    sha256,
    sha256_of_all,
    statistics,
    stem,
)

TABLES = os.path.join(DATA, "i3d-tables.json.gz")
OUT = os.path.join(GOLDENS, "i3d")
GENUINE = os.path.join(GOLDENS, "i3d-genuine")
"""Goldens of DeepMind's own weights, which are not in the repository: `make real` has them."""

GENUINE_CLIPS = {
    "scratch_16x224": (1, 16, 224, 224),
    "scratch_33x201x223": (1, 33, 201, 223),
    "scratch_9x197x194_two": (2, 9, 197, 194),
}
GENUINE_SEED = 9501
RECIPE = "i3d-golden-1"
PRODUCER = f"TensorFlow {tf.__version__}, dm-sonnet 1.36, CPU, float32"
SAMPLES = 64

Table = dict
"""Shape of each variable by its name."""

Arrays = dict
"""Array of each variable by its name."""


class Spec(NamedTuple):
    """One golden: the table, another number of classes if not 0, the clip (N, T, H, W) and the seeds."""

    name: str
    table: str
    classes: int
    clip: tuple[int, int, int, int]
    weight_seed: int
    input_seed: int


# Heights and widths of 193 to 224 leave the 7x7 that the head needs. The padding depends on the parity of each
# axis at every layer, so sizes are odd and even in many ways.
NETWORKS = (
    ("rgb_9x224", "rgb", 0, (1, 9, 224, 224)),
    ("rgb_16x201x193_two", "rgb", 0, (2, 16, 201, 193)),
    ("rgb_64x224", "rgb", 0, (1, 64, 224, 224)),
    ("rgb_79x197x223", "rgb", 0, (1, 79, 197, 223)),
    ("flow_23x218x209_two", "flow", 0, (2, 23, 218, 209)),
    ("flow_79x224", "flow", 0, (1, 79, 224, 224)),
    ("rgb600_17x199x224_two", "rgb_600", 0, (2, 17, 199, 224)),
    ("rgb600_64x224", "rgb_600", 0, (1, 64, 224, 224)),
    ("rgb_101_26x194x206", "rgb", 101, (1, 26, 194, 206)),
    ("flow_51_11x203x216", "flow", 51, (1, 11, 203, 216)),
)

# Channels of the branches of every mixed block: 1x1, reduced and 3x3 twice, after the pool.
MIXED = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


def specs() -> list[Spec]:
    """All goldens, with their seeds."""
    return [Spec(*row, weight_seed=7401 + n, input_seed=9401 + n) for n, row in enumerate(NETWORKS)]


def read_tables(path: str) -> dict[str, Table]:
    """The networks' variables."""
    with gzip.open(path, "rt") as file:
        tables: dict[str, Table] = json.load(file)
        return tables


def table_of(spec: Spec, tables: dict[str, Table]) -> Table:
    """The variables of one golden."""
    table = dict(tables[spec.table])
    if spec.classes:
        for name in table:
            if "/Logits/" in name:
                table[name] = [*table[name][:-1], spec.classes]
    return table


def scope_of(table: Table) -> str:
    """What comes before the names of the units."""
    (name,) = (name for name in table if name.endswith("Conv3d_1a_7x7/conv_3d/w"))
    return name[: -len("Conv3d_1a_7x7/conv_3d/w")]


def weights(table: Table, seed: int) -> Arrays:
    """Recipe i3d-golden-1: float32 arrays of all variables, drawn in sorted order of their names."""
    random = np.random.RandomState(seed)
    arrays = {}
    for name in sorted(table):
        shape = table[name]
        count = int(np.prod(shape, dtype=int))
        unit, _, leaf = name.rpartition("/")
        if leaf == "Momentum":
            value = 0.01 * random.standard_normal(count)
        elif leaf == "beta":
            value = 0.3 * random.standard_normal(count)
        elif leaf == "b":
            value = 0.5 * random.standard_normal(count)
        elif leaf == "moving_mean":
            value = 0.3 * random.standard_normal(count)
        elif leaf == "moving_variance":
            square = random.random_sample(count) ** 2
            value = 3e-4 + (3 * square) * square
        elif leaf == "w":
            value = random.standard_normal(count) * np.sqrt(2 / np.prod(shape[:4]))
            variance = arrays.get(unit.rpartition("/")[0] + "/batch_norm/moving_variance")
            if variance is not None:
                value = (value.reshape(-1, shape[4]) * np.sqrt(variance.ravel().astype(float))).ravel()
        else:
            raise ValueError("no rule for variable " + name)
        arrays[name] = value.astype(np.float32).reshape(shape)
        if leaf == "moving_variance":
            mean = unit + "/moving_mean"
            arrays[mean] = (arrays[mean] * np.sqrt(value.reshape(shape))).astype(np.float32)
    return arrays


def clip_of(spec: Spec, channels: int) -> np.ndarray:
    """Recipe i3d-golden-1: (N, T, H, W, C) float32 in [-1, 1]."""
    random = np.random.RandomState(spec.input_seed)
    n, frames, height, width = spec.clip
    coarse = random.uniform(-0.9, 0.9, (n, -(-frames // 4), -(-height // 16), -(-width // 16), channels))
    value = random.uniform(-0.25, 0.25, (n, frames, height, width, channels))
    value = (
        coarse.repeat(4, 1)[:, :frames].repeat(16, 2)[:, :, :height].repeat(16, 3)[:, :, :, :width] + value
    )
    value += np.linspace(-0.2, 0.3, height)[:, None, None]
    value += np.linspace(0.15, -0.1, width)[:, None]
    value += np.linspace(-0.1, 0.05, channels)
    for frame in range(frames):
        top, left = 7 * frame % (height - 40), width // 3
        value[:, frame, top : top + 40, left : left + 48] += 0.4
    return np.clip(value, -1, 1).astype(np.float32)


def network(clip: tf.Tensor, scope: str, classes: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Blocks by name in the order computed, and the logits of every frame that is left."""

    def unit(x: tf.Tensor, name: str, channels: int, size: int, stride: int = 1) -> tf.Tensor:
        with tf.compat.v1.variable_scope(scope + name):
            x = snt.Conv3D(channels, size, stride=stride, padding=snt.SAME, use_bias=False, name="conv_3d")(x)
            return tf.nn.relu(snt.BatchNorm(name="batch_norm")(x, is_training=False, test_local_stats=False))

    def pool(x: tf.Tensor, size: list[int], stride: list[int]) -> tf.Tensor:
        return tf.nn.max_pool3d(x, [1, *size, 1], [1, *stride, 1], "SAME")

    blocks = {}
    x = blocks["Conv3d_1a_7x7"] = unit(clip, "Conv3d_1a_7x7", 64, 7, 2)
    x = blocks["MaxPool3d_2a_3x3"] = pool(x, [1, 3, 3], [1, 2, 2])
    x = blocks["Conv3d_2b_1x1"] = unit(x, "Conv3d_2b_1x1", 64, 1)
    x = blocks["Conv3d_2c_3x3"] = unit(x, "Conv3d_2c_3x3", 192, 3)
    x = blocks["MaxPool3d_3a_3x3"] = pool(x, [1, 3, 3], [1, 2, 2])
    for number, (only, middle, right, pooled) in MIXED.items():
        if number == "4b":
            x = blocks["MaxPool3d_4a_3x3"] = pool(x, [3, 3, 3], [2, 2, 2])
        if number == "5b":
            x = blocks["MaxPool3d_5a_2x2"] = pool(x, [2, 2, 2], [2, 2, 2])
        name = "Mixed_" + number
        last = "Conv3d_0a_3x3" if number == "5b" else "Conv3d_0b_3x3"  # as it is called in the checkpoints
        x = blocks[name] = tf.concat(
            [
                unit(x, name + "/Branch_0/Conv3d_0a_1x1", only, 1),
                unit(
                    unit(x, name + "/Branch_1/Conv3d_0a_1x1", middle[0], 1),
                    name + "/Branch_1/Conv3d_0b_3x3",
                    middle[1],
                    3,
                ),
                unit(
                    unit(x, name + "/Branch_2/Conv3d_0a_1x1", right[0], 1),
                    name + "/Branch_2/" + last,
                    right[1],
                    3,
                ),
                unit(pool(x, [3, 3, 3], [1, 1, 1]), name + "/Branch_3/Conv3d_0b_1x1", pooled, 1),
            ],
            4,
        )
    x = tf.nn.avg_pool3d(x, [1, 2, 7, 7, 1], [1, 1, 1, 1, 1], "VALID")
    with tf.compat.v1.variable_scope(scope + "Logits/Conv3d_0c_1x1"):
        x = snt.Conv3D(classes, 1, padding=snt.SAME, use_bias=True, name="conv_3d")(x)
    return blocks, tf.squeeze(x, [2, 3])


def genuine(prefix: str) -> Arrays:
    """The variables of a checkpoint, as TensorFlow reads it."""
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def record(spec: Spec, tables: dict[str, Table], checkpoint: str = "") -> dict[str, Any]:
    """Run TensorFlow, with the variables of a checkpoint or else seeded ones; what goes into the file."""
    table = table_of(spec, tables)
    scope = scope_of(table)
    values = genuine(checkpoint) if checkpoint else weights(table, spec.weight_seed)
    channels = table[scope + "Conv3d_1a_7x7/conv_3d/w"][3]
    classes = table[scope + "Logits/Conv3d_0c_1x1/conv_3d/w"][4]
    clip = clip_of(spec, channels)
    with tf.Graph().as_default():
        feed = tf.compat.v1.placeholder(tf.float32, clip.shape)
        blocks, logits = network(feed, scope, classes)
        fetched = {name: tf.identity(block) for name, block in blocks.items()}
        with tf.compat.v1.Session() as session:
            taken = set()
            for variable in tf.compat.v1.global_variables():
                name = variable.op.name
                variable.load(values[name].reshape(variable.shape.as_list()), session)
                taken.add(name)
            missed = {name for name in values if not name.endswith("/Momentum")} ^ taken
            assert not missed, missed
            fetched, frames = session.run((fetched, logits), {feed: clip})
    names, shapes, stats, indices, samples = [], [], [], [], []
    pick = np.random.RandomState(spec.input_seed + 1)
    for name, block in fetched.items():
        flat = block.ravel()
        index = np.sort(pick.randint(0, len(flat), SAMPLES))
        names.append(name)
        shapes.append(block.shape)
        stats.append(statistics(block))
        indices.append(index)
        samples.append(flat[index])
    return {
        "recipe": RECIPE,
        "producer": PRODUCER,
        "table": spec.table,
        "classes": classes,
        "weight_seed": spec.weight_seed,
        "input_seed": spec.input_seed,
        "input_shape": np.array(clip.shape),
        "weights_sha256": sha256_of_all(values),
        "input_sha256": sha256(clip),
        "logits": frames.mean(1),
        "frame_logits": frames,
        "blocks": np.array(names),
        "block_shapes": json.dumps(shapes),
        "block_stats": np.array(stats),
        "block_index": np.array(indices, np.int32),
        "block_values": np.array(samples),
    }


def check(path: str, tables: dict[str, Table]) -> bool:
    """Run the same again and compare."""
    want, name = load_npz(path), stem(path)
    n, frames, height, width, _ = (int(size) for size in want["input_shape"])
    spec = {spec.name: spec for spec in specs()}.get(name) or Spec(
        name,
        os.path.basename(str(want["table"])).replace(".json", ""),
        0,
        (n, frames, height, width),
        int(want["weight_seed"]),
        int(want["input_seed"]),
    )
    got = record(spec, tables)
    same = all(str(got[key]) == str(want[key]) for key in ("weights_sha256", "input_sha256", "block_shapes"))
    logits = difference(got["frame_logits"], want["frame_logits"])
    largest = np.abs(want["block_stats"][:, 2:4]).max()
    blocks = difference(got["block_stats"][:, :4], want["block_stats"][:, :4], largest)
    print(f"{name:30s} {'same' if same else 'OTHER WEIGHTS'}, logits {logits:.1e} apart, blocks {blocks:.1e}")
    return same and logits <= CLOSE and blocks <= CLOSE


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--tables", default=TABLES, help="the tables of variables, a .json.gz")
    parser.add_argument(
        "--genuine", metavar="PREFIX", help="the checkpoint rgb_scratch, as `make real` rebuilds it"
    )
    options = parser.parse_args()
    known = {spec.name: spec for spec in specs()}
    names = chosen(parser, options, known)
    if options.list:
        lines = {
            name: f"{spec.table:8s} {'x'.join(map(str, spec.clip)):14s} seeds {spec.weight_seed} {spec.input_seed}"
            for name, spec in known.items()
        }
        return print_list(lines, names)
    tables = read_tables(options.tables)
    if options.genuine:
        clips = {
            name: Spec(name, "rgb", 0, clip, 0, GENUINE_SEED + number)
            for number, (name, clip) in enumerate(GENUINE_CLIPS.items())
        }
        return record_all(list(clips), lambda name: record(clips[name], tables, options.genuine), GENUINE)
    if options.check:
        return check_all(options.check, lambda path: check(path, tables))
    return record_all(names, lambda name: record(known[name], tables), options.out)


if __name__ == "__main__":
    sys.exit(main())
