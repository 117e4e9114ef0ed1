"""What maps onto what exactly: our tables say what was measured, and our networks compute it."""

from __future__ import annotations

import tomllib
from functools import cache

import pytest
import torch

from converters import convert, load_model
from converters.conversion.plan import make_plan
from converters.inspection.support_table import KINDS, exactness
from converters.loading import to_torch
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.network_info import network_info
from converters.networks import network_record
from tests.helpers import layout_weights, selection
from tests.helpers.paths import DATA

ROWS = tomllib.loads((DATA / "exactness.toml").read_text())["row"]
MEASURED = [
    (row["source"], variant, target, row["result"], row.get("says", ""))
    for row in ROWS
    for variant in row["variants"]
    for target in row["targets"]
]


@pytest.mark.parametrize(("source", "variant", "target", "result", "says"), MEASURED)
def test_the_tables_say_what_was_measured(
    source: str, variant: str, target: str, result: str, says: str
) -> None:
    found = exactness(layout_weights.variant(variant), load_layout(source), load_layout(target))
    assert found.kind == result
    assert result in KINDS
    assert says in found.why
    assert found.why or result in ("exact", "eps")


EVEN = {"i3d": (1, 3, 24, 224, 224), "c3d": (1, 3, 16, 112, 112)}
"""Clips that all layouts of a family pad alike."""

SMALLEST = {"r2plus1d-50": "r2plus1d-34", "slowonly-r50": "i3d-r50", "slowonly-r101": "i3d-r50"}
"""What is computed for a variant whose type has a smaller one."""
LARGE = ("i3d", "c3d-plain")
"""What the fast suite computes from file to file alone."""


def computed() -> list:
    """Every pair that was measured, once for each type of network, at its smallest depth."""
    cases = {}
    for source, variant, target, result, _ in MEASURED:
        if result != "refused" and source != "c3d-chainer":
            kind = variant.removesuffix("-152")
            small = f"{kind}-50" if kind != variant else variant
            cases[source, SMALLEST.get(small, small), target] = result
    return selection.one_of_each(
        [pytest.param(*key, result, id="-".join(key)) for key, result in cases.items()],
        lambda source, variant, target, result: {source, target, result} if variant not in LARGE else (),
    )


@cache
def original(source: str, variant: str):
    """A seeded file, what fits it, and what its network computes; pool1 on for CSN alone."""
    layout, one = load_layout(source), layout_weights.variant(variant)
    tensors = layout_weights.seeded(layout, one)
    clip = torch.randn(
        EVEN.get(one.family) or network_record(one.family).test_clip,
        generator=torch.Generator().manual_seed(3),
    )
    found = match_file(layout, tensors)
    settings = network_info(found, None).settings
    pool1 = {"pool1": settings["pool1"]} if "pool1" in settings else {}
    return (
        tensors,
        found,
        clip,
        layout_weights.logits(layout_weights.network(layout, tensors, **pool1), clip),
        pool1,
    )


