"""`convert diff`: what it finds, what counts as equal, and what it needs for that."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
import torch

from converters import BadInput, Refused, convert, diff
from converters.formats.checkpoint import Checkpoint
from converters.inspection.diff import _identify_both as identify_both
from tests.helpers import layout_weights


def rows(found, kind):
    return {row.name: row for row in found.rows if row.kind == kind}


def save(path, **tensors):
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def layouts(r3d, tmp_path_factory):
    """R3D-18 in VMZ's blobs and in layouts with other names, another order, or another eps."""
    folder = tmp_path_factory.mktemp("layouts")
    found = {"vmz": r3d}
    for to in ("vmz-pt", "torchvision", "mmaction"):
        found[to] = folder / f"{to}.pth"
        convert(r3d, found[to], source="vmz", to=to)
    return found


@pytest.mark.parametrize("one", ["vmz", "torchvision"])
@pytest.mark.parametrize("other", ["vmz-pt", "torchvision", "mmaction"])
def test_two_layouts_of_one_network_are_equal(layouts, one, other):
    found = diff(layouts[one], layouts[other])
    assert found.same
    assert found.canonical == (one != other)
    assert len(found.rows) == (102 if one != other else 122)


def test_a_bare_file_with_another_eps_is_compared_at_the_smaller(layouts, tmp_path):
    bare = tmp_path / "bare.pth"
    torch.save(torch.load(layouts["torchvision"]), bare)
    found = diff(layouts["vmz"], bare)
    assert found.same
    assert any("compared at 1e-05" in note for note in found.notes)


def test_a_bare_file_has_the_layout_that_the_user_names(layouts, tmp_path):
    bare = tmp_path / "bare.pth"
    torch.save(torch.load(layouts["vmz-pt"]), bare)
    assert not diff(layouts["vmz"], bare).same
    assert diff(layouts["vmz"], bare, layout_b="vmz-pt").same
    with pytest.raises(Refused):
        diff(layouts["mmaction"], bare, layout_b="mmaction2")


def test_one_changed_value_is_found_through_layouts(layouts, tmp_path):
    state = torch.load(layouts["mmaction"])
    with torch.no_grad():
        state["backbone.layer2.a.conv1.weight"][3, 1, 0, 2, 1] += 0.5
    changed = tmp_path / "changed.pth"
    torch.save(state, changed)
    found = diff(layouts["vmz"], changed)
    assert not found.same
    (row,) = (row for row in found.rows if row.kind != "equal")
    assert (row.name, row.kind, row.unequal) == ("layer2.0.conv1.conv.weight", "values", 1)
    assert row.largest == pytest.approx(0.5, rel=1e-6)
    assert 0.999 < row.cosine < 1


def test_every_kind_of_difference(tmp_path):
    a = save(
        tmp_path / "a.pth",
        same=torch.arange(6.0),
        gone=torch.zeros(2, 3),
        shape=torch.zeros(2, 3),
        dtype=torch.tensor([1.0, 0.5]),
        values=torch.tensor([3.0, 4.0]),
        both=torch.tensor([1.0, 0.1]),
        count=torch.tensor(7),
    )
    b = save(
        tmp_path / "b.pth",
        same=torch.arange(6.0),
        shape=torch.zeros(3, 2),
        dtype=torch.tensor([1.0, 0.5]).half(),
        values=torch.tensor([4.0, -3.0]),
        both=torch.tensor([1.0, 0.1]).bfloat16(),
        count=torch.tensor(9),
        new=torch.zeros((), dtype=torch.int64),
    )
    found = diff(a, b)
    assert not found.canonical
    assert {row.name: row.kind for row in found.rows} == {
        "same": "equal",
        "gone": "only in A",
        "shape": "shape",
        "dtype": "dtype",
        "values": "values",
        "both": "values",
        "count": "values",
        "new": "only in B",
    }
    values = rows(found, "values")
    assert (values["values"].largest, values["values"].cosine, values["values"].unequal) == (7.0, 0.0, 2)
    assert values["both"].unequal == 1
    assert values["both"].largest == 0.10009765625 - float(np.float32(0.1))
    assert values["count"].largest == 2
    assert rows(found, "only in A")["gone"].a == ("float32", (2, 3))
    assert rows(found, "only in B")["new"].b == ("int64", ())


ODD = {
    "other bits, equal values": ([0.0, 1.0], [-0.0, 1.0], 0, 1, 0),
    "one is not a number": ([math.nan, 1.0], [1.0, 1.0], math.inf, 1, 1),
    "infinities of both signs": ([math.inf, 1.0], [-math.inf, 1.0], math.inf, 1, 1),
    "the same infinity": ([math.inf, 2.0], [math.inf, 3.0], 1, 1, 1),
    "only zeros": ([0.0, 0.0], [0.0, 5.0], 5, math.nan, 1),
    "near the end of the range": ([3e38, 0.0], [-3e38, 0.0], 6e38, -1, 1),
    "empty": ([], [], 0, 1, 0),
}


def test_figures_of_unusual_values(tmp_path):
    a = save(tmp_path / "a.pth", **{name: torch.tensor(case[0]) for name, case in ODD.items()})
    b = save(tmp_path / "b.pth", **{name: torch.tensor(case[1]) for name, case in ODD.items()})
    found = diff(a, b)
    assert {row.name for row in found.rows} == set(ODD)
    for row in found.rows:
        one, _, largest, cosine, unequal = ODD[row.name]
        assert row.kind == ("values" if one else "equal")
        assert row.largest == pytest.approx(largest, rel=1e-6)
        assert row.cosine == pytest.approx(cosine, nan_ok=True)
        assert row.unequal == unequal
    json.dumps(found.as_data(), allow_nan=False)


