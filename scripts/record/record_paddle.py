"""Record what PaddleVideo's own code computes under real PaddlePaddle, as small ``.npz`` goldens.

Runs alone in an environment with paddlepaddle 3.3.1 and numpy 2.4.6 (``scripts/README.md``), beside a checkout of
PaddleVideo at ed245e9. Nothing of the project is imported.

    python scripts/record/record_paddle.py --paddlevideo CHECKOUT            record every golden
    python scripts/record/record_paddle.py --paddlevideo CHECKOUT --only tsn-r50_3x65x82
    python scripts/record/record_paddle.py --list                            names, shapes, seeds; runs nothing
    python scripts/record/record_paddle.py --paddlevideo CHECKOUT --check FILE.npz ...

The keys of a file and the recipe of weights and inputs are described in ``tests/goldens/README-paddle.md``.
"""

from __future__ import annotations

import os

# One thread: the same order of additions on any number of cores. Read when the libraries load.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import importlib
import json
import logging
import re
import sys
import types
from typing import Any, NamedTuple

import numpy as np
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

OUT = os.path.join(GOLDENS, "paddle")
RECIPE = "paddle-golden-1"
SAMPLES = 64
GAIN = 1.0
COMMIT = "ed245e9"

MODULES = {
    "ResNet": ("resnet", "tsn_head", "TSNHead"),
    "ResNetTSM": ("resnet_tsm", "tsm_head", "TSMHead"),
    "ResNetSlowFast": ("resnet_slowfast", "slowfast_head", "SlowFastHead"),
    "ResNetTweaksTSN": ("resnet_tweaks_tsn", "pptsn_head", "ppTSNHead"),
    "ResNetTweaksTSM": ("resnet_tweaks_tsm", "pptsm_head", "ppTSMHead"),
}
"""The module of each backbone, and its head with its module."""


class Spec(NamedTuple):
    """One golden: the backbone and its arguments, classes, and the clip ``[T, height, width]``."""

    name: str
    backbone: str
    arguments: dict[str, Any]
    classes: int
    clip: tuple[int, int, int]


SPECS = (
    Spec("tsn-r50_3x65x82", "ResNet", {"depth": 50}, 400, (3, 65, 82)),
    Spec("tsn-r101_2x64x64", "ResNet", {"depth": 101}, 101, (2, 64, 64)),
    Spec("tsm-r50-8seg_8x64x64", "ResNetTSM", {"depth": 50, "num_seg": 8}, 400, (8, 64, 64)),
    Spec("tsm-r50-16seg_16x50x63", "ResNetTSM", {"depth": 50, "num_seg": 16}, 174, (16, 50, 63)),
    Spec("tsm-r101-8seg_8x64x64", "ResNetTSM", {"depth": 101, "num_seg": 8}, 400, (8, 64, 64)),
    Spec(
        "slowfast-4x16_16x193x196",
        "ResNetSlowFast",
        {"alpha": 8, "beta": 8, "fusion_kernel_sz": 5},
        400,
        (16, 193, 196),
    ),
    Spec(
        "slowfast-8x8_12x72x72",
        "ResNetSlowFast",
        {"alpha": 4, "beta": 8, "fusion_kernel_sz": 7},
        101,
        (12, 72, 72),
    ),
    Spec("pptsn-r50_3x65x82", "ResNetTweaksTSN", {"layers": 50}, 400, (3, 65, 82)),
    Spec("pptsm-r50-8seg_8x63x50", "ResNetTweaksTSM", {"depth": 50, "num_seg": 8}, 400, (8, 63, 50)),
    Spec("pptsm-r50-16seg_16x50x63", "ResNetTweaksTSM", {"depth": 50, "num_seg": 16}, 101, (16, 50, 63)),
    Spec("pptsm-r101-8seg_8x64x64", "ResNetTweaksTSM", {"depth": 101, "num_seg": 8}, 400, (8, 64, 64)),
)
"""New rows go to the end: the seeds are counted."""


