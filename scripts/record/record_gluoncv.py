"""Record what real MXNet and GluonCV compute for GluonCV's video networks, as small ``.npz`` goldens.

Runs alone under Python 3.11 with MXNet 1.9.1 and GluonCV 0.10.5; ``scripts/README.md`` says how to make that
environment. Nothing of the project is imported, and nothing is downloaded: GluonCV builds each network, and seeded
weights are set.

    python scripts/record/record_gluoncv.py                          record every golden and the tables of names
    python scripts/record/record_gluoncv.py --only c3d_16x112        one of them (repeatable)
    python scripts/record/record_gluoncv.py --list                   names, networks, seeds; runs nothing
    python scripts/record/record_gluoncv.py --check FILE.npz ...     run the same again and compare

The keys of a file and the recipe of weights and inputs are described in ``tests/goldens/gluoncv/README.md``.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import re
import sys
import tempfile
import warnings
from functools import cache
from typing import Any, NamedTuple

os.environ.setdefault("MXNET_HOME", tempfile.gettempdir())
warnings.filterwarnings("ignore")

import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402
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

try:
    from gluoncv.model_zoo import get_model
except ImportError:  # a part of the package that needs torch; the networks are loaded before it
    from gluoncv.model_zoo import get_model

TABLES = os.path.join(DATA, "gluoncv-tables.json.gz")
OUT = os.path.join(GOLDENS, "gluoncv")
RECIPE = "gluoncv-golden-1"
PRODUCER = f"MXNet {mx.__version__}, GluonCV 0.10.5, CPU, float32"
SAMPLES = 32

BLOCKS = re.compile(
    r"first_stage|res_layers\.\d+\.\d+|(fast|slow)_(maxpool|res\d\.\d+)|lateral_\w+|layer\d\.\d+|maxpool\d?|pool\d"
    r"|features\.\d+|conv[123]\.2|inception\d\w"
)
"""The blocks of a network whose outputs are recorded, if they run once."""

ADDED = re.compile(r"(bn3|bottleneck\.7|nonlocal_block\.bn|bottleneck\.8\.bn)\.gamma$")
"""The scales of what is added to a residual block's input: small, so that the sums do not grow."""


class Spec(NamedTuple):
    """One golden: GluonCV's network, its number of classes, segments, the input and the seeds."""

    name: str
    model: str
    classes: int
    segments: int
    shape: tuple[int, ...]
    weight_seed: int
    input_seed: int


