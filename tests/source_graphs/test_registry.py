"""Each project's networks are registered where they are defined, and no two records take the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters.mapping.globs import is_for
from converters.mapping.layout_tables import load_layout, models
from converters.mapping.names import families, tensor_slots
from converters.mapping.table_files import layout_names
from converters.mapping.variants import variants
from converters.source_graphs.registry import source_records
from tests.helpers import layout_weights

if TYPE_CHECKING:
    from converters.source_graphs.record import SourceRecord

SIZES = {"classes": 7, "channels": 3, "stem_t": 3, "lateral_t": 5}
WITHOUT = {"detectron", "detectron2"}
"""Layouts whose networks nobody has written from the source's side."""

SOURCES = [name for name in layout_names() if load_layout(name).format != "pytorch" and name not in WITHOUT]


OF_PYTORCH = [
    (layout, variant)
    for layout, variants_ in {
        "tsm": ("tsm-r18", "tsm-r50", "tsm-r101", "tsm-nl-r50", "tsm-block-r50", "resnet2d-50"),
        "mmaction2": (
            "tsm-r50",
            "tsm-nl-mmaction2-r50",
            "tsm-nl-gaussian-r50",
            "resnet2d-18",
            "resnet2d-101",
            "c2d-r50",
            "x3d-m",
        ),
    }.items()
    for variant in variants_
]
"""PyTorch projects' networks that somebody has written from their side too."""


def takers(shapes: dict[str, tuple[int, ...]], model: str) -> list[SourceRecord]:
    """Every record that takes a file of such names. None refuses it."""
    return [record for record in source_records() if record.recognise(shapes, {"model": model})]


def test_every_layout_of_a_source_framework_has_a_record() -> None:
    named = {name for record in source_records() for name in record.layouts}
    assert named == {*SOURCES, *(name for name, _ in OF_PYTORCH)}


@pytest.mark.parametrize("name", SOURCES)
def test_one_record_alone_takes_a_file(name: str) -> None:
    """Of the first variant of each family, under the name of each of its models where the layout names models."""
    layout = load_layout(name)
    for family in families(layout):
        variant = next(each for each in variants(family) if not layout.support_for(each.name).unsupported)
        sizes = {size: variant.values.get(size, [number])[0] for size, number in SIZES.items()}
        shapes = {
            slot.name: slot.file_shape(sizes)
            for slot in tensor_slots(layout, variant, sizes, {})
            if slot.name
        }
        named = [model.name for model in models(layout) if is_for(model.variants, variant.name)]
        for model in named if models(layout) else [variant.name]:
            (record,) = takers(shapes, model)
            assert name in record.layouts


@pytest.mark.parametrize(("name", "variant"), OF_PYTORCH)
def test_one_record_alone_takes_a_pytorch_file(name: str, variant: str) -> None:
    shapes = {tensor.name: tensor.shape for tensor in layout_weights.shells(name, variant).values()}
    (record,) = takers(shapes, variant)
    assert name in record.layouts
    net = record.recognise(shapes, {"model": variant})
    read = {one for op in net.ops for one in op.inputs}
    assert shapes.keys() <= read


@pytest.mark.parametrize(("name", "model", "shifts"), [("tsm", "tsm-r101", 18), ("mmaction2", "tsm-r50", 16)])
def test_every_first_convolution_that_is_called_so_is_shifted(name: str, model: str, shifts: int) -> None:
    shapes = {tensor.name: tensor.shape for tensor in layout_weights.shells(name, model).values()}
    (record,) = takers(shapes, model)
    net = record.recognise(shapes, {"model": model, "shift_first": "previous"})
    found = [op for op in net.ops if op.kind == "temporal_shift"]
    assert len(found) == shifts
    assert not any(op.args["next_first"] for op in found)


def test_names_without_the_shift_are_shifted_where_the_model_says_so() -> None:
    """mmaction2 in 2022 could save a TSM with the names of a TSN."""
    for depth, shifts in ((50, 16), (101, 18)):
        shapes = {
            tensor.name: tensor.shape
            for tensor in layout_weights.shells("mmaction2", f"resnet2d-{depth}").values()
        }
        for model, count in ((f"tsm-r{depth}", shifts), (f"tsn-r{depth}", 0), (f"resnet2d-{depth}", 0)):
            (record,) = takers(shapes, model)
            net = record.recognise(shapes, {"model": model})
            assert sum(op.kind == "temporal_shift" for op in net.ops) == count
