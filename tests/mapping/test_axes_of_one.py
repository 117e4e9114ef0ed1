"""Tensors whose shapes differ from the network's by axes of one."""

from __future__ import annotations

import pytest

from converters.conversion.identify import UserHints, identify
from converters.conversion.notes import input_notes
from converters.conversion.plan import make_plan
from converters.errors import Refused
from converters.formats.checkpoint import Checkpoint
from converters.mapping.agreement import without_ones
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from tests.helpers.layout_weights import shells

NORMS = ("weight", "bias", "running_mean", "running_var")
SHAPES = {
    "1xC": lambda size: (1, size),
    "Cx1": lambda size: (size, 1),
    "1xCx1x1": lambda size: (1, size, 1, 1),
    "1x1x1xC": lambda size: (1, 1, 1, size),
    "1xCx1x1x1": lambda size: (1, size, 1, 1, 1),
}


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize(("layout", "name"), [("tsn-pytorch", "tsn-bn-inception"), ("torchvision", "r3d-18")])
def test_norms_with_further_axes(layout: str, name: str, form: str) -> None:
    plain = shells(layout, name)
    odd = {
        key: tensor._replace(shape=SHAPES[form](tensor.shape[0]))
        if key.endswith(NORMS) and len(tensor.shape) == 1
        else tensor
        for key, tensor in plain.items()
    }
    checkpoint = Checkpoint(path="x", format="pytorch", container="file", tensors=odd)
    found = identify(checkpoint, layout, UserHints())
    assert found.match.variant.name == name
    plan = make_plan(found.match, odd, load_layout(layout), found.info, eps=found.info.bn_eps)
    assert {row.target: row.shape for row in plan.rows if row.source} == {
        key: t.shape for key, t in plain.items()
    }
    assert all(op.keeps_bytes for row in plan.rows for op in row.operations)
    (note,) = (note for note in input_notes(checkpoint, found.match, found.info) if "axes of one" in note)
    assert f"{len([key for key in odd if odd[key] != plain[key]]) - 3} more" in note


def test_bn_inception_of_imagenet_as_tsn_begins_with_it() -> None:
    """``bn_inception-9f5701afb96c8044.pth``: no ``base_model.``, the head ``fc`` (``last_linear`` in Cadene's)."""
    tensors = shells("tsn-pytorch", "tsn-bn-inception", classes=1000)
    for head in ("fc", "last_linear"):
        named = {
            key.removeprefix("base_model.").replace("new_fc", head): tensor._replace(
                shape=(1, *tensor.shape) if "_bn." in key else tensor.shape
            )
            for key, tensor in tensors.items()
        }
        match = match_file(load_layout("tsn-pytorch"), named)
        assert (match.variant.name, match.sizes["classes"]) == ("tsn-bn-inception", 1000)
        assert {match.file_name(slot) for slot in match.slots} == set(named)


@pytest.mark.parametrize("shape", [(2, 32), (1, 63), (64, 64), (1, 0), (), (1,), (8, 1, 8)])
def test_other_shapes_are_faults(shape: tuple[int, ...]) -> None:
    tensors = shells("torchvision", "r3d-18")
    name = "stem.1.weight"
    with pytest.raises(Refused) as caught:
        match_file(load_layout("torchvision"), tensors | {name: tensors[name]._replace(shape=shape)})
    (fault,) = caught.value.faults
    assert fault.startswith(f"shape: {name}")
    assert fault.endswith("wanted 64)")


@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (64, 3, 3, 7, 7, 1), (1, 64, 3, 3, 7, 7)])
def test_kernels_are_not_reshaped(shape: tuple[int, ...]) -> None:
    """A kernel without a time axis is one of another network."""
    tensors = shells("torchvision", "r3d-18")
    with pytest.raises(Refused):
        match_file(
            load_layout("torchvision"),
            tensors | {"stem.0.weight": tensors["stem.0.weight"]._replace(shape=shape)},
        )


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((51, 512, 1, 1, 1), True), ((1, 1, 51, 512), True), ((512, 51), False), ((1, 1, 512), False)],
)
def test_a_linear_layer_with_further_axes(shape: tuple[int, ...], fits: bool) -> None:
    tensors = shells("torchvision", "r3d-18")
    tensors["fc.weight"] = tensors["fc.weight"]._replace(shape=shape)
    if fits:
        assert match_file(load_layout("torchvision"), tensors).sizes["classes"] == 51
    else:
        with pytest.raises(Refused):
            match_file(load_layout("torchvision"), tensors)


def test_an_ambiguous_matrix_has_no_shape() -> None:
    assert without_ones((1, 1, 512), 2) == (512,)
    assert without_ones((1, 512), 2) is None
    assert without_ones((1, 1), 1) == (1,)


@pytest.mark.parametrize(
    ("layout", "name", "key", "shape", "wanted"),
    [
        (
            "pyslowfast",
            "slowfast-r50",
            "head.projection.weight",
            (51, 2000),
            "wanted (any number of classes)x2304",
        ),
        (
            "pyslowfast",
            "i3d-r50",
            "s1.pathway0_stem.conv.weight",
            (64, 4, 5, 7),
            "64x(any number of input channels)x5x7x7",
        ),
        ("tsn", "tsn-bn-inception", "fc-action/0", (1, 1, 101, 1000), "(any number of classes)x1024"),
        ("i3d", "i3d", "Logits/Conv3d_0c_1x1/conv_3d/w", (1, 1, 1, 1000, 51), "1024x(any number of classes)"),
        ("pyslowfast", "slowfast-r50", "s1_fuse.conv_f2s.weight", (16, 8, 9, 1, 1), "16x8x(5 or 7)x1x1"),
    ],
)
def test_sizes_in_faults_are_numbers_or_words(
    layout: str, name: str, key: str, shape: tuple[int, ...], wanted: str
) -> None:
    tensors = shells(layout, name)
    with pytest.raises(Refused) as caught:
        match_file(load_layout(layout), tensors | {key: tensors[key]._replace(shape=shape)}, variant=name)
    text = next(fault for fault in caught.value.faults if fault.startswith(f"shape: {key} "))
    assert wanted in text
    assert "_t" not in text.split("wanted")[1]
    assert "classesx" not in text