def test_large_integers_are_not_compared_as_floats(tmp_path):
    a = save(tmp_path / "a.pth", x=torch.tensor([2**60]))
    b = save(tmp_path / "b.pth", x=torch.tensor([2**60 + 1]))
    assert diff(a, b).rows[0].unequal == 1


def test_pieces_of_different_lengths_are_aligned(tmp_path):
    """float64 and float16 tensors of one size are read in pieces of different lengths."""
    values = np.random.default_rng(1).integers(-8, 8, 300_001).astype("f8")
    a = save(tmp_path / "a.pth", x=torch.from_numpy(values))
    values[-1] += 1
    b = save(tmp_path / "b.pth", x=torch.from_numpy(values).half())
    (row,) = diff(a, b).rows
    assert (row.kind, row.unequal, row.largest) == ("values", 1, 1.0)


def test_different_sizes_are_not_a_different_layout(r2d, tmp_path):
    convert(r2d, tmp_path / "a.pth", source="vmz")
    state = torch.load(tmp_path / "a.pth")
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:101].clone(), state["fc.bias"][:101].clone()
    torch.save(state, tmp_path / "b.pth")
    found = diff(tmp_path / "a.pth", tmp_path / "b.pth", layout_b="vmz-pt")
    assert not found.canonical
    assert set(rows(found, "shape")) == {"fc.weight", "fc.bias"}
    assert {row.kind for row in found.rows} == {"shape", "equal"}


def test_memory_is_bounded(layouts):
    tracemalloc.start()
    try:
        assert diff(layouts["vmz"], layouts["mmaction"]).same
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # of 134 MB
    finally:
        tracemalloc.stop()


def test_a_damaged_file_is_an_error_not_a_difference(layouts, tmp_path):
    data = bytearray(layouts["vmz-pt"].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.pth").write_bytes(data)
    with pytest.raises(BadInput):
        diff(layouts["vmz-pt"], tmp_path / "bad.pth")


def test_the_command_folds_names_and_exits_with_1(run, tmp_path):
    names = [f"layer{s}.{b}.w" for s in (1, 2) for b in range(3)]
    save(tmp_path / "a.pth", **{name: torch.ones(2) for name in names}, extra=torch.ones(3))
    save(tmp_path / "b.pth", **{name: torch.ones(2) * 2 for name in names})
    done = run("diff", "a.pth", "b.pth")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert "values     layer1.{0-2}.w  float32  6 values, by up to 1, cosine 1  (3 tensors)" in lines
    assert "only in A  extra  3 float32" in lines
    assert lines[-1] == "0 tensors are equal bit for bit, 7 differ"
    told = json.loads(run("diff", "a.pth", "b.pth", "--json").stdout)
    assert not told["ok"]
    assert len(told["rows"]) == 7
    assert run("diff", "a.pth", "a.pth", "--quiet").stdout == ""
    assert run("diff", "a.pth", "a.pth").returncode == 0
    assert run("diff", "a.pth", "no.pth").returncode == 3
    assert run("diff", "a.pth").returncode == 2


def test_files_of_one_layout_are_compared_whole_whatever_their_prefix(r2d, tmp_path):
    convert(r2d, tmp_path / "a.pth", to="vmz-pt")
    state = torch.load(tmp_path / "a.pth")
    torch.save({f"model.{name}": value for name, value in state.items()}, tmp_path / "b.pth")
    found = diff(tmp_path / "a.pth", tmp_path / "b.pth")
    assert not found.canonical
    assert all(row.kind == "equal" for row in found.rows)
    assert any("B's the prefix 'model.'" in note for note in found.notes)
    counters = {name: value + 1 if name.endswith("tracked") else value for name, value in state.items()}
    torch.save({f"model.{name}": value for name, value in counters.items()}, tmp_path / "c.pth")
    assert not diff(tmp_path / "b.pth", tmp_path / "c.pth").same
    changed = [row.name for row in diff(tmp_path / "a.pth", tmp_path / "c.pth").rows if row.kind != "equal"]
    assert changed == [name for name in state if name.endswith("tracked")]


def test_numbers_that_float64_cannot_hold_and_vectors_without_an_angle(tmp_path):
    def row(a, b):
        for name, value in (("a", a), ("b", b)):
            torch.save({"w": torch.tensor(value)}, tmp_path / f"{name}.pth")
        return diff(tmp_path / "a.pth", tmp_path / "b.pth").rows[0]

    assert row([1 << 62, 5], [(1 << 62) + 1, -(1 << 63)]).largest == float((1 << 63) + 5)
    assert row([1 << 62], [(1 << 62) + 1]).largest == 1
    assert math.isnan(row([0.0, 0.0], [float("inf"), 0.0]).cosine)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_of_several_networks_is_taken_for_that_of_the_other_file(swapped: bool) -> None:
    """PaddleVideo's TSM has the names of its TSN, mmaction2's has names of its own."""
    files = [
        (
            Checkpoint(
                path="x", format=kind, container="file", tensors=layout_weights.shells(layout, "tsm-r50")
            ),
            None,
        )
        for layout, kind in (("paddlevideo", "paddle"), ("mmaction2", "pytorch"))
    ]
    left, right = identify_both(*(reversed(files) if swapped else files))
    assert left
    assert right
    assert left.match.variant.name == right.match.variant.name == "tsm-r50"