NETWORKS = (
    ("i3d_resnet50_16x72", "i3d_resnet50_v1_kinetics400", 400, 1, (1, 3, 16, 72, 64)),
    ("i3d_resnet50_9x65_two", "i3d_resnet50_v1_kinetics400", 51, 2, (2, 3, 9, 65, 80)),
    ("i3d_resnet101_8x64", "i3d_resnet101_v1_kinetics400", 174, 1, (1, 3, 8, 64, 72)),
    ("i3d_nl5_resnet50_16x64", "i3d_nl5_resnet50_v1_kinetics400", 400, 1, (1, 3, 16, 64, 64)),
    ("i3d_nl5_resnet50_9x72", "i3d_nl5_resnet50_v1_kinetics400", 101, 1, (2, 3, 9, 72, 57)),
    ("i3d_nl10_resnet50_8x64", "i3d_nl10_resnet50_v1_kinetics400", 400, 1, (1, 3, 8, 64, 64)),
    ("i3d_nl5_resnet101_8x56", "i3d_nl5_resnet101_v1_kinetics400", 400, 1, (1, 3, 8, 56, 64)),
    ("i3d_nl10_resnet101_8x64", "i3d_nl10_resnet101_v1_kinetics400", 400, 1, (1, 3, 8, 64, 56)),
    ("i3d_slow_resnet101_8x64", "i3d_slow_resnet101_f16s4_kinetics700", 700, 1, (1, 3, 8, 64, 64)),
    ("i3d_slow_resnet101_5x72", "i3d_slow_resnet101_f16s4_kinetics700", 700, 1, (1, 3, 5, 72, 57)),
    ("slowfast_4x16_resnet50_36x64", "slowfast_4x16_resnet50_kinetics400", 400, 1, (1, 3, 36, 64, 64)),
    ("slowfast_4x16_resnet50_36x72", "slowfast_4x16_resnet50_kinetics400", 51, 1, (2, 3, 36, 72, 57)),
    ("slowfast_8x8_resnet50_40x64", "slowfast_8x8_resnet50_kinetics400", 400, 1, (1, 3, 40, 64, 64)),
    ("slowfast_8x8_resnet101_40x64", "slowfast_8x8_resnet101_kinetics400", 400, 1, (1, 3, 40, 64, 56)),
    ("slowfast_16x8_50_50_80x56", "slowfast_16x8_resnet101_50_50_kinetics400", 400, 1, (1, 3, 80, 56, 64)),
    ("r2plus1d_resnet18_8x56", "r2plus1d_resnet18_kinetics400", 400, 1, (1, 3, 8, 56, 64)),
    ("r2plus1d_resnet18_5x49_two", "r2plus1d_resnet18_kinetics400", 101, 2, (2, 3, 5, 49, 70)),
    ("r2plus1d_resnet34_8x56", "r2plus1d_resnet34_kinetics400", 400, 1, (1, 3, 8, 56, 49)),
    ("r2plus1d_resnet50_8x56", "r2plus1d_resnet50_kinetics400", 400, 1, (1, 3, 8, 56, 56)),
    ("r2plus1d_resnet50_5x60", "r2plus1d_resnet50_kinetics400", 400, 1, (1, 3, 5, 60, 49)),
    ("c3d_16x112", "c3d_kinetics400", 400, 1, (1, 3, 16, 112, 112)),
    ("c3d_16x112_two", "c3d_kinetics400", 101, 2, (2, 3, 16, 112, 112)),
    ("i3d_inceptionv1_16x64", "i3d_inceptionv1_kinetics400", 400, 1, (1, 3, 16, 64, 64)),
    ("i3d_inceptionv1_17x75", "i3d_inceptionv1_kinetics400", 174, 1, (1, 3, 17, 75, 90)),
    ("i3d_inceptionv3_8x107", "i3d_inceptionv3_kinetics400", 400, 1, (1, 3, 8, 107, 96)),
    ("i3d_inceptionv3_5x96", "i3d_inceptionv3_kinetics400", 400, 1, (1, 3, 5, 96, 101)),
    ("resnet18_v1b_72", "resnet18_v1b_kinetics400", 400, 1, (1, 3, 72, 64)),
    ("resnet34_v1b_65", "resnet34_v1b_kinetics400", 400, 1, (1, 3, 65, 80)),
    ("resnet50_v1b_72_three", "resnet50_v1b_kinetics400", 400, 3, (3, 3, 72, 64)),
    ("resnet50_v1b_97", "resnet50_v1b_sthsthv2", 174, 1, (2, 3, 97, 64)),
    ("resnet101_v1b_72_two", "resnet101_v1b_kinetics400", 400, 2, (2, 3, 72, 65)),
    ("resnet152_v1b_64", "resnet152_v1b_kinetics400", 400, 1, (1, 3, 64, 72)),
    ("inceptionv1_224_two", "inceptionv1_kinetics400", 400, 2, (2, 3, 224, 224)),
    ("inceptionv1_240", "inceptionv1_kinetics400", 101, 1, (1, 3, 240, 223)),
    ("inceptionv3_299", "inceptionv3_kinetics400", 400, 1, (1, 3, 299, 299)),
    ("inceptionv3_310", "inceptionv3_kinetics400", 101, 1, (1, 3, 310, 299)),
    ("vgg16_224", "vgg16_ucf101", 101, 1, (1, 3, 224, 224)),
    ("vgg16_224_two", "vgg16_ucf101", 51, 2, (2, 3, 224, 224)),
    ("p3d_resnet50_16x64", "p3d_resnet50_kinetics400", 400, 1, (1, 3, 16, 64, 64)),
    ("p3d_resnet50_16x72_two", "p3d_resnet50_kinetics400", 51, 2, (2, 3, 16, 72, 81)),
    ("p3d_resnet101_16x64", "p3d_resnet101_kinetics400", 400, 1, (1, 3, 16, 64, 57)),
)


