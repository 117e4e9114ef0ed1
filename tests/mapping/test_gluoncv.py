"""GluonCV's zoo: where each network goes, which clips an output takes, and what other files of the zoo are called."""

from __future__ import annotations

import zipfile
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import converters.mapping.releases as releases
from converters import convert, inspect
from converters.clips.description import ClipPreprocessing
from converters.clips.preprocess import positions
from converters.conversion.choose_target import choose_target
from converters.conversion.plan import make_plan
from converters.errors import Refused
from converters.hashes import Hash
from converters.inspection.support_table import exactness
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.names import families, tensor_slots
from converters.mapping.network_info import network_info, with_clips_of
from converters.mapping.variants import config, shapes, variants
from converters.networks import build
from converters.networks.spec import NetworkSpec
from converters.reports.terminal.inspection import _input_lines
from converters.reports.verification_page import _clip_text
from converters.tensor import Repeated, Tensor
from tests.helpers import layout_weights, seeded_weights_gluoncv
from tests.helpers.mxnet_files import params

if TYPE_CHECKING:
    from pathlib import Path

    from converters.mapping.match import Match
    from converters.mapping.variants import Variant

GLUONCV = load_layout("gluoncv")
HELD = [
    one
    for family in families(GLUONCV)
    for one in variants(family)
    if not GLUONCV.support_for(one.name).unsupported
]


def matched(one: Variant, *, asked: str | None = None, **more: int) -> Match:
    """A file of GluonCV's with zeros."""
    sizes = {**layout_weights.sizes(one), **more}
    zero = bytes(4)
    tensors = {
        slot.name: Tensor(
            slot.name, "float32", slot.file_shape(sizes), Repeated(zero, prod(slot.file_shape(sizes)))
        )
        for slot in tensor_slots(GLUONCV, one, sizes, {})
    }
    return match_file(GLUONCV, tensors, variant=asked)


def network(name: str, **settings: object) -> torch.nn.Module:
    """A network without weights."""
    one = layout_weights.variant(name)
    sizes = {**layout_weights.sizes(one), "classes": 5}
    known = {
        f"{module.name}.{leaf}": shape for module in one.modules for leaf, shape in shapes(module, sizes)
    }
    return build(NetworkSpec(one.family, name, known, {**config(one), **settings})).eval()


@pytest.mark.parametrize("one", HELD, ids=lambda one: one.name)
def test_where_it_goes_by_itself_is_the_same_function(one: Variant) -> None:
    (first, *_) = GLUONCV.targets_for(one.name)
    assert exactness(one, GLUONCV, load_layout(first)).kind == "exact"


def test_every_released_network_goes_somewhere_and_has_its_classes_named() -> None:
    listed = [release for release in releases.releases() if release.zoo == "gluoncv"]
    assert len(listed) == 37
    assert {one.network for one in listed} <= {one.name for one in HELD}
    for release in listed:
        text = release.file.removesuffix(".params").rpartition("-")[2]
        known = release.digest or release.hashes[release.file]
        assert (known.kind, known.digits[:8]) == ("sha1", text)
    for classes in {one.classes for one in listed}:
        assert str(classes) in GLUONCV.labels


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (400, {"hurling (sport)", "massaging person's head", "passing American football (in game)"}),
        (700, {"hurling (sport)", "massaging person's head", "wood burning (art)"}),
        (101, {"YoYo", "HandstandPushups"}),
        (51, {"brush_hair", "wave"}),
        (
            174,
            {
                "Approaching something with your camera",
                "Twisting (wringing) something wet until water comes out",
            },
        ),
    ],
)
def test_classes_are_spelt_as_in_the_data_sets(classes: int, names: set[str]) -> None:
    match = matched(layout_weights.variant("resnet2d-18"), classes=classes)
    labels = network_info(match, None).input["labels"]
    assert len(labels) == len({*labels}) == classes
    assert names <= {*labels}


def test_a_layout_that_takes_other_clips_is_not_the_same_function_of_them() -> None:
    one = layout_weights.variant("slowfast-r50")
    assert exactness(one, GLUONCV, load_layout("mmaction2")).kind == "clips"
    assert exactness(one, GLUONCV, load_layout("native")).kind == "exact"


