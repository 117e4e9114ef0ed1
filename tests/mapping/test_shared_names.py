"""Networks whose files have the same names and shapes: what such a file is taken for, and what is said of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters import Refused
from converters.conversion.notes import input_notes
from converters.conversion.plan import make_plan
from converters.conversion.recognize import recognize
from converters.errors import UsageError
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import others_that_fit
from converters.mapping.network_info import network_info, require_unambiguous
from tests.helpers import layout_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from converters.tensor import Tensor


def opened(
    tensors: Mapping[str, Tensor], provenance: Mapping | None = None, format_: str = "pytorch"
) -> Checkpoint:
    return Checkpoint(
        path="x.pth", format=format_, container="PyTorch file", tensors=tensors, provenance=provenance
    )


def spelled(variant: str, change: Callable[[str], str], layout: str = "mmaction2") -> dict[str, Tensor]:
    shells = layout_weights.shells(layout, variant)
    return {change(name): tensor._replace(name=change(name)) for name, tensor in shells.items()}


def test_mmaction2s_shared_names_are_tsns_unless_something_else_is_asked_for() -> None:
    file = opened(layout_weights.shells("mmaction2", "resnet2d-50"))
    found = recognize(file, None)
    assert (found.variant.name, found.choices) == ("resnet2d-50", ())
    assert sorted(others_that_fit(found)) == ["c2d-r50", "c2d-r50-nopool", "tsm-r50", "tsn-r50"]
    assert any(
        "also those of" in note and "c2d-r50" in note
        for note in input_notes(file, found, network_info(found, None))
    )
    for asked, variant in {
        "tsn-r50": "resnet2d-50",
        "c2d-r50-nopool": "resnet2d-50",
        "c2d-r50": "c2d-r50",
        "tsm-r50": "tsm-r50",
    }.items():
        again = recognize(file, "mmaction2", variant=asked)
        assert (again.variant.name, again.also) == (variant, ())
        info = require_unambiguous(network_info(again, None, model=asked), "x.pth")
        assert info.settings.get("pool1_padding", 0) == 0


@pytest.mark.parametrize("asked", [None, "slowonly_8x8_temporal_max"])
def test_a_model_that_was_asked_for_is_not_said_to_fit_too(asked: str | None) -> None:
    file = opened(layout_weights.shells("mmaction2", "slowonly-ava-r50"))
    found = recognize(file, "mmaction2", variant=asked)
    info = network_info(found, None, model=asked)
    assert info.settings["roi_frames"] == ("max" if asked else "mean")
    said = [note for note in input_notes(file, found, info) if "also those of" in note]
    assert len(said) == (asked is None)


def test_a_record_says_which_it_is() -> None:
    tensors = layout_weights.shells("mmaction2", "resnet2d-50")
    asked = network_info(recognize(opened(tensors), None, variant="c2d-r50"), None)
    file = opened(tensors, {"network": asked.as_data()})
    found = recognize(file, None)
    assert found.variant.name == "c2d-r50"
    assert not any("also those of" in note for note in input_notes(file, found, asked))


@pytest.mark.parametrize(
    ("variant", "models"),
    [
        ("resnet2d-50", ("tsn-r50", "tsm-r50-8seg", "tsm-r50-16seg")),
        ("resnet2d-101", ("tsn-r101", "tsm-r101-8seg")),
        ("resnet2d-152", ("tsn-r152", "tsm-r152-8seg")),
    ],
)
def test_paddlevideos_shared_names_are_asked_for(variant: str, models: tuple[str, ...]) -> None:
    shells = layout_weights.shells("paddlevideo", variant)
    found = recognize(opened(shells, format_="paddle"), "paddlevideo")
    info = network_info(found, None)
    assert (info.model, info.choices) == ("", models)
    with pytest.raises(Refused, match=", ".join(models)):
        require_unambiguous(info, "x.pdparams")
    for model in models[1:]:
        asked = recognize(opened(shells, format_="paddle"), "paddlevideo", variant=model)
        assert network_info(asked, None, model=model).settings["shift_first"] == "previous"


@pytest.mark.parametrize("depth", [18, 50, 101, 152])
@pytest.mark.parametrize(
    "change",
    [
        lambda name: name,
        lambda name: name.replace("conv1.conv.net.", "conv1.net.conv."),
        lambda name: name.replace("conv1.conv.net.", "conv1.conv."),
    ],
    ids=["released", "early", "without"],
)
def test_every_spelling_of_mmaction2s_tsm_comes_back_as_it_was(
    depth: int, change: Callable[[str], str]
) -> None:
    variant = f"tsm-r{depth}"
    tensors = spelled(variant, change)
    found = recognize(opened(tensors), "mmaction2", variant=variant)
    assert (found.variant.name, len(found.slots)) == (variant, len(tensors))
    plan = make_plan(found, tensors, load_layout("tsm"), network_info(found, None), eps=1e-5)
    assert "module.base_model.layer1.0.conv1.net.weight" in {row.target for row in plan.rows}
    by_default = recognize(opened(tensors), None).variant.name
    assert by_default == (variant if ".net." in "".join(tensors) else f"resnet2d-{depth}")


def test_a_shift_is_never_read_from_or_into_a_file_without_a_word() -> None:
    tsn = opened(layout_weights.shells("tsm", "resnet2d-50"))
    tsm = opened(layout_weights.shells("tsm", "tsm-r50"))
    assert recognize(tsn, None).variant.name == "resnet2d-50"
    assert recognize(tsm, None).variant.name == "tsm-r50"
    with pytest.raises(Refused, match="holds 2D ResNet-50"):
        recognize(tsn, "tsm", variant="tsm-r50")
    with pytest.raises(Refused, match="holds TSM R50"):
        recognize(tsm, "tsm", variant="resnet2d-50")


@pytest.mark.parametrize("classes", [27, 174, 400])
@pytest.mark.parametrize("channels", [3, 10])
def test_any_classes_and_optical_flow(classes: int, channels: int) -> None:
    shells = layout_weights.shells("tsm", "tsm-r50", classes=classes, channels=channels)
    found = recognize(opened(shells), None)
    assert (found.variant.name, found.sizes["classes"], found.sizes["channels"]) == (
        "tsm-r50",
        classes,
        channels,
    )


def test_both_modes_of_mmaction2s_non_local_blocks_are_asked_for() -> None:
    found = recognize(opened(layout_weights.shells("mmaction2", "tsm-nl-mmaction2-r50")), None)
    with pytest.raises(Refused, match="fit 2 models"):
        require_unambiguous(network_info(found, None), "x.pth")
    weights = {
        name: network_info(found, None, model=name).settings["nonlocal_weights"]
        for name in ("tsm-r50-nl-embedded-gaussian", "tsm-r50-nl-dot-product")
    }
    assert [*weights.values()] == ["softmax", "mean"]


def shells(layout: str, variant: str) -> Checkpoint:
    return opened(layout_weights.shells(layout, variant), format_=load_layout(layout).format)


@pytest.mark.parametrize(
    ("layout", "variant", "model"),
    [
        ("paddlevideo", "tsm-r50", "tsm-r50-8seg"),
        ("mmaction2", "i3d-nl-mmaction2-r50", "i3d_r50_nl_dot_product"),
        ("gluoncv", "slowfast-r50", "slowfast_4x16_resnet50"),
    ],
)
def test_a_model_has_the_settings_of_its_layout_under_the_canonical_names_too(layout, variant, model):
    own, canonical = (
        network_info(recognize(shells(name, variant), name, variant=variant), None, model=model)
        for name in (layout, "native")
    )
    assert canonical.settings == own.settings


@pytest.mark.parametrize("told", [{"segments": 4}, {"shift_div": 4}, {"segments": 4, "shift_div": 4}])
def test_settings_that_are_one_number_choose_a_model_and_its_clip(told):
    match = recognize(shells("paddlevideo", "tsm-r50"), "paddlevideo", variant="tsm-r50")
    info = require_unambiguous(network_info(match, None, requested=told), "x")
    assert (info.settings["segments"], info.settings["shift_div"]) == (4, 4)
    assert info.settings["shift_first"] == "previous"
    assert info.input["clip"] == [4, 224, 224]


@pytest.mark.parametrize("told", [{"segments": 4, "shift_div": 8}, {"segments": 5}, {"segments": 0}])
def test_settings_that_are_one_number_may_not_be_others(told):
    match = recognize(shells("paddlevideo", "tsm-r50"), "paddlevideo", variant="tsm-r50")
    with pytest.raises(UsageError, match="one number for segments and shift_div, which may be 4, 8"):
        network_info(match, None, requested=told)