def departs(source: str, variant: str, target: str, eps: float | None = None) -> float:
    """How far the target's own network is from the source's, relative to the largest logit."""
    tensors, found, clip, wanted, pool1 = original(source, variant)
    layout = load_layout(target)
    there = layout_weights.moved(tensors, found, network_info(found, None), layout, eps=eps)
    ours = layout_weights.logits(layout_weights.network(layout, there, **pool1), clip)
    return float((ours - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(("source", "variant", "target", "result"), computed())
def test_the_networks_compute_what_was_measured(source: str, variant: str, target: str, result: str) -> None:
    error = departs(source, variant, target)
    if result == "differs":
        assert error > 1e-3
    else:
        assert error <= 1e-6
    if result == "eps":  # and without the fold it would not be
        assert departs(source, variant, target, eps=1e-3) > 1e-4


@pytest.mark.full
def test_mmactions_features_of_i3d_are_equal() -> None:
    """Of the row that differs: all but the head's mean is the same."""
    tensors, found, clip, _, pool1 = original("i3d", "i3d")
    there = layout_weights.moved(tensors, found, network_info(found, None), load_layout("mmaction"))
    with torch.inference_mode():
        ours = layout_weights.network(load_layout("i3d"), tensors, **pool1).end_points(clip)["Mixed_5c"]
        theirs = layout_weights.network(load_layout("mmaction"), there, **pool1).end_points(clip)["Mixed_5c"]
    assert float((ours - theirs).abs().max() / ours.abs().max()) <= 1e-6


def test_our_own_names_keep_the_network_that_the_weights_are_of(tmp_path) -> None:
    """mmaction's head takes frames of any size, TensorFlow's does not: `native` has none of its own."""
    tensors = layout_weights.seeded(load_layout("mmaction"), layout_weights.variant("i3d"))
    torch.save({name: to_torch(tensor) for name, tensor in tensors.items()}, tmp_path / "x.pth")
    clip = torch.randn(1, 3, 24, 72, 96, generator=torch.Generator().manual_seed(3))
    wanted = layout_weights.logits(load_model(tmp_path / "x.pth"), clip)
    result = convert(tmp_path / "x.pth", tmp_path / "y.safetensors", source="mmaction", to="native")
    assert not any("averages" in note for note in result.notes)
    assert torch.equal(layout_weights.logits(load_model(tmp_path / "y.safetensors"), clip), wanted)
    again = convert(tmp_path / "y.safetensors", tmp_path / "z.safetensors", source="native", to="pytorch-i3d")
    assert any("averages" in note for note in again.notes)
    with pytest.raises(ValueError, match="takes two frames or more of 7x7"):
        load_model(tmp_path / "z.safetensors")(clip)


def test_a_pool_that_a_pickle_cannot_say_is_said() -> None:
    """VMZ's own R(2+1)D has none, mmaction's has; and a bare file of our names is taken for the network's usual."""
    mmaction, vmz, native = (load_layout(name) for name in ("mmaction", "vmz", "native"))
    assert exactness(layout_weights.variant("r2plus1d-34"), mmaction, vmz).kind == "settings"
    assert exactness(layout_weights.variant("ir-csn-50"), mmaction, vmz).kind == "exact"
    assert exactness(layout_weights.variant("r2plus1d-34"), mmaction, native).kind == "exact"
    tensors = layout_weights.seeded(native, layout_weights.variant("ir-csn-26"))
    assert network_info(match_file(native, tensors), None).settings["pool1"]


@pytest.mark.parametrize(("frames", "kind"), [(0, "exact"), (8, "exact"), (16, "refused")])
@pytest.mark.parametrize("source", ["tsm", "mmaction2"])
def test_paddlevideo_shifts_eighths_only_of_eight_frames(source: str, frames: int, kind: str) -> None:
    one = layout_weights.variant("tsm-r50")
    assert exactness(one, load_layout(source), load_layout("paddlevideo"), frames=frames).kind == kind
    assert exactness(one, load_layout(source), load_layout("native"), frames=frames).kind == "exact"


def test_paddlevideo_has_three_input_channels() -> None:
    one, paddle = layout_weights.variant("tsm-r50"), load_layout("paddlevideo")
    for channels, kind in ((0, "exact"), (3, "exact"), (10, "settings")):
        assert exactness(one, load_layout("tsm"), paddle, channels=channels).kind == kind
        tensors = layout_weights.shells("tsm", "tsm-r50", channels=channels or 3)
        match = match_file(load_layout("tsm"), tensors)
        info = network_info(match, None)
        plan = make_plan(match, tensors, paddle, info, eps=info.bn_eps)
        said = [note for note in plan.notes if "input channels" in note]
        assert len(said) == (channels == 10)


def test_an_eps_that_came_back_is_no_other_eps(tmp_path) -> None:
    """In float64 1e-3 and 1e-5 - 1e-3 make 1.0000000000000026e-05."""
    tensors = layout_weights.seeded(load_layout("torchvision"), layout_weights.variant("r3d-18"))
    torch.save({name: to_torch(tensor) for name, tensor in tensors.items()}, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", tmp_path / "y.pth", source="torchvision", to="vmz-pt")
    back = convert(tmp_path / "y.pth", tmp_path / "z.pth", source="vmz-pt", to="torchvision")
    assert back.info is not None
    assert back.info.bn_eps == 1e-5
    assert not any("eps" in note for note in back.notes)
