"""Reference facts of the Caffe and Chainer networks, and their names in the canonical vocabulary.

The product maps names by its own tables; this second way there, by rules on names, is evidence that does not
depend on them. `data/README-caffe.md` says where the facts come from.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from converters.networks import NetworkSpec
from tests.helpers import paths
from tests.helpers.upstream_tables import TargetTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

DATA = paths.DATA / "caffe-tables.json.gz"
Shape = tuple[int, ...]

RESNET = {
    "blocks": [2, 2, 2, 2],
    "temporal_strides": [1, 2, 2, 2],
    "spatial_strides": [1, 2, 2, 2],
    "block": "simple",
    "factorised": False,
    "middle_relu": True,
    "stem_padding_t": "same",
}


@dataclass(frozen=True)
class CaffeTable:
    """A net as the real Caffe fork saved it: its layers in order (name, type or its number, blobs), and the shape of
    every ``layer/blob``."""

    dialect: str
    net: str
    layers: list[tuple[str, str | int, int]]
    params: dict[str, Shape]


@cache
def caffe_tables() -> dict[str, CaffeTable]:
    """All nets by ``c3d/...`` and ``tsn/...``."""
    return {
        name: CaffeTable(
            table["dialect"],
            table["net"],
            [tuple(row) for row in table["layers"]],
            _shapes(table["params"]),
        )
        for name, table in _data()["caffe"].items()
    }


@cache
def chainer_tables() -> dict[str, dict[str, Shape]]:
    """Shapes of Chainer's parameters by ``c3d/chainer-...``."""
    return {name: _shapes(table["params"]) for name, table in _data()["chainer"].items()}


@cache
def target_tables() -> dict[str, TargetTable]:
    """The state dicts of PyTorch projects that hold these networks, by ``ecosystem/model``."""
    return {
        name: TargetTable(**{**table, "keys": _shapes(table["keys"])})
        for name, table in _data()["targets"].items()
    }


def c3d_shapes(net: str) -> dict[str, Shape]:
    """``conv1a/W`` ... of the recipe's nets: ``sports1m``, ``ucf101``, ``ucf101net``, ``convs``."""
    if net == "ucf101net":
        blobs = caffe_tables()["c3d/caffe-v1.1-ucf101net"].params
        named = {name.replace("/0", "/W").replace("/1", "/b"): shape for name, shape in blobs.items()}
        return {name: shape[-1:] if name.endswith("b") else shape for name, shape in named.items()}
    shapes = chainer_tables()["c3d/chainer-sports1m" if net == "sports1m" else "c3d/chainer-ucf101"]
    return {name: shape for name, shape in shapes.items() if net != "convs" or name.startswith("conv")}


def c3d_name(name: str) -> str:
    """Canonical name of a blob such as ``conv1a/W`` or ``fc6-1/0``."""
    layer, leaf = re.fullmatch(r"(\w+?)(?:-1)?/([Wb01])", name).groups()
    leaf = "weight" if leaf in "W0" else "bias"
    return f"{layer}.conv.{leaf}" if layer.startswith("conv") else f"{layer.replace('fc8', 'head')}.{leaf}"


def resnet_state(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Canonical arrays of C3D-ResNet18: BatchNorm's sums divided, Scale's leaves beside them."""
    state = {}
    for name, array in arrays.items():
        layer, _, index = name.rpartition("/")
        if layer == "fc8":
            state[f"head.{('weight', 'bias')[int(index)]}"] = array
        elif layer.startswith("scale"):
            state[f"{_resnet_module(layer[5:])}.bn.{('weight', 'bias')[int(index)]}"] = array
        elif not layer.startswith("bn"):
            state[f"{_resnet_module(layer.removeprefix('res'))}.conv.weight"] = array
        elif index != "2":
            leaf = ("running_mean", "running_var")[int(index)]
            module = _resnet_module(layer[2:])
            state[f"{module}.bn.{leaf}"] = array / arrays[f"{layer}/2"]
    return state


def _resnet_module(name: str) -> str:
    if name in ("conv1", "_conv1"):
        return "stem"
    stage, block, branch = re.fullmatch(r"(\d)([ab])_branch(1|2a|2b)", name).groups()
    unit = {"1": "shortcut", "2a": "conv1", "2b": "conv2"}[branch]
    return f"layer{int(stage) - 1}.{'ab'.index(block)}.{unit}"


def resnet_end_point(blob: str) -> str:
    """The end point of C3D-ResNet18 that is a Caffe blob."""
    if match := re.fullmatch(r"res(\d)([ab])", blob):
        return f"layer{int(match[1]) - 1}.{'ab'.index(match[2])}"
    return {"conv1": "stem", "pool5": "pool"}[blob]


def tsn_name(blob: str) -> str:
    """Canonical name of a blob of BN-Inception."""
    layer, _, index = blob.rpartition("/")
    if layer == "fc-action":
        return f"head.{('weight', 'bias')[int(index)]}"
    norm = layer.endswith("_bn")
    leaf = ("weight", "bias", "running_mean", "running_var")[int(index)]
    return f"{layer.removesuffix('_bn').replace('/', '.')}.{'bn' if norm else 'conv'}.{leaf}"


def spec(
    family: str, variant: str, state: Mapping[str, np.ndarray], config: Mapping[str, object] | None = None
) -> NetworkSpec:
    """The network that arrays under canonical names are of."""
    shapes = {name: array.shape for name, array in state.items() if not name.endswith("num_batches_tracked")}
    return NetworkSpec(family, variant, shapes, config or (RESNET if family == "resnet3d" else {}))


def _shapes(table: Mapping[str, list[int]]) -> dict[str, Shape]:
    return {name: tuple(shape) for name, shape in table.items()}


@cache
def _data() -> dict[str, Any]:
    return json.loads(gzip.decompress(DATA.read_bytes()))
