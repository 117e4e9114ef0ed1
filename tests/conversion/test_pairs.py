"""Every ordered pair of layouts of a family: converted and converted back, bit for bit."""

from __future__ import annotations

import zlib
from itertools import permutations
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest

from converters.conversion.provenance import dump
from converters.formats.provenance_record import parse_provenance
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import families, left_out, tensor_slots
from converters.mapping.table_files import layout_names, network_names
from converters.mapping.variants import variants
from converters.tensor import Held, Repeated, Tensor
from tests.helpers import in_memory, layout_weights, selection


def pairs() -> list:
    """Two layouts and the smallest network that both hold."""
    found = []
    for family in network_names():
        held: dict[str, set[str]] = {}
        for name in layout_names():
            layout = load_layout(name)
            if family in families(layout):
                held[name] = {
                    one.name for one in variants(family) if not layout.support_for(one.name).unsupported
                }
        by_size = sorted(variants(family), key=lambda one: selection.parameters_of(one.name))
        for source, target in permutations(held, 2):
            there, here = load_layout(target), load_layout(source)
            if not layout_weights.keeps_statistics(there):
                continue
            both = [
                one
                for one in by_size
                if one.name in held[source] & held[target]
                and not layout_weights.fixes_other_settings(here, there, one)
                and not layout_weights.fixes_other_settings(there, here, one)
                and not left_out(there, one) - left_out(here, one)
            ]
            if both:
                found.append(pytest.param(source, target, both[0], id=f"{source}-{target}-{both[0].name}"))
    return selection.one_of_each(
        found,
        lambda source, target, one: {("from", source), ("to", target), *selection.kinds(one)},
        lambda source, target, one: selection.parameters_of(one.name),
    )


def file_of(name: str, one) -> dict[str, Tensor]:
    """A file's tensors. Vectors and what changes its axes have values of their own, variances of every size that an
    eps of 1e-3 can be taken from; big tensors that keep their bytes are one value throughout."""
    sizes, found = layout_weights.sizes(one), {}
    for entry in tensor_slots(load_layout(name), one, sizes, {"blending": False}):
        if not entry.name:
            continue
        shape = entry.file_shape(sizes)
        random = np.random.default_rng(zlib.crc32(entry.canonical.encode()))
        if entry.leaf == "running_var":
            values = 10 ** random.uniform(-2.9, 2, prod(shape))
        elif entry.kind == "bn" and entry.leaf == "weight" and one.family == "i3d":
            values = np.ones(prod(shape))  # TensorFlow's I3D stores none
        elif len(entry.shape) > 1 and one.family != "i3d":
            value = random.standard_normal(1).astype("<f4").tobytes()
            found[entry.name] = Tensor(entry.name, "float32", shape, Repeated(value, prod(shape)))
            continue
        else:
            values = random.standard_normal(prod(shape))
        found[entry.name] = Tensor(entry.name, "float32", shape, Held(values.astype("<f4").tobytes()))
    return found


@pytest.fixture
def converted(monkeypatch, tmp_path):
    """Convert tensors that are in no file."""

    def call(tensors, source, target, provenance=None, variant=None, **settings):
        # No dry run, which would not read what the way back needs.
        rows, result = in_memory.convert(
            in_memory.opened(source, tensors, provenance),
            source,
            target,
            tmp_path,
            monkeypatch,
            variant=variant,
            settings=settings,
        )
        record = parse_provenance(dump(result.provenance), "y")
        shift = result.provenance["restore"].get("variance")
        moved = result.provenance["restore"].get("moved")
        return SimpleNamespace(tensors=rows, record=record, shift=shift, moved=moved, notes=result.notes)

    return call


@pytest.mark.parametrize(("source", "target", "one"), pairs())
def test_there_and_back(source: str, target: str, one, converted) -> None:
    tensors = file_of(source, one)
    whose = (
        (target, source) if source == "native" else (source,)
    )  # canonical names are of every project's models
    there = converted(tensors, source, target, variant=layout_weights.model_of(one, *whose))
    carries = load_layout(target).format == "pytorch"  # a file of another framework has no place for a record
    model = layout_weights.model_of(one, target)
    exact = converted(
        there.tensors, target, source, there.record if carries else None, None if carries else model
    )
    backs = [(exact, carries or not (there.shift or there.moved))]
    if "native" not in (source, target):  # whose eps the record alone tells
        bare = converted(there.tensors, target, source, variant=model)
        backs.append((bare, not (there.shift or there.moved)))
    for back, bits in backs:
        recorded = back is exact and carries
        scope = "" if recorded else load_layout(source).scope_for(layout_weights.sizes(one))
        weights_back = {
            name.removeprefix(scope): tensor
            for name, tensor in back.tensors.items()
            if not name.endswith("num_batches_tracked")
        }
        assert set(weights_back) == set(tensors)
        for name, tensor in tensors.items():
            again = weights_back[name]
            assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)
            if again.data is tensor.data or again.tobytes() == tensor.tobytes():
                continue
            assert not bits, name
            if there.moved and source == "native" and one.table.exchanged_settings:
                continue  # which has no direction of its own: the channels stay where the target has them
            values, was = (np.frombuffer(data.tobytes(), "<f4") for data in (again, tensor))
            if there.moved and ".theta" in name.replace("_theta", ".theta"):
                assert np.allclose(values, was, rtol=3e-7, atol=0)
                continue
            folded = was.astype(float) + there.shift["shift"]
            # Nothing tells native, which has no eps of its own, what it was before: there it stays shifted.
            wanted = folded if source == "native" and not carries else was
            assert (np.abs(values - wanted) <= np.spacing(folded.astype("<f4"))).all(), name
    assert len(there.tensors) == len(set(there.tensors))


def test_an_eps_that_nothing_tells_is_said(converted) -> None:
    one = layout_weights.variant("ir-csn-50")
    assert any(
        "assumed: 0.001" in note for note in converted(file_of("native", one), "native", "pytorchvideo").notes
    )
    assert not any(
        "assumed: " in note for note in converted(file_of("vmz", one), "vmz", "pytorchvideo").notes
    )
    there = converted(file_of("vmz", one), "vmz", "native")
    again = converted(there.tensors, "native", "pytorchvideo", there.record)
    assert not any("assumed: " in note for note in again.notes)


@pytest.mark.parametrize("between", ["mmaction2", "tsm"])
def test_what_was_exchanged_on_the_way_comes_back(between, converted) -> None:
    one = layout_weights.variant("tsm-r50")
    tensors = file_of("native", one)
    there = converted(tensors, "native", between, variant="tsm-r50", shift_first="previous")
    assert any("two groups of channels were exchanged" in note for note in there.notes)
    assert there.record["network"]["settings"]["shift_first"] == "next"
    assert (
        there.tensors[
            next(name for name in there.tensors if name.endswith("bn1.bias") or "conv1.bn.bias" in name)
        ].tobytes()
        != tensors["stem.bn.bias"].tobytes()
    )
    other = converted(there.tensors, between, "tsm" if between == "mmaction2" else "mmaction2", there.record)
    for record, last in ((there.record, there), (other.record, other)):
        again = converted(last.tensors, record["layout"], "native", record)
        assert again.record["network"]["settings"]["shift_first"] == "previous"
        assert all(again.tensors[name].tobytes() == tensor.tobytes() for name, tensor in tensors.items())
