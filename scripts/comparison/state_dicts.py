"""State dicts of any layout, and files of them, as PyTorch projects write them."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any
from zlib import crc32

import torch

from converters.mapping.names import tensor_slots
from tests.helpers.layout_weights import sizes

if TYPE_CHECKING:
    from pathlib import Path

    from converters.mapping.names import TensorSlot
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant


@cache
def _values() -> dict[str, torch.Tensor]:
    """The values of all tensors, by what they are used for."""
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(36_000_000, generator=random).mul_(0.05)
    return {
        "noise": noise,
        "variance": torch.rand(8192, generator=random) + 0.5,
        "one": torch.ones(8192),
    }


def _use(slot: TensorSlot, variant: Variant) -> str:
    if slot.leaf == "running_var":
        return "variance"
    gain = slot.kind == "bn" and slot.leaf == "weight"
    return "one" if gain and variant.family == "i3d" else "noise"  # TensorFlow's I3D stores no gains


def state_dict(
    layout: LayoutTable, variant: Variant, *, counters: bool = True, shared: bool = True
) -> dict[str, Any]:
    """A state dict in which all tensors differ. If ``shared``, they are pieces of a few storages, which makes the file
    no larger than the largest tensor."""
    file_sizes = sizes(variant)
    slots = [slot for slot in tensor_slots(layout, variant, file_sizes, {"blending": False}) if slot.name]
    most = max(prod(slot.file_shape(file_sizes)) for slot in slots)
    values = {**_values(), "noise": _values()["noise"][: most + 4096].clone()}
    state: dict[str, Any] = {}
    starts: dict[str, int] = {}
    for slot in slots:
        shape = slot.file_shape(file_sizes)
        start = starts.setdefault(
            slot.canonical, crc32(slot.name.encode()) % 4096
        )  # one tensor may have two names
        tensor = values[_use(slot, variant)][start : start + prod(shape)].view(shape)
        state[slot.name] = tensor if shared else tensor.clone()
        if counters and slot.leaf == "running_var":
            state[slot.name.removesuffix("running_var") + "num_batches_tracked"] = torch.tensor(start)
    return state


def write_state_dict(path: Path, layout: LayoutTable, variant: Variant) -> None:
    """Write a bare state dict, one of a training run or one of a parallel module: the variant's name decides which."""
    kind = crc32(variant.name.encode()) % 3
    value = state_dict(layout, variant, counters=kind != 0)
    if kind == 1:
        value = {"epoch": 3, "state_dict": value, "optimizer": {"state": {}, "param_groups": []}}
    elif kind == 2:
        value = {"state_dict": {f"module.{name}": tensor for name, tensor in value.items()}}
    torch.save(value, path)
