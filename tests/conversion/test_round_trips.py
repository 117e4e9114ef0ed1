"""A PyTorch file goes to every format that its network came in, as a file of that format, and comes back."""

from __future__ import annotations

import pytest
import torch

from converters import convert
from converters.formats.registry import usual_suffix
from converters.mapping.layout_tables import load_layout
from converters.mapping.name_order import in_order
from converters.mapping.names import families, tensor_slots
from converters.mapping.table_files import layout_names
from converters.mapping.variants import own_eps, variants
from tests.helpers import layout_weights, selection

LAYOUTS = [load_layout(name) for name in layout_names()]
LARGEST = 40_000_000
"""Parameters: the full-size C3D, 80 million, has nothing that its small net has not."""


def _size(one) -> int:
    return selection.parameters_of(one.name)


def cases() -> list:
    """Every PyTorch layout with every source, and the smallest network that both hold with one eps."""
    found = []
    for source in LAYOUTS:
        if source.format == "pytorch" or not layout_weights.keeps_statistics(source):
            continue
        for layout in LAYOUTS:
            shared = [family for family in families(source) if family in families(layout)]
            held = [
                one
                for family in shared
                for one in variants(family)
                if not (source.support_for(one.name).unsupported or layout.support_for(one.name).unsupported)
                and own_eps(layout, one) in (None, own_eps(source, one))
                and not layout_weights.fixes_other_settings(source, layout, one)
            ]
            held.sort(key=_size)
            if layout.format == "pytorch" and held and _size(held[0]) <= LARGEST:
                found.append(pytest.param(source, layout, held[0], id=f"{layout.name}-{source.name}"))
    return selection.one_of_each(
        found, lambda source, layout, one: {source.name, layout.name}, lambda source, layout, one: _size(one)
    )


def state_of(layout, one) -> dict[str, torch.Tensor]:
    """A state dict of a layout with values of its own in every tensor, and batch counters."""
    sizes = layout_weights.sizes(one)
    made = torch.Generator().manual_seed(11)
    state = {}
    slots = [slot for slot in tensor_slots(layout, one, sizes, {"blending": False}) if slot.name]
    words = layout.naming.order.get(one.family)
    for entry in slots if words is None else in_order(slots, words):
        if one.family == "i3d" and entry.kind == "bn" and entry.leaf == "weight":
            state[entry.name] = torch.ones(entry.file_shape(sizes))  # TensorFlow's I3D stores none
        else:
            state[entry.name] = torch.rand(entry.file_shape(sizes), generator=made) + 0.5
        if entry.leaf == "running_var":
            state[entry.name.replace("running_var", "num_batches_tracked")] = torch.tensor(9)
    return state


@pytest.mark.parametrize(("source", "layout", "one"), cases())
def test_a_pytorch_file_comes_back_from_its_source(source, layout, one, tmp_path):
    state = state_of(layout, one)
    torch.save(
        {"epoch": 1, "state_dict": {"module." + name: item for name, item in state.items()}},
        tmp_path / "in.pth",
    )
    there = tmp_path / f"there{usual_suffix(source.format)}"
    asked = layout_weights.model_of(one, layout.name)
    convert(tmp_path / "in.pth", there, source=layout.name, to=source.name, variant=asked)
    asked = layout_weights.model_of(one, source.name)
    convert(there, tmp_path / "back.pth", source=source.name, to=layout.name, variant=asked)
    scope = layout.scope_for(layout_weights.sizes(one))
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert list(back) == [scope + name for name in state]
    back = {name.removeprefix(scope): tensor for name, tensor in back.items()}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            assert torch.equal(back[name], torch.tensor(0))  # no other framework counts
        else:
            assert torch.equal(back[name], tensor), name