def specs() -> list[Spec]:
    """All goldens, with their seeds."""
    return [Spec(*row, weight_seed=30211 + n, input_seed=52301 + n) for n, row in enumerate(NETWORKS)]


def build(spec: Spec) -> Any:
    """GluonCV's network, without weights. Some of its functions ask for files even when told not to: there are none."""
    load, reset = mx.gluon.Block.load_parameters, mx.gluon.ParameterDict.reset_ctx
    mx.gluon.Block.load_parameters = mx.gluon.ParameterDict.reset_ctx = lambda *_, **__: None
    import gluoncv.model_zoo.model_store as store
    import mxnet.gluon.model_zoo.model_store as own_store

    kept = store.get_model_file, own_store.get_model_file
    store.get_model_file = own_store.get_model_file = lambda *_, **__: ""
    try:
        words = {"nclass": spec.classes, "num_segments": spec.segments}
        net = get_model(spec.model, pretrained=False, pretrained_base=False, **words)
    finally:
        mx.gluon.Block.load_parameters, mx.gluon.ParameterDict.reset_ctx = load, reset
        store.get_model_file, own_store.get_model_file = kept
    net.initialize(force_reinit=True)
    return net


def named(net: Any) -> dict[str, Any]:
    """The parameters by the names that `save_parameters` writes, in its order; one may have several."""
    found: dict[str, Any] = net._collect_params_with_prefix()
    return found


@cache
def table_of(spec: Spec) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The shape of each name, and the further names with the first name of the same parameter."""
    net = build(spec)
    if any(0 in (parameter.shape or (0,)) for parameter in named(net).values()):
        net(mx.nd.zeros(spec.shape))  # which settles the shapes
    first: dict[int, str] = {}
    shapes, twice = {}, {}
    for name, parameter in named(net).items():
        shapes[name] = list(parameter.shape)
        if id(parameter) in first:
            twice[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return shapes, twice


def weights(shapes: dict[str, list[int]], twice: dict[str, str], seed: int) -> dict[str, np.ndarray]:
    """Recipe gluoncv-golden-1: float32 arrays of all names but the further ones, drawn in sorted order."""
    random = np.random.RandomState(seed)
    arrays = {}
    for name in sorted(shapes):
        if name in twice:
            continue
        shape = shapes[name]
        leaf = name.rpartition(".")[2]
        if leaf == "running_var":
            value = random.uniform(0.5, 1.5, shape)
        elif leaf == "gamma":
            value = random.uniform(0.8, 1.2, shape) * (0.3 if ADDED.search(name) else 1)
        elif len(shape) == 1:
            value = 0.1 * random.standard_normal(shape)
        else:
            value = np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape)
            if {"theta", "phi"} & set(name.split(".")):
                value *= 0.25
        arrays[name] = value.astype(np.float32)
    return arrays


def clip_of(spec: Spec) -> np.ndarray:
    """Recipe gluoncv-golden-1: the input."""
    random = np.random.RandomState(spec.input_seed)
    return random.standard_normal(spec.shape).astype(np.float32)


def blocks_of(net: Any, path: str = "") -> dict[str, Any]:
    """The blocks inside a network by their paths."""
    found = {}
    for name, child in net._children.items():
        found[path + name] = child
        found.update(blocks_of(child, f"{path}{name}."))
    return found


def run(net: Any, clip: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The outputs of the blocks that are recorded, in the order computed, and the logits."""
    seen: dict[str, list[np.ndarray]] = {}
    for path, block in blocks_of(net).items():
        if BLOCKS.fullmatch(path) and not isinstance(block, mx.gluon.nn.Dropout):

            def hook(_: Any, __: Any, output: Any, path: str = path) -> None:
                seen.setdefault(path, []).append(output.asnumpy())

            block.register_forward_hook(hook)
    logits = net(mx.nd.array(clip)).asnumpy()
    every = {path: outputs[0] for path, outputs in seen.items() if len(outputs) == 1}
    stages = re.compile(r"(.*(?:layers?\d?\.?\d?|res\d))\.(\d+)")
    last = {match[1]: match[0] for path in every if (match := stages.fullmatch(path))}
    return {
        path: block for path, block in every.items() if not stages.fullmatch(path) or path in last.values()
    }, logits


