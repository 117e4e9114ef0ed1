"""Record what TensorFlow's model garden computes for its MoViNets, as small ``.npz`` goldens, and its variables.

Runs alone with TensorFlow 2.20, tf-keras and tf-models-official; ``scripts/README.md`` says how to make that
environment. Nothing of the project is imported. Weights come from a seed, and TensorFlow restores them by the object
graph of a checkpoint that it wrote itself, so that every one goes where its name says.

    python scripts/record/record_movinet.py                       record every golden
    python scripts/record/record_movinet.py --only a0-base_6x72   one of them (repeatable)
    python scripts/record/record_movinet.py --list                names, shapes, seeds; runs nothing
    python scripts/record/record_movinet.py --check FILE.npz ...  run the same again and compare
    python scripts/record/record_movinet.py --tables FILE.json.gz write the variables of all networks instead

The keys of a file and the recipe of weights and clips are described in ``tests/goldens/README.md``.
"""

from __future__ import annotations

import gzip
import importlib.abc
import importlib.machinery
import json
import os
import sys
import tempfile
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from recording import (
    CLOSE,
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUT = os.path.join(GOLDENS, "movinet")
RECIPE = "movinet-golden-1"
SAMPLES = 64
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

ABSENT = (
    *("Cython", "PIL", "cv2", "gin", "google_auth_httplib2", "googleapiclient", "immutabledict", "kaggle"),
    *("matplotlib", "oauth2client", "pandas", "psutil", "pycocotools", "sacrebleu", "scipy", "sentencepiece"),
    *("seqeval", "sklearn", "tensorflow_addons", "tensorflow_datasets", "tensorflow_hub"),
    *("tensorflow_model_optimization", "tensorflow_text", "tf_slim"),
)
"""What the model garden imports and these networks do not use."""


class Anything:
    """Stands for all that a module of `ABSENT` has: a decorator, a base class, a function."""

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __mro_entries__(self, _: Any) -> tuple[type, ...]:
        return ()


class Empty(types.ModuleType):
    """A module of `ABSENT`."""

    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `ABSENT`."""

    def find_spec(self, name: str, *_: Any) -> Any:
        """A module that is `Empty`."""
        if name.partition(".")[0] in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Empty:
        """The module."""
        return Empty(spec.name)

    def exec_module(self, module: Any) -> None:
        """There is nothing to run."""


sys.meta_path.append(Absent())

import tensorflow as tf  # noqa: E402
from official.projects.movinet.modeling import movinet, movinet_model  # noqa: E402

PRODUCER = f"TensorFlow {tf.__version__}, tf-models-official 2.20.0, CPU, float32"


class Spec(NamedTuple):
    """One golden: the network (``a0-stream``), its classes, the clip (N, T, H, W) and the seeds."""

    name: str
    network: str
    classes: int
    clip: tuple[int, int, int, int]
    weight_seed: int
    input_seed: int


# Padding depends on the parity of each size at every stride: even, odd, and different in height and width.
NETWORKS = (
    ("a0-base_6x72", "a0-base", 600, (1, 6, 72, 72)),
    ("a0-base_5x65x91_two", "a0-base", 400, (2, 5, 65, 91)),
    ("a1-base_4x64x80", "a1-base", 600, (1, 4, 64, 80)),
    ("a1-base_3x75x61", "a1-base", 51, (1, 3, 75, 61)),
    ("a2-base_4x66x70", "a2-base", 600, (1, 4, 66, 70)),
    ("a2-base_3x81x57", "a2-base", 400, (1, 3, 81, 57)),
    ("a3-base_3x64x96", "a3-base", 600, (1, 3, 64, 96)),
    ("a3-base_2x67x77", "a3-base", 101, (1, 2, 67, 77)),
    ("a0-stream_6x72", "a0-stream", 600, (1, 6, 72, 72)),
    ("a0-stream_5x65x91_two", "a0-stream", 400, (2, 5, 65, 91)),
    ("a1-stream_4x64x80", "a1-stream", 600, (1, 4, 64, 80)),
    ("a1-stream_3x75x61", "a1-stream", 51, (1, 3, 75, 61)),
    ("a2-stream_4x66x70", "a2-stream", 600, (1, 4, 66, 70)),
    ("a2-stream_3x81x57", "a2-stream", 400, (1, 3, 81, 57)),
    ("a3-stream_6x64x96", "a3-stream", 600, (1, 6, 64, 96)),
    ("a3-stream_5x67x77", "a3-stream", 101, (1, 5, 67, 77)),
)


def specs() -> list[Spec]:
    """All goldens, with their seeds."""
    return [Spec(*row, weight_seed=5201 + n, input_seed=6301 + n) for n, row in enumerate(NETWORKS)]


def build(network: str, classes: int) -> Any:
    """A classifier as the model garden's README builds it."""
    model, _, form = network.partition("-")
    options: dict[str, Any] = {}
    if form == "stream":
        options = {
            "causal": True,
            "conv_type": "2plus1d",
            "se_type": "2plus3d",
            "activation": "hard_swish",
            "gating_activation": "hard_sigmoid",
            "use_positional_encoding": model in ("a3", "a4", "a5"),
            "use_external_states": True,
        }
    backbone = movinet.Movinet(model_id=model, use_sync_bn=False, **options)
    return movinet_model.MovinetClassifier(backbone, num_classes=classes, output_states=form == "stream")


def variables_of(model: Any, folder: str) -> tuple[dict[str, tuple[int, ...]], bytes]:
    """The shapes of a model's variables by their names in a checkpoint, and the checkpoint's object graph."""
    reader = tf.train.load_checkpoint(tf.train.Checkpoint(model=model).save(os.path.join(folder, "own")))
    shapes = {
        name: tuple(shape)
        for name, shape in reader.get_variable_to_shape_map().items()
        if name.startswith("model/")
    }
    return shapes, reader.get_tensor(GRAPH)


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Recipe movinet-golden-1: float32 arrays of all variables, drawn in sorted order of their names."""
    random = np.random.RandomState(seed)
    arrays = {}
    for name in sorted(shapes):
        shape, leaf = shapes[name], name[: -len(SUFFIX)].rpartition("/")[2]
        if leaf == "gamma":
            value = random.uniform(0.5, 1.2, shape)
        elif leaf == "moving_variance":
            value = random.uniform(0.5, 1.5, shape)
        elif leaf == "scale":
            value = random.uniform(0.3, 1.0, shape)
        elif leaf in ("beta", "bias", "moving_mean"):
            value = 0.1 * random.standard_normal(shape)
        elif leaf in ("kernel", "depthwise_kernel"):
            inputs = shape[:-2] if leaf == "depthwise_kernel" else shape[:-1]
            value = np.sqrt(1.5 / np.prod(inputs)) * random.standard_normal(shape)
        else:
            raise ValueError("no rule for variable " + name)
        arrays[name] = np.asarray(value).astype(np.float32)
    return arrays


def clip_of(spec: Spec) -> np.ndarray:
    """Recipe movinet-golden-1: (N, T, H, W, 3) float32 in [0, 1]."""
    return np.random.RandomState(spec.input_seed).random_sample((*spec.clip, 3)).astype(np.float32)


def restore(model: Any, values: Mapping[str, np.ndarray], graph: bytes, folder: str) -> None:
    """Have TensorFlow restore every variable from a checkpoint with these values."""
    prefix = os.path.join(folder, "seeded")
    tensors = {GRAPH: tf.constant(graph), f"save_counter{SUFFIX}": tf.constant(1, tf.int64)}
    tensors |= {name: tf.constant(value) for name, value in values.items()}
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    tf.train.Checkpoint(model=model).restore(prefix).assert_consumed()


def record(spec: Spec) -> dict[str, Any]:
    """Run TensorFlow; what goes into the file."""
    model = build(spec.network, spec.classes)
    clip = clip_of(spec)
    with tempfile.TemporaryDirectory() as folder:
        shapes, graph = variables_of(model, folder)
        values = weights(shapes, spec.weight_seed)
        restore(model, values, graph, folder)
    streams = spec.network.endswith("stream")
    states = dict(model.init_states(tf.constant(clip.shape))) if streams else {}
    points, _ = model.backbone({**states, "image": tf.constant(clip)})
    logits = model({**states, "image": tf.constant(clip)})
    golden = {
        "recipe": RECIPE,
        "producer": PRODUCER,
        "network": spec.network,
        "classes": spec.classes,
        "weight_seed": spec.weight_seed,
        "input_seed": spec.input_seed,
        "input_shape": np.array(clip.shape),
        "weights_sha256": sha256_of_all(values),
        "input_sha256": sha256(clip),
        "logits": (logits[0] if streams else logits).numpy(),
        **blocks_of({name: value.numpy() for name, value in points.items()}, spec.input_seed + 1),
    }
    if streams:
        each = []
        for frame in range(clip.shape[1]):
            logits, states = model({**states, "image": tf.constant(clip[:, frame : frame + 1])})
            each.append(logits.numpy())
        golden["step_logits"] = np.stack(each, 1)
    return golden


def blocks_of(points: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """What is kept of every block's output."""
    names, shapes, stats, indices, samples = [], [], [], [], []
    pick = np.random.RandomState(seed)
    for name, block in points.items():
        flat = block.ravel()
        index = np.sort(pick.randint(0, len(flat), SAMPLES))
        names.append(name)
        shapes.append(block.shape)
        stats.append(statistics(block))
        indices.append(index)
        samples.append(flat[index])
    return {
        "blocks": np.array(names),
        "block_shapes": json.dumps(shapes),
        "block_stats": np.array(stats),
        "block_index": np.array(indices, np.int32),
        "block_values": np.array(samples),
    }


def check(path: str) -> bool:
    """Run the same again and compare."""
    want, name = load_npz(path), stem(path)
    n, frames, height, width, _ = (int(size) for size in want["input_shape"])
    seeds = int(want["weight_seed"]), int(want["input_seed"])
    got = record(Spec(name, str(want["network"]), int(want["classes"]), (n, frames, height, width), *seeds))
    same = all(str(got[key]) == str(want[key]) for key in ("weights_sha256", "input_sha256", "block_shapes"))
    logits = difference(got["logits"], want["logits"])
    blocks = difference(got["block_values"], want["block_values"])
    print(f"{name:30s} {'same' if same else 'OTHER WEIGHTS'}, logits {logits:.1e} apart, blocks {blocks:.1e}")
    return same and logits <= CLOSE and blocks <= CLOSE


def write_tables(path: str) -> int:
    """The variables of all networks, 600 classes: names without the suffix, and shapes."""
    tables = {}
    for model in ("a0", "a1", "a2", "a3", "a4", "a5"):
        for form in ("base", "stream"):
            with tempfile.TemporaryDirectory() as folder:
                shapes, _ = variables_of(build(f"{model}-{form}", 600), folder)
            tables[f"{model}-{form}"] = {
                name[len("model/") : -len(SUFFIX)]: shapes[name] for name in sorted(shapes)
            }
            print(f"{model}-{form:8s} {len(shapes)} variables")
    with open(path, "wb") as file:
        file.write(gzip.compress(json.dumps(tables, separators=(",", ":")).encode(), 9, mtime=0))
    return 0


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--tables", metavar="FILE", help="write the variables of all networks instead")
    options = parser.parse_args()
    known = {spec.name: spec for spec in specs()}
    names = chosen(parser, options, known)
    if options.list:
        lines = {
            name: f"{spec.network:10s} {'x'.join(map(str, spec.clip)):12s} seeds {spec.weight_seed} {spec.input_seed}"
            for name, spec in known.items()
        }
        return print_list(lines, names)
    if options.tables:
        return write_tables(options.tables)
    if options.check:
        return check_all(options.check, check)
    return record_all(names, lambda name: record(known[name]), options.out)


if __name__ == "__main__":
    sys.exit(main())
