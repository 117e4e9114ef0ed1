"""Groups of channels that change places: temporal shift in the other direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converters.conversion.exchanges import exchanges
from converters.conversion.operations.storage import Exchange
from converters.conversion.plan import make_plan
from converters.errors import Refused, UsageError
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.network_info import network_info
from converters.mapping.network_tables import load_network
from converters.tensor import Held, Tensor
from tests.helpers import layout_weights


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_an_exchange_moves_two_groups_and_is_its_own_inverse(axis, dtype):
    plain = np.arange(90, dtype=dtype).reshape(9, 10)
    name = {"<f2": "float16", "<f4": "float32", "<f8": "float64"}[dtype]
    tensor = Tensor("w", name, plain.shape, Held(plain.tobytes()))
    operation = Exchange(axis=axis, size=4)
    there = operation.apply(tensor)
    order = [4, 5, 6, 7, 0, 1, 2, 3, 8, 9][: plain.shape[axis]]
    assert there.tobytes() == plain.take(order, axis).tobytes()
    assert operation.inverse().apply(there).tobytes() == plain.tobytes()
    assert "exchanged" in operation.describe()


def test_every_tensor_on_the_residual_stream_is_exchanged():
    table = load_network("tsm")
    found = exchanges(table, {"shift_first": "next", "shift_div": 8}, {"shift_first": "previous"})
    slots = {
        slot.canonical: [(op.axis, op.size) for op in found.of(slot, slot.shape)]
        for slot in match_file(load_layout("tsm"), layout_weights.shells("tsm", "tsm-nl-r50")).slots
        if "classes" not in slot.shape
    }
    assert slots["stem.conv.weight"] == slots["stem.bn.running_var"] == [(0, 8)]
    assert slots["layer1.0.conv1.net.conv.weight"] == [(1, 8)]
    assert slots["layer1.0.shortcut.conv.weight"] == [(0, 32), (1, 8)]
    assert slots["layer2.nonlocal0.g.weight"] == [(1, 64)]
    assert slots["layer2.nonlocal0.out.bias"] == [(0, 64)]
    assert slots["layer4.2.conv3.bn.weight"] == [(0, 256)]
    for untouched in (
        "layer1.0.conv1.net.bn.weight",
        "layer1.0.conv2.conv.weight",
        "layer2.nonlocal0.g.bias",
    ):
        assert slots[untouched] == []


def test_no_exchange_where_the_direction_is_the_same():
    same = {"shift_first": "next", "shift_div": 8}
    assert not any(exchanges(load_network("tsm"), same, same))


@pytest.mark.full
@pytest.mark.parametrize("name", ["tsm-r18", "tsm-r50"])
def test_either_direction_computes_the_same_after_the_exchange_and_another_without(name):
    layout, other, one = load_layout("tsm"), load_layout("mmaction2"), layout_weights.variant(name)
    tensors = layout_weights.seeded(layout, one)
    match = match_file(layout, tensors)
    info = network_info(match, None, requested={"shift_first": "previous"})
    there = layout_weights.moved(tensors, match, info, other)
    clip = torch.randn(1, 3, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    wanted = layout_weights.logits(layout_weights.network(layout, tensors, shift_first="previous"), clip)
    exchanged = layout_weights.logits(layout_weights.network(other, there), clip)
    as_they_are = layout_weights.logits(layout_weights.network(layout, tensors), clip)
    largest = wanted.abs().max()
    assert (exchanged - wanted).abs().max() <= 1e-5 * largest
    assert (as_they_are - wanted).abs().max() > 1e-3 * largest
    back = layout_weights.moved(
        there, match_file(other, there), network_info(match_file(other, there), None), layout
    )
    back = {name.removeprefix("module."): tensor for name, tensor in back.items()}
    assert back.keys() - tensors.keys() == {name for name in back if name.endswith("num_batches_tracked")}
    changed = {name for name, tensor in tensors.items() if back[name].tobytes() != tensor.tobytes()}
    last = "conv2" if name == "tsm-r18" else "conv3"
    # who knows nothing of the other direction keeps this one
    assert f"base_model.layer1.0.{last}.weight" in changed


def test_a_target_that_cannot_shift_as_many_channels_is_refused():
    match = match_file(load_layout("tsm"), layout_weights.shells("tsm", "tsm-r50"))
    info = network_info(match, None, requested={"shift_div": 16})
    with pytest.raises(Refused, match="shift_div = 8 where these weights need shift_div = 16"):
        layout_weights.moved(layout_weights.shells("tsm", "tsm-r50"), match, info, load_layout("mmaction2"))


@pytest.mark.parametrize(
    ("told", "need"),
    [
        ({"segments": 4}, "segments = 4, shift_div = 8"),
        ({"segments": 16}, "segments = 16, shift_div = 8"),
        ({"shift_div": 6}, "shift_div = 6"),
    ],
)
def test_a_target_that_shifts_by_its_segments_takes_no_others(told, need):
    """PaddleVideo shifts C / segments, so 16 segments with eighths of the channels are no network of its."""
    match = match_file(load_layout("tsm"), layout_weights.shells("tsm", "tsm-r50"))
    info = network_info(match, None, requested=told)
    number = "its code has one number for segments and shift_div, which may be 4, 8, 16, 32 or 64"
    with pytest.raises(Refused, match=f"{number}, but these weights need {need}"):
        layout_weights.moved(layout_weights.shells("tsm", "tsm-r50"), match, info, load_layout("paddlevideo"))


@pytest.mark.parametrize("told", [{}, {"segments": 8}, {"segments": 16, "shift_div": 16}, {"shift_div": 4}])
def test_segments_that_a_group_is_one_of_so_many_parts_of_are_taken(told):
    match = match_file(load_layout("tsm"), layout_weights.shells("tsm", "tsm-r50"))
    plan = make_plan(
        match,
        layout_weights.shells("tsm", "tsm-r50"),
        load_layout("paddlevideo"),
        info := network_info(match, None, requested=told),
        eps=info.bn_eps,
    )
    assert any("only for clips of shift_div frames" in note for note in plan.notes)


@pytest.mark.parametrize("value", [0, 1, "sideways"])
def test_groups_are_at_most_half_of_the_channels(value):
    match = match_file(load_layout("tsm"), layout_weights.shells("tsm", "tsm-r50"))
    name = "shift_first" if value == "sideways" else "shift_div"
    with pytest.raises(UsageError):
        network_info(match, None, requested={name: value})
