"""Detectors of any number of classes, and files that may be a classifier or a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters.conversion.identify import UserHints, identify
from converters.conversion.recognize import recognize
from converters.errors import Refused
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.table_files import network_names, usual_class_counts
from converters.mapping.variants import head_part, is_detector, modules, variants
from tests.helpers import layout_weights

if TYPE_CHECKING:
    from converters.conversion.identify import Identified
    from converters.tensor import Tensor

USUAL = (400, 600, 700, 101, 51, 174, 487, 339, 157)
OTHERS = (1, 3, 5, 7, 24, 60, 61, 80, 81, 401)


def identified(layout: str, tensors: dict[str, Tensor], **hints: str) -> Identified:
    file_format = load_layout(layout).format
    checkpoint = Checkpoint(path="x", format=file_format, container="file", tensors=tensors)
    return identify(checkpoint, layout, UserHints(**hints))


@pytest.mark.parametrize("classes", OTHERS)
@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("mmaction2", "slowonly-ava-r50"),
        ("mmaction2", "slowfast-bare-ava-context-r50"),
        ("mmaction", "i3d-nl-c4-ava-r50"),
        ("pytorchvideo", "slowonly-ava-r50"),
        ("pytorchvideo", "slowfast-ava-r50"),
    ],
)
def test_a_detector_has_any_number_of_classes(layout: str, name: str, classes: int) -> None:
    """These layouts give a detector's head a name of its own."""
    match = match_file(load_layout(layout), layout_weights.shells(layout, name, classes=classes))
    assert (match.variant.name, match.sizes["classes"], match.choices) == (name, classes, ())


@pytest.mark.parametrize("layout", ["pyslowfast", "slowfast"])
@pytest.mark.parametrize(
    ("classifier", "detector"),
    [
        ("slowonly-r50", "slowonly-ava-r50"),
        ("slowonly-r101", "slowonly-ava-r101"),
        ("slowfast-r50", "slowfast-ava-r50"),
        ("slowfast-nl-50-50-r101", "slowfast-nl-ava-50-50-r101"),
    ],
)
def test_which_of_two_is_asked_for_by_an_unusual_number_of_classes(
    layout: str, classifier: str, detector: str
) -> None:
    for classes in USUAL[:3]:
        found = identified(layout, layout_weights.shells(layout, classifier, classes=classes))
        assert (found.match.variant.name, found.info.choices) == (classifier, ())
    for classes in (3, 7, 60):
        tensors = layout_weights.shells(layout, classifier, classes=classes)
        with pytest.raises(Refused, match="compute different things") as caught:
            identified(layout, tensors)
        assert "--variant" in caught.value.told.hint
        first, *others = caught.value.where.split(", ")
        assert first == classifier
        for name in (first, *others):  # each of them is an answer
            found = identified(layout, tensors, variant=name, model=name)
            assert found.match.variant.name == (classifier if name == classifier else detector)


@pytest.mark.parametrize("classes", [*USUAL, *OTHERS])
def test_the_usual_numbers_are_those_of_data_sets(classes: int) -> None:
    match = match_file(
        load_layout("pyslowfast"), layout_weights.shells("pyslowfast", "slowonly-r50", classes=classes)
    )
    assert (classes in usual_class_counts()) == (classes in USUAL)
    assert match.choices == (() if classes in USUAL else ("slowonly-r50", "slowonly-ava-r50"))


def test_a_detector_of_a_usual_number_of_classes_can_be_asked_for() -> None:
    tensors = layout_weights.shells("slowfast", "slowonly-ava-r50", classes=400)
    for name in ("slowonly-ava-r50", "AVA_SLOW_8x8_R50"):
        assert (
            identified("slowfast", tensors, variant=name, model=name).match.variant.name == "slowonly-ava-r50"
        )


@pytest.mark.parametrize("classes", [80, 400])
@pytest.mark.parametrize("name", ["slowonly-ava-r50", "slowonly-r50"])
def test_a_record_says_which_it_is(name: str, classes: int) -> None:
    def recorded(variant: object) -> Checkpoint:
        return Checkpoint(
            path="x",
            format="pytorch",
            container="file",
            tensors=layout_weights.shells("pyslowfast", name, classes=classes),
            provenance={"layout": "pyslowfast", "network": {"variant": variant}},
        )

    assert recognize(recorded(name), None).variant.name == name
    for other in ("slowfast-ava-r50", "nothing", 7, None):  # what does not fit decides nothing
        assert recognize(recorded(other), None, ask=False).variant.name == "slowonly-r50"
    assert recognize(recorded(name), None, variant="slowonly-r50").variant.name == "slowonly-r50"


def test_a_detector_with_a_wrong_head_is_no_detector() -> None:
    """Any number of classes, but as many biases as rows, and as many columns as channels."""
    whole = layout_weights.shells("mmaction2", "slowonly-ava-r50", classes=7)
    for name, shape in (("weight", (7, 2047)), ("weight", (8, 2048)), ("bias", (6,)), ("weight", (0, 2048))):
        key = f"roi_head.bbox_head.fc_cls.{name}"
        with pytest.raises(Refused) as caught:
            match_file(load_layout("mmaction2"), whole | {key: whole[key]._replace(shape=shape)})
        assert len(caught.value.faults) == 1


def test_detectors_are_those_whose_heads_take_regions() -> None:
    every = [variant for family in network_names() for variant in variants(family)]
    detectors = [variant for variant in every if is_detector(variant)]
    assert len(detectors) == 9
    for variant in every:
        names = {module.name for module in modules(variant) if module.part == head_part(variant)}
        assert is_detector(variant) == ("roi_head" in names)