def test_models_that_files_are_taken_for_only_if_asked_say_nothing_of_a_file() -> None:
    """Those of R101 with other numbers of slow frames, which GluonCV has no weights of."""
    one = layout_weights.variant("slowfast-r101")
    assert exactness(one, GLUONCV, load_layout("mmaction2")).kind == "clips"


@pytest.mark.parametrize("target", ["mmaction", "mmaction2"])
def test_layouts_that_are_named_for_another_can_hold_the_settings_too(target: str) -> None:
    """mmaction's own non-local blocks pool, GluonCV's do not."""
    match = matched(layout_weights.variant("i3d-nl-r50"))
    tensors = {slot.name: Tensor(slot.name, "float32", (), None) for slot in match.slots}  # type: ignore[arg-type]
    info = network_info(match, None)
    with pytest.raises(Refused, match="cannot hold") as caught:
        make_plan(match, tensors, load_layout(target), info, eps=info.bn_eps)
    holders = caught.value.told.hint.removeprefix("layouts that can hold it (--to): ").split(", ")
    assert holders == ["native", "nonlocal", "nonlocal-affine", "pyslowfast", "slowfast"]


@pytest.mark.full
def test_a_record_says_which_clips_the_output_takes(tmp_path: Path) -> None:
    one = layout_weights.variant("slowfast-r50")
    arrays = {
        slot.name: np.broadcast_to(np.float32(1), slot.shape)
        for slot in matched(one, lateral_t=5, classes=400).slots
        for slot in [slot._replace(shape=slot.file_shape({"channels": 3, "lateral_t": 5, "classes": 400}))]
    }
    (tmp_path / "in.params").write_bytes(params(arrays, 2))
    clips = {}
    for source, output, target in (
        ("in.params", "ps.pth", "pyslowfast"),
        ("in.params", "own.pth", "native"),
        ("ps.pth", "again.pth", "native"),
        ("own.pth", "video.pth", "pytorchvideo"),
    ):
        convert(tmp_path / source, tmp_path / output, to=target)
        given = inspect(tmp_path / output).network
        assert given is not None
        clips[output] = (
            given.input["clip"][0],
            given.input.get("again_every"),
            given.settings["slow_frames"],
        )
    assert clips == {
        "ps.pth": (32, None, "linspace"),
        "own.pth": (36, 8, "appended"),
        "again.pth": (36, 8, "appended"),
        "video.pth": (32, None, "linspace"),
    }


@pytest.mark.parametrize("model", seeded_weights_gluoncv.models())
def test_a_new_file_has_the_order_of_save_parameters(model: str) -> None:
    named = seeded_weights_gluoncv.shapes(model, 400)
    tensors = {
        name: Tensor(name, "float32", shape, Repeated(bytes(4), prod(shape))) for name, shape in named.items()
    }
    match = match_file(GLUONCV, tensors)
    plan = make_plan(match, tensors, GLUONCV, network_info(match, None), eps=1e-5)
    assert [(row.target, row.shape) for row in plan.rows] == [*named.items()]


def test_frames_that_come_again() -> None:
    wanted = ClipPreprocessing(frames=36, again_every=8, step=2)
    fast = [*range(0, 64, 2)]
    assert positions(200, wanted, None, 0) == [*fast, 0, 16, 32, 48]
    assert len(positions(200, wanted, None, None)) == 36


def test_frames_that_come_again_are_shown() -> None:
    info = network_info(matched(layout_weights.variant("slowfast-r50"), lateral_t=5), None)
    lines = [*_input_lines(info)]
    assert (
        "frames       256x340, centre crop 224x224, one of every 2; one in 8 of them comes again at the end"
        in lines
    )
    assert _clip_text(info.input).endswith(", every 2nd frame; one in 8 of them comes again at the end")


