"""Reference facts of I3D: the variables of the published checkpoints, the layouts of its ports, and the canonical
name of each tensor in all of them.

The product maps names by its own tables; this second way there, by rules on names, is evidence that does not
depend on them.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.networks.spec import ModuleShapes, Settings
from tests.helpers.upstream_tables import DATA, TargetTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from converters.networks.families.i3d import I3D

    Variables = dict[str, tuple[int, ...]]

INDEXES = DATA / "i3d-index"
"""The ``.index`` files of DeepMind's checkpoints and of the TF-Hub module, as they are published."""

PUBLISHED = {
    "rgb_imagenet": "rgb",
    "rgb_scratch": "rgb",
    "flow_imagenet": "flow",
    "flow_scratch": "flow",
    "rgb_scratch_kin600": "rgb_600",
    "hub_i3d_kinetics_400_1": "rgb",
}
"""The table of each published checkpoint."""

TF_EPS = 1e-3


@cache
def i3d_tables() -> dict[str, Variables]:
    """Names and shapes of all variables, of ``rgb``, ``flow`` and ``rgb_600``."""
    return {
        name: {variable: tuple(shape) for variable, shape in table.items()}
        for name, table in _read("i3d-tables.json.gz").items()
    }


def variables_of(table: str, classes: int = 0) -> Variables:
    """A table's variables, with another number of classes if one is given."""
    return {
        name: (*shape[:-1], classes) if classes and "Logits/" in name else shape
        for name, shape in i3d_tables()[table].items()
    }


@cache
def i3d_target_tables() -> dict[str, TargetTable]:
    """The state dicts of ports by ``ecosystem/model``."""
    tables = {}
    for name, table in _read("i3d-target-tables.json.gz").items():
        table["keys"] = {key: tuple(shape) for key, shape in table["keys"].items()}
        tables[name] = TargetTable(**table)
    return tables


def _read(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


_UNITS = {"0.0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3.0": "b3b"}
_TF_LEAVES = {
    "conv_3d/w": "conv.weight",
    "conv_3d/b": "conv.bias",
    "batch_norm/beta": "bn.bias",
    "batch_norm/moving_mean": "bn.running_mean",
    "batch_norm/moving_variance": "bn.running_var",
}


def tf_name(variable: str) -> str | None:
    """Canonical name of a variable; None for an optimiser's slot."""
    if variable.endswith("/Momentum"):
        return None
    match = re.fullmatch(r"(?:(?:RGB|Flow)/inception_i3d/)?(.+)/([^/]+/[^/]+)", variable)
    unit, leaf = match[1], _TF_LEAVES[match[2]]
    if unit == "Logits/Conv3d_0c_1x1":
        return f"head.{leaf.removeprefix('conv.')}"
    if match := re.fullmatch(r"Conv3d_(\d\w)_\dx\d", unit):
        return f"conv{match[1]}.{leaf}"
    block, branch, kernel = re.fullmatch(r"Mixed_(\d\w)/Branch_(\d)/Conv3d_0\w_(\dx\d)", unit).groups()
    second = branch in "12" and kernel == "3x3"
    return f"mixed{block}.{_UNITS[f'{branch}.{int(second)}']}.{leaf}"


def tf_array(name: str, array: np.ndarray) -> np.ndarray:
    """A variable's array as the canonical tensor: a kernel's axes in PyTorch's order, vectors without ones."""
    if not name.endswith("/w"):
        return array.ravel()
    kernel = np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2))
    return kernel.reshape(kernel.shape[:2]) if "Logits/" in name else kernel


def tf_state(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A checkpoint's arrays as a canonical state dict, with the scales that TensorFlow leaves out."""
    state = {ours: tf_array(name, array) for name, array in arrays.items() if (ours := tf_name(name))}
    scales = {
        name.replace("bias", "weight"): np.ones_like(state[name]) for name in state if "bn.bias" in name
    }
    return state | scales


def loaded(state: Mapping[str, np.ndarray], eps: float, device: str = "cpu", **settings: str) -> I3D:
    """The network with a canonical state dict, in evaluation mode."""
    import torch

    from converters.networks.families.i3d import I3D

    shapes = {name: array.shape for name, array in state.items() if not name.endswith("num_batches_tracked")}
    model = I3D(ModuleShapes(shapes), Settings({"bn_eps": eps, **settings}))
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    for name in model.state_dict():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
    model.load_state_dict(tensors, assign=True)
    return model.eval().to(device)


def canonical_names(names: Iterable[str]) -> list[str]:
    """Canonical names of a checkpoint's variables, slots left out."""
    return [name for variable in names if (name := tf_name(variable))]