def use_checkout(folder: str) -> None:
    """Make PaddleVideo's modules importable one by one: its packages import all that there is. What the networks take
    from its tools is a registry, a logger, a loader and an initialiser of weights, and what builds a loss."""
    empty = ("", "utils", "utils.multigrid", "modeling", "modeling.backbones", "modeling.heads")
    made = {
        name: types.ModuleType(f"paddlevideo.{name}".rstrip(".")) for name in (*empty, "modeling.builder")
    }
    for name, module in made.items():
        module.__path__ = [os.path.join(folder, "paddlevideo", *name.split("."))]
        sys.modules[module.__name__] = module
    initialiser = types.ModuleType("paddlevideo.modeling.weight_init")
    loader = types.ModuleType("paddlevideo.utils.save_load")
    sys.modules |= {module.__name__: module for module in (initialiser, loader)}
    for owner, name in (
        (made["utils"], "load_ckpt"),
        (loader, "load_ckpt"),
        (made["utils"], "get_dist_info"),
        (made["modeling.builder"], "build_loss"),
        (initialiser, "weight_init_"),
    ):
        setattr(owner, name, lambda *_, **__: None)
    made["utils"].get_logger = logging.getLogger
    made["utils"].Registry = importlib.import_module("paddlevideo.utils.registry").Registry
    norms = importlib.import_module("paddlevideo.utils.multigrid.batchnorm_helper")
    made["utils.multigrid"].get_norm = norms.get_norm


def build(spec: Spec) -> Any:
    """The recognizer: backbone and head under the names that PaddleVideo's own has."""
    import paddle

    module, head_module, head = MODULES[spec.backbone]
    backbone_class = _class("backbones", module, spec.backbone)
    head_class = _class("heads", head_module, head)
    net = paddle.nn.Layer()
    net.backbone = backbone_class(**spec.arguments)
    if (
        head == "SlowFastHead"
    ):  # classifies the mean of the whole clip, as the config of 8x8 has it, at any size
        own = {name: spec.arguments[name] for name in ("alpha", "beta")}
        net.head = head_class(
            width_per_group=64,
            num_classes=spec.classes,
            num_frames=spec.clip[0],
            crop_size=0,
            dropout_rate=0.5,
            multigrid_short=True,
            **own,
        )
    else:
        net.head = head_class(num_classes=spec.classes, in_channels=2048)
    net.eval()
    return net


def _class(package: str, module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"paddlevideo.modeling.{package}.{module}"), name)


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Recipe paddle-golden-1: one generator; names in sorted order."""
    random = np.random.RandomState(seed)
    arrays = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("._variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("._mean"):
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            inputs = shape[0] if len(shape) == 2 else np.prod(shape[1:])
            value = random.standard_normal(shape) * np.sqrt(GAIN / inputs)
        elif name.endswith("weight"):
            value = random.uniform(0.5, 1.2, shape)
        else:
            value = 0.1 * random.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def clip_of(spec: Spec, seed: int) -> np.ndarray:
    """Recipe paddle-golden-1: noise ``[1, 3, T, height, width]``."""
    return np.random.RandomState(seed).standard_normal((1, 3, *spec.clip)).astype(np.float32)


def watch(net: Any, spec: Spec) -> dict[str, np.ndarray]:
    """Have every block's output kept by its name, as the network runs; returns where they will be."""
    kept: dict[str, np.ndarray] = {}

    def keep(name: str, layer: Any) -> None:
        def hook(_layer: Any, _inputs: Any, output: Any) -> None:
            kept[name] = output.numpy()

        layer.register_forward_post_hook(hook)

    for name, layer in net.backbone.named_sublayers():
        stem_or_block = re.fullmatch(
            r"conv|conv1_\d|pool2[dD]_max|res\d\w+|bb_\d_\d+|s1\.pathway\d_stem|s\d\.pathway\d_res\d+", name
        )
        if stem_or_block:
            keep(name, layer)
    if spec.backbone == "ResNetSlowFast":
        keep("head.projection", net.head.projection)
    return kept