@pytest.mark.parametrize(("target", "word"), [("pyslowfast", "linspace"), ("native", "appended")])
def test_an_output_takes_the_clips_of_its_own_layout(target: str, word: str) -> None:
    match = matched(layout_weights.variant("slowfast-r50"), lateral_t=5)
    info = network_info(match, None)
    assert (info.settings["slow_frames"], info.settings["alpha"], info.input["clip"][0]) == (
        "appended",
        8,
        36,
    )
    tensors = {slot.name: Tensor(slot.name, "float32", (), None) for slot in match.slots}  # type: ignore[arg-type]
    plan = make_plan(match, tensors, load_layout(target), info, eps=1e-5)
    assert plan.settings["slow_frames"] == word
    assert dict(plan.moved) == ({"slow_frames": "appended"} if word == "linspace" else {})
    assert any("takes the clips of" in note for note in plan.notes) == (word == "linspace")
    assert choose_target(match, None).name == "native"
    there = with_clips_of(
        info.replace(settings=plan.settings), GLUONCV if target == "native" else load_layout(target), match
    )
    assert there.input["clip"] == [32 if word == "linspace" else 36, 224, 224]
    assert ("again_every" in there.input) == (word == "appended")


def test_both_pathways_frames_in_one_clip() -> None:
    model = network("slowfast-r50", alpha=8, slow_frames="appended")
    assert model.fast_frames(36) == 32
    assert model.slow_indices(36).tolist() == [32, 33, 34, 35]
    for frames in (37, 40, 45, 72):  # GluonCV slices, and so ignores the rest
        assert model.fast_frames(frames) == 32
        assert model.slow_indices(frames).tolist() == [32, 33, 34, 35]
    assert model.fast_frames(18) == 16
    for frames in (10, 32, 35):
        with pytest.raises(ValueError, match=f"a multiple of 9 frames, got {frames}"):
            model.fast_frames(frames)
    assert network("slowfast-r50", alpha=8).fast_frames(36) == 36
    model = network("slowfast-r101", alpha=4, slow_frames="appended")
    assert [model.fast_frames(frames) for frames in (10, 40, 45, 80)] == [8, 32, 32, 32]
    model = network("slowfast-50-50-r101", alpha=4, slow_frames="appended-64")
    assert [model.fast_frames(frames) for frames in (40, 80, 85)] == [32, 64, 64]
    assert model.slow_indices(85).tolist() == [*range(64, 80)]


def test_segments_are_averaged_before_fc6() -> None:
    model = network("c3d-plain", pools="padded", segments_before_fc6=True)
    points = model.end_points(torch.empty(2, 3, 48, 112, 112, device="meta"))
    assert points["pool5"].shape == (6, 512, 1, 4, 4)
    assert points["logits"].shape == (2, 5)
    with pytest.raises(ValueError, match="positions"):
        network("c3d-plain", pools="padded")(torch.empty(1, 3, 32, 112, 112, device="meta"))


SENTENCES = {
    "an SSD detector": ["features.a_weight", "class_predictors.0.weight", "box_predictors.0.weight"],
    "a Mask R-CNN detector": ["features.0.weight", "rpn.loc.weight", "mask.mask.weight"],
    "a Faster R-CNN detector": ["features.0.weight", "rpn.loc.weight", "class_predictor.weight"],
    "a network for semantic segmentation": ["conv1.0.weight", "auxlayer.block.4.weight"],
    "an ImageNet ResNet,": [
        "conv1.weight",
        "layer1.0.conv1.weight",
        "layer4.0.conv2.weight",
        "fc.weight",
    ],
    "an ImageNet network": ["features.0.weight", "features.1.gamma", "output.weight"],
    "a list of arrays without names": ["0", "1", "2"],
    "a file with the parameters' own names": ["resnetv10_conv0_weight", "resnetv10_dense0_weight"],
}


OWN_NAMES = {
    "ssd1_ssdanchorgenerator3_anchor_3": "an SSD detector",
    "yolov30_yolooutputv32_conv0_weight": "a YOLOv3 detector",
    "fasterrcnn0_rpn0_conv1_bias": "a Faster R-CNN detector",
    "maskrcnn0_mask0_conv0_bias": "a Mask R-CNN detector",
    "centernet0_conv4_bias": "a CenterNet detector",
    "deeplabv30__fcnhead0_hybridsequential0_conv1_weight": "a network for semantic segmentation",
    "mobilepose0_conv4_weight": "a network for human pose estimation",
}


