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

if TYPE_CHECKING:
    from converters.source_graphs.record import SourceRecord

SIZES = {"classes": 7, "channels": 3, "stem_t": 3, "lateral_t": 5}
WITHOUT = {"detectron", "detectron2"}
"""Layouts whose networks nobody has written from the source's side."""

SOURCES = [name for name in layout_names() if load_layout(name).format != "pytorch" and name not in WITHOUT]


def takers(shapes: dict[str, tuple[int, ...]], model: str) -> list[SourceRecord]:
    """Every record that takes a file of such names. None refuses it."""
    return [record for record in source_records() if record.recognise(shapes, {"model": model})]


def test_every_layout_of_a_source_framework_has_a_record() -> None:
    assert sorted({name for record in source_records() for name in record.layouts}) == sorted(SOURCES)


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