def run(net: Any, spec: Spec, clip: np.ndarray) -> np.ndarray:
    """The logits of one clip: what is put in is cut as PaddleVideo's pipelines do."""
    import paddle

    with paddle.no_grad():
        if spec.backbone != "ResNetSlowFast":  # Recognizer2D.forward_net
            frames = paddle.to_tensor(np.ascontiguousarray(clip[0].transpose(1, 0, 2, 3)))
            return net.head(net.backbone(frames), spec.clip[0]).numpy()
        time = spec.clip[0]  # PackOutput
        places = np.linspace(0, time - 1, time // spec.arguments["alpha"]).astype("int64")
        net.head(net.backbone([paddle.to_tensor(clip[:, :, places]), paddle.to_tensor(clip)]))
    return np.empty(0)


def record(index: int, spec: Spec) -> dict[str, Any]:
    """Run one network, and return everything that its file holds."""
    import paddle

    with paddle.utils.unique_name.guard():  # names of parameters as in a process of its own
        net = build(spec)
    state = net.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    weight_seed, clip_seed = 301 + index, 3010 + index
    arrays = weights(shapes, weight_seed)
    missing = net.set_state_dict({name: paddle.to_tensor(array) for name, array in arrays.items()})
    assert not any(missing), missing
    clip = clip_of(spec, clip_seed)
    kept = watch(net, spec)
    logits = run(net, spec, clip)
    if "head.projection" in kept:
        logits = kept.pop("head.projection").mean(axis=(1, 2, 3))
    stats, places, values = [], [], []
    for block in kept.values():
        place = np.sort(np.random.RandomState(len(places)).randint(0, block.size, SAMPLES))
        stats.append(statistics(block))
        places.append(place.astype(np.int32))
        values.append(block.ravel()[place])
    names = {name: [list(shapes[name]), state[name].name] for name in state}
    return {
        "recipe": RECIPE,
        "producer": f"PaddlePaddle {paddle.__version__}, PaddleVideo@{COMMIT}, CPU, float32, one thread",
        "names": json.dumps(names),
        "weight_seed": weight_seed,
        "clip_seed": clip_seed,
        "input_shape": clip.shape,
        "weights_sha256": sha256_of_all(arrays),
        "input_sha256": sha256(clip),
        "logits": logits,
        "blocks": list(kept),
        "block_shapes": json.dumps([block.shape for block in kept.values()]),
        "block_stats": stats,
        "block_index": places,
        "block_values": values,
    }


def check(path: str) -> bool:
    """Run a golden again and say whether it is the same."""
    name = stem(path)
    ((index, spec),) = [(place, spec) for place, spec in enumerate(SPECS) if spec.name == name]
    got, want = record(index, spec), load_npz(path)
    worst = 0.0
    for key, old in want.items():
        if old.dtype.kind == "f":
            scale = np.abs(old).max(axis=1, keepdims=True) if key == "block_stats" else None
            worst = max(worst, difference(np.asarray(got[key]), old, scale))
        elif key != "producer" and not np.array_equal(old, got[key]):
            print(f"{name}: {key} differs")
            return False
    print(f"{name}: {'same' if worst <= CLOSE else 'differs'}, {worst:.1e}")
    return worst <= CLOSE


def main() -> int:
    """The command line; 1 where a check fails."""
    parser = command_line(__doc__, OUT)
    parser.add_argument("--paddlevideo", metavar="FOLDER", help="the checkout of PaddleVideo")
    options = parser.parse_args()
    places = {spec.name: place for place, spec in enumerate(SPECS)}
    names = chosen(parser, options, places)
    if options.list:
        lines = {spec.name: f"{spec.backbone} {spec.arguments}, clip {spec.clip}" for spec in SPECS}
        return print_list(lines, names)
    if not options.paddlevideo:
        parser.error("say with --paddlevideo where the checkout is")
    use_checkout(options.paddlevideo)
    if options.check:
        return check_all(options.check, check)
    return record_all(names, lambda name: record(places[name], SPECS[places[name]]), options.out)


if __name__ == "__main__":
    sys.exit(main())