@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_networks_own_name_says_what_it_is(name: str) -> None:
    names = ("resnetv1b_conv0_weight", name)  # what it was built on has a name of its own
    tensors = {one: Tensor(one, "float32", (4,), Repeated(bytes(4), 4)) for one in names}
    with pytest.raises(Refused, match=f"^is {OWN_NAMES[name]}, "):
        match_file(GLUONCV, tensors)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_other_networks_are_refused_by_what_they_are(sentence: str) -> None:
    tensors = {name: Tensor(name, "float32", (4,), Repeated(bytes(4), 4)) for name in SENTENCES[sentence]}
    with pytest.raises(Refused, match=f"^x.params: is {sentence}"):
        match_file(GLUONCV, tensors, path="x.params")


@pytest.mark.parametrize(
    ("variant", "what"),
    [("tsn-vgg16", "an ImageNet VGG-16"), ("tsn-inception-v3", "an ImageNet Inception-v3")],
)
def test_imagenet_networks_with_the_names_of_tsn_are_told_by_their_classes(variant: str, what: str) -> None:
    one = layout_weights.variant(variant)
    with pytest.raises(Refused, match=f"^is {what}, none of") as caught:
        matched(one, classes=1000)
    assert f"--variant {variant} " in caught.value.told.hint
    assert matched(one, classes=1000, asked=variant).variant is one
    assert matched(one, classes=999).variant is one
    assert (
        matched(layout_weights.variant("i3d-inception-v3"), classes=1000).variant.name == "i3d-inception-v3"
    )


@pytest.mark.parametrize("source", [None, "gluoncv"])
def test_a_detector_is_told_whether_its_layout_is_or_not(source: str | None, tmp_path: Path) -> None:
    names = SENTENCES["an SSD detector"]
    (tmp_path / "x.params").write_bytes(params({name: np.ones(4, "float32") for name in names}, 2))
    with pytest.raises(Refused, match="is an SSD detector"):
        convert(tmp_path / "x.params", tmp_path / "y.pth", source=source)


@pytest.mark.parametrize(
    ("names", "said"),
    [([""], "(1 tensor such as '')"), (["b", "a" * 100, "c"], f"(3 tensors such as {'a' * 77}..., b)")],
)
def test_a_file_of_no_such_network_is_shown_by_some_of_its_names(names: list[str], said: str) -> None:
    tensors = {name: Tensor(name, "float32", (4,), Repeated(bytes(4), 4)) for name in names}
    with pytest.raises(Refused, match="is not a video network that GluonCV has") as caught:
        match_file(GLUONCV, tensors)
    assert said in str(caught.value)


def test_a_damaged_file_of_a_known_network_is_compared_with_it() -> None:
    one = layout_weights.variant("p3d-r50")
    sizes = layout_weights.sizes(one)
    tensors = {
        slot.name: Tensor(slot.name, "float32", slot.file_shape(sizes), Repeated(bytes(4), 4))
        for slot in tensor_slots(GLUONCV, one, sizes, {})
        if slot.name != "bn1.gamma"
    }
    with pytest.raises(Refused, match="does not fit P3D R50") as caught:
        match_file(GLUONCV, tensors)
    assert caught.value.faults == ("missing: bn1.gamma",)


@pytest.mark.parametrize("packed", [False, True])
def test_a_release_is_known_by_the_hash_of_the_file_in_its_zip(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashlib import sha1

    data = params({"a.weight": np.zeros((2, 3), "float32")}, 2)
    path = tmp_path / ("x.zip" if packed else "x.params")
    path.write_bytes(data)
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net.params", data)
    known = Hash("sha1", sha1(data).hexdigest())
    release = releases.Release(
        zoo="zoo",
        title="Zoo",
        file="net.params",
        url="",
        layout="gluoncv",
        licence="",
        hashes={"net.params": known},
    )
    monkeypatch.setattr(releases, "releases", lambda: [release])
    found = inspect(path, hash=True).release
    assert found is not None
    assert found.whole