def record(spec: Spec) -> dict[str, Any]:
    """Run MXNet; what goes into the file."""
    shapes, twice = table_of(spec)
    values = weights(shapes, twice, spec.weight_seed)
    net = build(spec)
    for name, parameter in named(net).items():
        if name not in twice:
            parameter.set_data(mx.nd.array(values[name]))
    clip = clip_of(spec)
    blocks, logits = run(net, clip)
    del net
    gc.collect()  # the hooks and the network refer to each other
    names, block_shapes, stats, indices, samples = [], [], [], [], []
    pick = np.random.RandomState(spec.input_seed + 1)
    for name, block in blocks.items():
        flat = block.ravel()
        index = np.sort(pick.randint(0, len(flat), SAMPLES))
        names.append(name)
        block_shapes.append(block.shape)
        stats.append(statistics(block))
        indices.append(index)
        samples.append(flat[index])
    return {
        "recipe": RECIPE,
        "producer": PRODUCER,
        "model": spec.model,
        "classes": spec.classes,
        "segments": spec.segments,
        "weight_seed": spec.weight_seed,
        "input_seed": spec.input_seed,
        "input_shape": np.array(spec.shape),
        "weights_sha256": sha256_of_all(values),
        "input_sha256": sha256(clip),
        "logits": logits,
        "blocks": np.array(names),
        "block_shapes": json.dumps(block_shapes),
        "block_stats": np.array(stats),
        "block_index": np.array(indices, np.int32),
        "block_values": np.array(samples),
    }


def check(path: str) -> bool:
    """Run the same again and compare."""
    want = load_npz(path)
    spec = Spec(
        stem(path),
        str(want["model"]),
        int(want["classes"]),
        int(want["segments"]),
        tuple(int(size) for size in want["input_shape"]),
        int(want["weight_seed"]),
        int(want["input_seed"]),
    )
    got = record(spec)
    same = all(str(got[key]) == str(want[key]) for key in ("weights_sha256", "input_sha256", "block_shapes"))
    logits = difference(got["logits"], want["logits"], np.abs(want["logits"]).max())
    largest = np.abs(want["block_stats"][:, 2:4]).max()
    blocks = difference(got["block_stats"][:, :4], want["block_stats"][:, :4], largest)
    print(
        f"{spec.name:30s} {'same' if same else 'OTHER WEIGHTS'}, logits {logits:.1e} apart, blocks {blocks:.1e}"
    )
    return same and logits <= CLOSE and blocks <= CLOSE


def write_tables(path: str) -> None:
    """The names and shapes of every network, for one class, and its further names."""
    tables = {}
    for spec in specs():
        if spec.model not in tables:
            shapes, twice = table_of(spec)
            open_sizes = {name: [0, *shapes[name][1:]] for name in head(shapes)}
            tables[spec.model] = {"names": {**shapes, **open_sizes}, "twice": twice}
    with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        file.write(json.dumps(tables, separators=(",", ":")).encode())


def head(names: dict[str, list[int]]) -> list[str]:
    """The names of the last layer, whose first size is the number of classes."""
    return [name for name in names if re.fullmatch(r"(fc|fc8|output|head\.1)\.(weight|bias)", name)]


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--tables", default=TABLES, help="where the tables of names are written")
    options = parser.parse_args()
    known = {spec.name: spec for spec in specs()}
    names = chosen(parser, options, known)
    if options.list:
        lines = {
            name: f"{spec.model:40s} {'x'.join(map(str, spec.shape)):16s} seeds {spec.weight_seed} {spec.input_seed}"
            for name, spec in known.items()
        }
        return print_list(lines, names)
    if options.check:
        return check_all(options.check, check)
    if not options.only:
        write_tables(options.tables)
    return record_all(names, lambda name: record(known[name]), options.out)


if __name__ == "__main__":
    sys.exit(main())
