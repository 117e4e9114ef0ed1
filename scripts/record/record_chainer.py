"""Record what real Chainer computes for C3D from seeded weights, as small ``.npz`` goldens, and files it writes.

Runs alone in an environment with Chainer 7.8.1 (``scripts/README.md``). Nothing of the project is imported: the
networks are built here from Chainer's own links, so that no mistake can be shared with the project's.

    python scripts/record/record_chainer.py                       record every golden
    python scripts/record/record_chainer.py --only sports1m_9x113x99
    python scripts/record/record_chainer.py --list                names, shapes, seeds; runs nothing
    python scripts/record/record_chainer.py --check FILE.npz ...  run the same again and compare
    python scripts/record/record_chainer.py --fixtures FOLDER     small files as Chainer's serializers write them

The keys of a file and the recipe of weights and inputs are described in ``tests/goldens/README-caffe.md``.
"""

from __future__ import annotations

import os

# One thread: the same order of additions on any number of cores. Read when the libraries load.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import json
import sys
import warnings
import zlib
from typing import TYPE_CHECKING, NamedTuple

warnings.filterwarnings("ignore")

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
import numpy as np  # noqa: E402
from recording import (  # noqa: E402
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
    from collections.abc import Iterator

OUT = os.path.join(GOLDENS, "chainer")
RECIPE = "c3d-golden-1"
SAMPLES = 64

FULL = (
    ("conv1a", 3, 64), ("pool1", 1, 0), ("conv2a", 64, 128), ("pool2", 2, 0), ("conv3a", 128, 256),
    ("conv3b", 256, 256), ("pool3", 2, 0), ("conv4a", 256, 512), ("conv4b", 512, 512), ("pool4", 2, 0),
    ("conv5a", 512, 512), ("conv5b", 512, 512), ("pool5", 2, 0),
)  # fmt: skip
SMALL = (
    ("conv1a", 3, 64), ("pool1", 1, 0), ("conv2a", 64, 128), ("pool2", 2, 0), ("conv3a", 128, 256),
    ("pool3", 2, 0), ("conv4a", 256, 256), ("pool4", 2, 0), ("conv5a", 256, 256), ("pool5", 2, 0),
)  # fmt: skip
TINY = tuple((name, min(a, 3) if name == "conv1a" else min(a, 4), min(b, 4)) for name, a, b in FULL)
NETS = {
    "sports1m": (FULL, (("fc6", 8192, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 487))),
    "ucf101": (FULL, (("fc6", 8192, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 101))),
    "ucf101net": (SMALL, (("fc6", 4096, 2048), ("fc7", 2048, 2048), ("fc8", 2048, 101))),
    "convs": (FULL, ()),
    "tiny": (TINY, (("fc6", 64, 6), ("fc7", 6, 6), ("fc8", 6, 5))),
}
"""Convolutions (name, inputs, outputs) and pools (name, stride in time), then linear layers."""


class Spec(NamedTuple):
    """One golden: a net, the frames before cropping, the crop, items in the batch."""

    name: str
    net: str
    frames: tuple[int, int, int]
    crop: tuple[int, int]
    items: int


SPECS = (
    Spec("sports1m_9x113x99", "sports1m", (9, 128, 171), (113, 99), 1),
    Spec("ucf101_b2_16x112x112", "ucf101", (16, 128, 171), (112, 112), 2),
    Spec("ucf101net_1x97x128", "ucf101net", (1, 120, 160), (97, 128), 1),
    Spec("convs_7x67x93", "convs", (7, 80, 100), (67, 93), 1),
)
"""Odd sizes on purpose: pooling goes wrong there. New rows go to the end, the seeds are counted."""


class C3D(chainer.Chain):
    """C3D from Chainer's links. Pools cover all of their input (Chainer's default), ReLU follows every layer but
    the last."""

    def __init__(self, net: str) -> None:
        super().__init__()
        self.convolutions, self.dense = NETS[net]
        with self.init_scope():
            for name, inputs, outputs in self.convolutions:
                if outputs:
                    setattr(self, name, L.ConvolutionND(3, inputs, outputs, 3, 1, 1))
            for name, inputs, outputs in self.dense:
                setattr(self, name, L.Linear(inputs, outputs))

    def blocks(self, clip: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Every layer's output by name, the logits last."""
        x = clip
        for name, stride, outputs in self.convolutions:
            x = F.relu(self[name](x)) if outputs else F.max_pooling_nd(x, (stride, 2, 2), (stride, 2, 2))
            yield name, x.array
        for name, _, _ in self.dense:
            x = self[name](x)
            if name != "fc8":
                x = F.relu(x)
            yield name, x.array


def weights(net: str, seed: int) -> dict[str, np.ndarray]:
    """Recipe c3d-golden-1: an own generator for each array, seeded with its name."""
    shapes = {}
    for name, inputs, outputs in (*NETS[net][0], *NETS[net][1]):
        if outputs:
            kernel = (3, 3, 3) if name.startswith("conv") else ()
            shapes[name + "/W"], shapes[name + "/b"] = (outputs, inputs, *kernel), (outputs,)
    arrays = {}
    for name, shape in shapes.items():
        stream = zlib.crc32(name.encode("ascii")) ^ (seed * 2654435761 % 2**32)
        u = np.random.RandomState(stream).random_sample(int(np.prod(shape))).reshape(shape)
        if name.endswith("b"):
            value = 0.4 * u - 0.2
        else:
            a = np.sqrt(6 / np.prod(shape[1:])) * {"conv1a/W": 1 / 64, "fc8/W": 1.0}.get(name, 0.8)
            value = (2 * a) * u - a
        arrays[name] = value.astype(np.float32)
    return arrays


def clips(spec: Spec, clip_seed: int, mean_seed: int) -> np.ndarray:
    """Recipe c3d-golden-1: frames less a mean cube, the centre cut out, (N, 3, T, h, w) in BGR."""
    time, height, width = spec.frames
    cube = np.empty((3, time, height, width))
    for c in range(3):
        for t in range(time):
            rows, columns = np.mgrid[:height, :width]
            cube[c, t] = 90 + 12 * c + 0.5 * t + 6 * (rows / height) + 9 * (columns / width)
    cube = (cube + np.random.RandomState(mean_seed).random_sample(cube.shape)).astype(np.float32)
    made = []
    for item in range(spec.items):
        random = np.random.RandomState(clip_seed + 1000 * item)
        blocks = random.randint(0, 150, (time // 4 + 1, height // 16 + 1, width // 16 + 1, 3))
        video = random.randint(0, 40, (time, height, width, 3))
        for t in range(time):
            coarse = np.kron(blocks[t // 4], np.ones((16, 16, 1), int))[:height, :width]
            slope = ((20 * np.arange(height)) // height)[:, None] + ((20 * np.arange(width)) // width)[None]
            video[t] += coarse + slope[..., None] + np.array([0, 10, 20])
            top, left = (5 + 4 * t) % (height - 20), (9 + 7 * t) % (width - 20)
            video[t, top : top + 20, left : left + 20, t % 3] += 60
        video = np.clip(video, 0, 255).astype(np.uint8)
        planes = video[..., ::-1].transpose(3, 0, 1, 2).astype(np.float32) - cube
        top, left = (height - spec.crop[0]) // 2, (width - spec.crop[1]) // 2
        made.append(planes[:, :, top : top + spec.crop[0], left : left + spec.crop[1]])
    return np.stack(made)


def fill(model: C3D, arrays: dict[str, np.ndarray]) -> None:
    """Put every array where its name says; all parameters must be there."""
    parameters = {name.lstrip("/"): parameter for name, parameter in model.namedparams()}
    assert parameters.keys() == arrays.keys()
    for name, parameter in parameters.items():
        assert parameter.shape == arrays[name].shape
        parameter.array[...] = arrays[name]


def record(index: int, spec: Spec) -> dict[str, np.ndarray]:
    """Run one network, and return everything that its file holds."""
    weight_seed, clip_seed, mean_seed = 71 + index, 7100 + 10 * index, 7101 + 10 * index
    arrays = weights(spec.net, weight_seed)
    model = C3D(spec.net)
    fill(model, arrays)
    inputs = clips(spec, clip_seed, mean_seed)
    with (
        chainer.using_config("train", False),
        chainer.no_backprop_mode(),
        chainer.using_config("use_ideep", "never"),
    ):
        outputs = list(model.blocks(inputs))
    arrays_of_file = {
        "recipe": np.array(RECIPE),
        "producer": np.array(f"Chainer {chainer.__version__}, CPU, float32, one thread"),
        "net": np.array(spec.net),
        "table": np.array("c3d/chainer-ucf101.json"),
        "weight_seed": np.array(weight_seed),
        "clip_seed": np.array(clip_seed),
        "mean_seed": np.array(mean_seed),
        "frames_shape": np.array(spec.frames),
        "crop": np.array(spec.crop),
        "input_shape": np.array(inputs.shape),
        "weights_sha256": np.array(sha256_of_all(arrays)),
        "input_sha256": np.array(sha256(inputs)),
    }
    if outputs[-1][0] == "fc8":
        arrays_of_file["logits"] = outputs.pop()[1]
    stats, places, values = [], [], []
    for _, block in outputs:
        stats.append(statistics(block))
        place = np.sort(np.random.RandomState(len(places)).randint(0, block.size, SAMPLES))
        places.append(place.astype(np.int32))
        values.append(block.ravel()[place])
    arrays_of_file["blocks"] = np.array([name for name, _ in outputs])
    arrays_of_file["block_shapes"] = np.array(json.dumps([block.shape for _, block in outputs]))
    arrays_of_file["block_stats"] = np.array(stats)
    arrays_of_file["block_index"] = np.array(places)
    arrays_of_file["block_values"] = np.array(values)
    return arrays_of_file


def check(path: str) -> bool:
    """Run a golden again and say whether it is the same."""
    name = stem(path)
    ((index, spec),) = [(place, spec) for place, spec in enumerate(SPECS) if spec.name == name]
    got, want = record(index, spec), load_npz(path)
    worst = 0.0
    for key, old in want.items():
        if old.dtype.kind == "f":
            scale = np.abs(old).max(axis=1, keepdims=True) if key == "block_stats" else None
            worst = max(worst, difference(got[key], old, scale))
        elif key != "producer" and not np.array_equal(old, got[key]):
            print(f"{name}: {key} differs")
            return False
    print(f"{name}: {'same' if worst <= CLOSE else 'differs'}, {worst:.1e}")
    return worst <= CLOSE


def write_fixtures(folder: str) -> None:
    """A tiny C3D in every form that Chainer's serializers write."""
    os.makedirs(folder, exist_ok=True)
    model = C3D("tiny")
    fill(model, weights("tiny", 5))

    def at(name: str) -> str:
        return os.path.join(folder, name)

    chainer.serializers.save_npz(at("stored.npz"), model, compression=False)
    chainer.serializers.save_npz(at("deflated.npz"), model)
    chainer.serializers.save_npz(at("classifier.npz"), L.Classifier(model), compression=False)
    chainer.serializers.save_hdf5(at("model.h5"), model)
    chainer.serializers.save_hdf5(at("plain.h5"), model, compression=None)
    optimizer = chainer.optimizers.MomentumSGD().setup(L.Classifier(model))
    for parameter in optimizer.target.params():
        parameter.grad = np.ones_like(parameter.array)
    lone = chainer.iterators.SerialIterator([0], 1)
    updater = chainer.training.updaters.StandardUpdater(lone, optimizer)
    trainer = chainer.training.Trainer(updater, (1, "epoch"), out=folder)
    trainer._done, trainer._final_elapsed_time = True, 1.0  # else the time it was made at is in the file
    chainer.serializers.save_npz(at("snapshot.npz"), trainer)

    class Unfinished(chainer.Chain):
        def __init__(self) -> None:
            super().__init__()
            with self.init_scope():
                self.conv1a = L.ConvolutionND(3, None, 4, 3)
                self.bn = L.BatchNormalization(4)

    chainer.serializers.save_npz(at("uninitialised.npz"), Unfinished())
    chainer.serializers.save_hdf5(at("uninitialised.h5"), Unfinished())
    np.savez(at("mean2.npz"), mean=np.arange(3 * 2 * 4 * 5, dtype=np.float32).reshape(3, 2, 4, 5))


def main() -> int:
    """The command line; 1 where a check fails."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--fixtures", metavar="FOLDER", help="write small files in Chainer's formats instead")
    options = parser.parse_args()
    if options.check:
        return check_all(options.check, check)
    if options.fixtures:
        write_fixtures(options.fixtures)
        return 0
    places = {spec.name: place for place, spec in enumerate(SPECS)}
    names = chosen(parser, options, places)
    if options.list:
        lines = {
            spec.name: f"{spec.net}, frames {spec.frames}, crop {spec.crop}, {spec.items} items"
            for spec in SPECS
        }
        return print_list(lines, names)
    return record_all(names, lambda name: record(places[name], SPECS[places[name]]), options.out)


if __name__ == "__main__":
    sys.exit(main())
