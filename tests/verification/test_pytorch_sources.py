"""Sources of PyTorch projects whose own networks are written as graphs: both sides run, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert, verify
from converters.loading import to_torch
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from tests.helpers import layout_weights, selection

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.full

TOLERANCE = 1e-5


def written(layout: str, variant: str, folder: Path) -> Path:
    """A seeded file of a variant, whose residual branches and attention are damped as in a trained network: otherwise
    depth amplifies the rounding of float32."""
    table, one = load_layout(layout), layout_weights.variant(variant)
    tensors = layout_weights.seeded(table, one)
    damped = {
        slot.name
        for slot in tensor_slots(table, one, layout_weights.sizes(one), {})
        if ".nonlocal" in slot.canonical or slot.canonical.endswith("conv3.bn.weight")
    }
    prefix, path = table.scope_for({}), folder / "source.pth"
    torch.save(
        {
            prefix + name: to_torch(tensor) * (0.25 if name in damped else 1)
            for name, tensor in tensors.items()
        },
        path,
    )
    return path


def clip_of(folder: Path, frames: int) -> Path:
    path = folder / "clip.npy"
    np.save(path, np.random.RandomState(frames).standard_normal((1, 3, frames, 48, 56)).astype("f4"))
    return path


@pytest.mark.parametrize(
    ("layout", "variant", "asked", "target", "frames"),
    [
        ("tsm", "tsm-r50", None, "mmaction2", 3),
        ("tsm", "tsm-r50", None, "paddlevideo", 8),
        ("mmaction2", "tsm-r50", None, "tsm", 5),
        pytest.param("tsm", "tsm-r101", None, "native", 4, marks=selection.long),
        ("mmaction2", "tsm-r18", None, "tsm", 3),
        ("tsm", "tsm-block-r50", None, "mmaction2", 4),
        ("tsm", "tsm-nl-r50", None, "native", 4),
        ("tsm", "resnet2d-50", None, "mmaction2", 2),
        ("mmaction2", "tsm-nl-mmaction2-r50", "tsm-r50-nl-embedded-gaussian", "native", 4),
        ("mmaction2", "tsm-nl-mmaction2-r50", "tsm-r50-nl-dot-product", "native", 4),
        ("mmaction2", "tsm-nl-gaussian-r50", None, "native", 4),
        ("mmaction2", "resnet2d-50", None, "torchvision", 3),
        ("mmaction2", "c2d-r50", "c2d-r50", "pyslowfast", 4),
        ("mmaction2", "x3d-m", None, "pyslowfast", 4),
    ],
)
def test_every_block_is_that_of_the_projects_own_network(
    layout: str, variant: str, asked: str | None, target: str, frames: int, tmp_path: Path
) -> None:
    source = written(layout, variant, tmp_path)
    out = tmp_path / ("out.pdparams" if target == "paddlevideo" else "out.pth")
    convert(source, out, source=layout, to=target, variant=asked)
    proof = verify(source, out, variant=asked, clip=clip_of(tmp_path, frames))
    assert proof.ok
    assert proof.functional is not None
    blocks = {block.name: block for block in proof.functional.blocks}
    assert blocks["logits"].relative <= TOLERANCE
    assert {"stem", "layer1.0", "layer4.1", "pool"} <= blocks.keys()
    assert not any(block.fault for block in blocks.values())


@pytest.mark.parametrize("frames", [2, 8])
def test_a_shift_in_the_other_direction_is_caught(frames: int, tmp_path: Path) -> None:
    """Channels exchanged for a network that shifts as the source's does."""
    source = written("tsm", "tsm-r50", tmp_path)
    convert(
        source, tmp_path / "wrong.pth", source="tsm", to="mmaction2", settings={"shift_first": "previous"}
    )
    wrong = torch.load(tmp_path / "wrong.pth")
    torch.save(dict(wrong), tmp_path / "bare.pth")
    proof = verify(source, tmp_path / "bare.pth", clip=clip_of(tmp_path, frames))
    assert not proof.ok
    assert len(proof.exact.changed) == 122
    assert proof.functional is not None
    departs = [block.name for block in proof.functional.blocks if not block.relative <= TOLERANCE]
    assert "logits" in departs
    assert departs[0] == "stem"  # whose channels are in another order


@pytest.mark.parametrize(("source", "told"), [("native", {}), ("tsm", {"shift_first": "previous"})])
def test_an_exchange_is_undone_where_neither_layout_shows_it(
    source: str, told: dict[str, str], tmp_path: Path
) -> None:
    """The way back is to the source's own settings, not to those that its layout has."""
    first, given = written("tsm", "tsm-r50", tmp_path), tmp_path / "given.pth"
    if source == "native":
        convert(first, given, source="tsm", to="native")
    else:
        given = first
    convert(given, tmp_path / "out.pdparams", source=source, to="paddlevideo", settings=told)
    proof = verify(
        given, tmp_path / "out.pdparams", variant="tsm-r50", settings=told, clip=clip_of(tmp_path, 8)
    )
    assert proof.exact.ok
    assert proof.ok


def test_settings_told_are_the_sources_alone(tmp_path: Path) -> None:
    """Not those of an output whose names also fit networks that have no such setting; nor does a record need to say
    them."""
    source, told = written("tsm", "tsm-r50", tmp_path), {"segments": 8}
    convert(source, tmp_path / "out.pdparams", source="tsm", to="paddlevideo", settings=told)
    assert verify(source, tmp_path / "out.pdparams", settings=told, clip=clip_of(tmp_path, 8)).ok
    told = {"shift_first": "previous"}
    convert(source, tmp_path / "out.pth", source="tsm", to="native", settings=told)
    torch.save(dict(torch.load(tmp_path / "out.pth")), tmp_path / "bare.pth")
    proof = verify(source, tmp_path / "bare.pth", settings=told, clip=clip_of(tmp_path, 8), layout="native")
    assert proof.ok


def test_a_longer_clip_is_several_videos_to_a_network_with_segments(tmp_path: Path) -> None:
    source = written("tsm", "tsm-r50", tmp_path)
    convert(source, tmp_path / "out.pdparams", source="tsm", to="paddlevideo")
    same = verify(source, tmp_path / "out.pdparams", clip=clip_of(tmp_path, 8))
    assert (same.ok, same.declared.first) == (True, "")
    proof = verify(source, tmp_path / "out.pdparams", clip=clip_of(tmp_path, 16))
    assert proof.ok
    assert proof.declared.first == "layer1.0"  # not the stem, whose channels are in another order
    assert proof.declared.relative is not None
    assert not proof.declared.relative <= TOLERANCE
    assert not any("change it there" in note for note in proof.declared.notes)
