"""Files of training runs: names that are not weights, prefixes of most names, wrappers inside names, other heads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from converters.conversion.recognize import recognize
from converters.errors import Refused, UsageError
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import readable_layouts
from converters.mapping.names import tensor_slots
from converters.mapping.readable_networks import readable_variants
from converters.mapping.training_state import BESIDE, LOSSES, METRICS, PROFILERS, left_aside
from tests.helpers.layout_weights import shell, shells, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.mapping.match import Match
    from converters.tensor import Tensor


def recognized(tensors: Mapping[str, Tensor], layout: str | None = None, **said: object) -> Match:
    checkpoint = Checkpoint(path="run.pth", format="pytorch", container="PyTorch file", tensors=tensors)
    return recognize(checkpoint, layout, **said)  # type: ignore[arg-type]


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def file_names(match: Match) -> list[str]:
    return [match.file_name(slot) for slot in match.slots if slot.name]


ASIDE = {
    "criterion.weight": ((51,), "float32", LOSSES),
    "loss_fn.pos_weight": ((51,), "float32", LOSSES),
    "losses.0.alpha": ((), "float32", LOSSES),
    "train_ce_loss.weight": ((51,), "float32", LOSSES),
    "head_.pos_weight": ((51,), "float64", LOSSES),
    "cross_entropy.weight": ((51,), "float32", LOSSES),
    "focal.alpha": ((), "float32", LOSSES),
    "cost_fn.weight": ((51,), "float32", LOSSES),
    "class_weights": ((51,), "float32", LOSSES),
    "ece.bins": ((15,), "float32", METRICS),
    "val_acc.tp": ((51,), "int64", METRICS),
    "val_metrics.MulticlassAccuracy.fn": ((51,), "int64", METRICS),
    "testF1Score.tn": ((), "int64", METRICS),
    "metrics.confmat": ((51, 51), "int64", METRICS),
    "confusion_matrix.state": ((51, 51), "float32", METRICS),
    "top5.correct": ((1,), "float32", METRICS),
}


@pytest.mark.parametrize("name", ASIDE)
@pytest.mark.parametrize(("network", "outside"), [("", ""), ("model.", ""), ("module.model.", "module.")])
def test_buffers_of_losses_and_metrics_are_left_aside(name: str, network: str, outside: str) -> None:
    shape, dtype, kind = ASIDE[name]
    tensors = under(network, shells("torchvision", "r3d-18"))
    match = recognized({**tensors, outside + name: shell(outside + name, shape, dtype)})
    assert (match.variant.name, match.prefix) == ("r3d-18", network)
    assert (match.aside, match.dropped) == ({outside + name: kind}, (outside + name,))
    assert file_names(match) == list(tensors)


BESIDE_IT = {
    "val_map": {"tp": ((51,), "int64"), "fp": ((51,), "int64")},
    "map": {"detection_scores": ((51, 7), "int64"), "thresholds": ((101,), "float32")},
    "ap": {"TPs": ((51, 51), "float32"), "weight": ((), "float32")},
    "test.ema": {"total": ((), "int64"), "mean": ((1,), "float32")},
    "ranks": {"weight": ((), "float64")},
    "seen": {"": ((), "int64")},
}


@pytest.mark.parametrize("module", BESIDE_IT)
@pytest.mark.parametrize(("network", "outside"), [("", ""), ("model.", ""), ("module.net.", "module.")])
def test_modules_without_weights_beside_the_network_are_left_aside(
    module: str, network: str, outside: str
) -> None:
    more = {
        name: shell(name, shape, dtype)
        for leaf, (shape, dtype) in BESIDE_IT[module].items()
        for name in [f"{outside}{module}.{leaf}".rstrip(".")]
    }
    if module == "seen" and (outside or not network):
        return
    tensors = under(network, shells("torchvision", "r3d-18"))
    match = recognized({**tensors, **more})
    assert (match.variant.name, match.prefix) == ("r3d-18", network)
    assert match.aside == dict.fromkeys(more, BESIDE)
    assert file_names(match) == list(tensors)


@pytest.mark.parametrize(
    "name", ["model.layer1.0.act.alpha", "model.layer1.mask", "scale", "map.codes.weight"]
)
def test_what_is_inside_the_network_is_not_left_aside(name: str) -> None:
    tensors = under("model.", shells("torchvision", "r3d-18")) | {name: shell(name, (7,))}
    with pytest.raises(Refused) as caught:
        recognized(tensors)
    assert caught.value.faults == (f"unused: {name}",)


@pytest.mark.parametrize("leaves", [("total_ops", "total_params"), ("__flops__",)])
def test_buffers_of_profilers_are_left_aside_at_every_level(leaves: tuple[str, ...]) -> None:
    tensors = under("module.", shells("mmaction2", "slowonly-r50"))
    places = [""]
    for name in tensors:
        parts = name.split(".")
        places += [".".join(parts[:end]) + "." for end in range(1, len(parts))]
    more = {
        place + leaf: shell(place + leaf, (1,), "float64")
        for place in dict.fromkeys(places)
        for leaf in leaves
    }
    match = recognized(tensors | more)
    assert (match.layout.name, match.prefix) == ("mmaction2", "module.")
    assert set(match.aside) == set(more)
    assert set(match.aside.values()) == {PROFILERS}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("criterion.weight", (51, 512)),
        ("metric_fc.weight", (51, 512)),
        ("total_ops", (3,)),
        ("teacher.bias", (7,)),
    ],
)
def test_what_may_be_a_weight_is_not_left_aside(name: str, shape: tuple[int, ...]) -> None:
    """But the user may drop it, and the hint says how."""
    tensors = under("model.", shells("torchvision", "r3d-18")) | {name: shell(name, shape)}
    with pytest.raises(Refused) as caught:
        recognized(tensors)
    assert caught.value.faults == (f"unused: {name}",)
    patterns = re.findall(r"--drop '([^']+)'", caught.value.told.hint)
    match = recognized(tensors, drop=patterns)
    assert (match.told, match.sizes["classes"]) == ((name,), 51)


@pytest.mark.parametrize("fault", ["missing", "doubled", "missing too"])
def test_a_real_fault_is_not_hidden(fault: str) -> None:
    tensors = under("backbone.", shells("torchvision", "mc3-18"))
    tensors["criterion.weight"] = shell("criterion.weight", (51,))
    if fault.startswith("missing"):
        del tensors["backbone.layer2.0.conv1.0.weight"]
    if fault == "missing too":
        tensors |= {
            f"head.{leaf}": shell(leaf, shape) for leaf, shape in (("weight", (5, 512)), ("bias", (5,)))
        }
    if fault == "doubled":
        tensors["layer2.0.conv1.0.weight"] = tensors["backbone.layer2.0.conv1.0.weight"]
    with pytest.raises(Refused) as caught:
        recognized(tensors, "torchvision")
    assert any("layer2.0.conv1.0.weight" in text for text in caught.value.faults)
    assert not any("criterion" in text for text in caught.value.faults)
    assert "--head" not in caught.value.told.hint
    assert ("--drop" in caught.value.told.hint) == (fault == "doubled")


@pytest.mark.parametrize(
    ("layout", "name", "network", "head"),
    [
        ("torchvision", "mc3-18", "backbone.", "head"),
        ("torchvision", "r3d-18", "module.base_model.", "module.new_fc"),
        ("torchvision", "r3d-18", "model.encoder.", "model.classifier.1"),
        ("torchvision", "resnet2d-50", "module.trunk.", "module.new_fc"),
        ("pyslowfast", "slowonly-r50", "net.trunk.", "net.fc_out"),
        ("vmz-pt", "ir-csn-26", "", "classifier.4"),
    ],
)
def test_a_head_outside_the_prefix_is_proposed_and_taken(
    layout: str, name: str, network: str, head: str
) -> None:
    tensors = shells(layout, name)
    (weight,) = [
        tensor for key, tensor in tensors.items() if len(tensor.shape) == 2 and key.endswith(".weight")
    ]
    own = weight.name.removesuffix(".weight")
    moved = {
        (head + key.removeprefix(own) if key.startswith(f"{own}.") else network + key): tensor
        for key, tensor in tensors.items()
    }
    moved["val_acc.tp"] = shell("val_acc.tp", (51,), "int64")
    with pytest.raises(Refused) as caught:
        recognized(moved, layout)
    (proposed,) = re.findall(r"--head (\S+)", caught.value.told.hint)
    assert proposed == head
    for said in (head, head.removeprefix("module.").removeprefix("model.")):
        match = recognized(moved, layout, head=said)
        assert (match.variant.name, match.prefix, match.sizes["classes"]) == (name, network, 51)
        assert file_names(match) == [key for key in moved if key != "val_acc.tp"]


def test_a_head_inside_and_one_outside_are_one_too_many() -> None:
    tensors = under("backbone.", shells("torchvision", "r3d-18"))
    tensors |= {name: shell(name, shape) for name, shape in (("fc.weight", (7, 512)), ("fc.bias", (7,)))}
    with pytest.raises(Refused) as caught:
        recognized(tensors, "torchvision")
    assert caught.value.faults == ("unused: fc.bias", "unused: fc.weight")
    with pytest.raises(Refused):
        recognized(tensors, "torchvision", head="fc")
    match = recognized(tensors, head="fc", drop=["backbone.fc.*"])
    assert (match.sizes["classes"], file_names(match)[-1]) == (7, "fc.bias")
    assert recognized(tensors, drop=["fc.*"]).sizes["classes"] == 51


@pytest.mark.parametrize(
    ("before", "after", "wrappers"),
    [
        ("backbone.", "backbone._orig_mod.", ("_orig_mod",)),
        ("backbone.layer1.", "backbone.layer1._orig_mod.", ("_orig_mod",)),
        ("backbone.", "_orig_mod.backbone.module.", ("module",)),
        ("backbone.layer2.0.", "backbone.layer2._orig_mod.0.module.", ("_orig_mod", "module")),
        ("backbone.layer3.", "backbone.layer3._fsdp_wrapped_module.", ("_fsdp_wrapped_module",)),
    ],
)
def test_wrappers_inside_names(before: str, after: str, wrappers: tuple[str, ...]) -> None:
    tensors = under("backbone.", shells("torchvision", "r3d-18"))
    if before == "backbone.layer2.0.":  # the wrapper of all of layer2 is around its second block too
        tensors = {
            name.replace("backbone.layer2.1.", "backbone.layer2._orig_mod.1."): t
            for name, t in tensors.items()
        }
    named = {name.replace(before, after): tensor for name, tensor in tensors.items()}
    match = recognized(named)
    in_prefix = match.prefix.split(".")  # of a wrapper around all that is wanted
    assert set(wrappers) <= {*match.wrappers, *in_prefix}
    assert file_names(match) == list(named)
    with_head = {
        "head" + name.removeprefix(f"{after}fc") if name.startswith(f"{after}fc.") else name: tensor
        for name, tensor in named.items()
    }
    if with_head != named:
        assert file_names(recognized(with_head, head="head")) == list(with_head)


def test_several_at_once() -> None:
    tensors = under("module._orig_mod.net.module.backbone.", shells("torchvision", "mc3-18"))
    own = "module._orig_mod.net.module.backbone.fc."
    named = {
        name.replace(own, "module._orig_mod.net.module.head.1."): tensor for name, tensor in tensors.items()
    }
    beside = {
        "module._orig_mod.criterion.weight": shell("", (51,)),
        "module._orig_mod.total_ops": shell("", (1,), "float64"),
        "module._orig_mod.net.module.total_ops": shell("", (1,), "float64"),
        "module._orig_mod.val_acc.tp": shell("", (), "int64"),
    }
    with pytest.raises(Refused) as caught:
        recognized(named | beside, "torchvision")
    assert "--head module._orig_mod.net.module.head.1" in caught.value.told.hint
    match = recognized(named | beside, head="module._orig_mod.net.module.head.1")
    assert file_names(match) == list(named)
    assert set(match.aside) == set(beside)


def test_a_wrapper_of_some_names_in_a_place_is_none() -> None:
    tensors = under("backbone.", shells("torchvision", "r3d-18"))
    name = "backbone.layer1.0.conv1.0.weight"
    odd = {
        key.replace(name, "backbone._orig_mod.layer1.0.conv1.0.weight"): one for key, one in tensors.items()
    }
    with pytest.raises(Refused):
        recognized(odd, "torchvision")
    with pytest.raises(Refused):  # twice, with a wrapper and without
        recognized(tensors | {"backbone._orig_mod.layer1.0.conv1.0.weight": tensors[name]}, "torchvision")


@pytest.mark.parametrize(
    ("names", "dropped"),
    [
        ({"fc.0": (256, 512), "fc.3": (51, 256)}, "fc.*"),
        ({"fc.0": (512, 512), "fc.3": (51, 512)}, "fc.*"),
        ({"head.fc1": (256, 512), "head.fc2": (51, 256)}, "head.*"),
        ({"fc": (256, 512), "fc2": (51, 256)}, ""),
    ],
)
def test_a_head_of_two_layers_is_not_advised_in_a_circle(
    names: dict[str, tuple[int, int]], dropped: str
) -> None:
    tensors = {
        name: tensor for name, tensor in shells("torchvision", "r3d-18").items() if not name.startswith("fc.")
    }
    for module, shape in names.items():
        tensors |= {f"{module}.weight": shell("", shape), f"{module}.bias": shell("", shape[:1])}
    said: list[dict[str, object]] = [{}, *({"head": module} for module in names)]
    for one in said:
        with pytest.raises(Refused) as caught:
            recognized(tensors, "torchvision", **one)
        assert "--head" not in caught.value.told.hint.replace("leave --head out", "")
    with pytest.raises(Refused) as caught:
        recognized(tensors, "torchvision")
    patterns = re.findall(r"--drop '([^']+)'", caught.value.told.hint)
    assert patterns == ([dropped] if dropped else ["fc2.*", "fc.*"])
    match = recognized(tensors, "torchvision", drop=patterns)
    assert (match.sizes["classes"], set(match.told)) == (
        0,
        {f"{one}.{leaf}" for one in names for leaf in ("weight", "bias")},
    )


def test_a_head_that_is_none_does_not_hide_what_helps() -> None:
    tensors = {
        name: one for name, one in shells("torchvision", "r3d-18").items() if not name.startswith("fc.")
    }
    layers = {"fc.0": (100, 512), "fc.3": (7, 100)}
    for module, shape in layers.items():
        tensors |= {f"{module}.weight": shell("", shape), f"{module}.bias": shell("", shape[:1])}
    for head in layers:
        with pytest.raises(Refused, match=r"drop=\['fc\.\*'\]"):
            recognized(tensors, "torchvision", head=head)
    with pytest.raises(Refused, match='say so: head="fc"'):
        recognized(shells("torchvision", "r3d-18"), "torchvision", head="margin")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("loss/ExponentialMovingAverage", ()),
        ("total_loss/avg", ()),
        ("tower_0/cross_entropy/avg", (1,)),
        ("losses/ema", ()),
    ],
)
def test_averages_of_losses_are_no_weights(name: str, shape: tuple[int, ...]) -> None:
    tensors = {"conv/w": shell("conv/w", (3, 3, 3, 8)), name: shell(name, shape)}
    assert left_aside("tensorflow", tensors, ()) == {name: "averages of losses"}
    tensors[name] = shell(name, (8,))
    assert left_aside("tensorflow", tensors, ()) == {}


@pytest.mark.parametrize("own", ["model.", "net.student."])
@pytest.mark.parametrize("other", ["ema_model.", "net.teacher."])
def test_two_networks_in_one_file_are_one_too_many(own: str, other: str) -> None:
    one = shells("torchvision", "r3d-18")
    with pytest.raises(Refused) as caught:
        recognized(under(own, one) | under(other, one) | {"queue": shell("queue", (128, 64))}, "torchvision")
    assert len(caught.value.faults) == len(one) + 1
    patterns = re.findall(r"--drop '([^']+)'", caught.value.told.hint)
    match = recognized(
        under(own, one) | under(other, one) | {"queue": shell("queue", (128, 64))},
        "torchvision",
        drop=patterns,
    )
    assert match.prefix == own


@pytest.mark.parametrize("drop", [["fc.*"], ["fc.weight", "fc.bias"], ["*fc*"], "fc.*"])
def test_what_the_user_drops_is_left_out(drop: list[str] | str) -> None:
    match = recognized(shells("torchvision", "r3d-18"), drop=drop)
    assert (match.sizes["classes"], match.told) == (0, ("fc.weight", "fc.bias"))


@pytest.mark.parametrize("drop", [["nothing.*"], ["fc.*", "fcc.*"], ["FC.weight"]])
def test_a_pattern_that_no_name_fits_is_an_error(drop: list[str]) -> None:
    with pytest.raises(UsageError, match="no name in the file fits the pattern"):
        recognized(shells("torchvision", "r3d-18"), drop=drop)


def test_a_weight_that_is_dropped_is_missing() -> None:
    with pytest.raises(Refused) as caught:
        recognized(shells("torchvision", "r3d-18"), drop=["stem.1.bias"])
    assert caught.value.faults[0].startswith("missing: stem.1.bias")


def every_pytorch_name() -> Iterator[tuple[str, str, Tensor]]:
    for layout in readable_layouts():
        if layout.format != "pytorch":
            continue
        for variant in readable_variants(layout.modules):
            if not layout.support_for(variant.name).unsupported:
                bound = sizes(variant)
                for slot in tensor_slots(layout, variant, bound, {"blending": False}):
                    if slot.name:
                        yield layout.name, slot.name, shell(slot.name, slot.file_shape(bound))


def test_no_name_of_a_network_is_left_aside() -> None:
    tensors = {name: tensor for _, name, tensor in every_pytorch_name()}
    assert len(tensors) > 2000
    assert left_aside("pytorch", tensors, ()) == {}


@pytest.mark.parametrize(
    ("layout", "network", "head"),
    [
        ("mmaction2", "ir-csn-50", "roi_head.bbox_head.fc_cls"),
        ("pytorchvideo", "i3d-r50", "detection_head.proj"),
        ("torchvision", "r3d-18", "roi_heads.box_predictor.cls_score"),
    ],
)
def test_a_detectors_head_is_no_classifier(layout: str, network: str, head: str) -> None:
    """Nobody is told to take it for one; without it the backbone is converted."""
    classifier = {"mmaction2": "cls_head.fc_cls", "pytorchvideo": "blocks.6.proj", "torchvision": "fc"}[
        layout
    ]
    named = {name.replace(classifier, head): tensor for name, tensor in shells(layout, network).items()}
    with pytest.raises(Refused) as caught:
        recognized(named)
    assert "--head" not in caught.value.told.hint
    assert f"{head} is a detector's head" in caught.value.told.hint
    (pattern,) = re.findall(r"--drop '([^']+)'", caught.value.told.hint)
    assert not recognized(named, drop=(pattern,)).sizes["classes"]
