"""Proposed mappings: files of known networks under names that no table has."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters import Refused, convert
from converters.formats.io.atomic import replacing
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.writer import write_tensorflow
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.user_mapping import load_mapping, parse_mapping
from converters.mapping.variants import find_variant
from converters.suggestion.axes import axes_text, orders_between
from converters.suggestion.fingerprints import TensorFingerprint, ValueSummary
from converters.suggestion.name_similarity import role
from converters.suggestion.pairing import propose
from converters.suggestion.suggest import suggest
from converters.suggestion.templates import escaped, fold, quoted, spell
from converters.tensor import Held, Tensor
from tests.helpers import caffe_files, caffe_tables, i3d_tables, selection, vmz_files
from tests.helpers import upstream_tables as tables
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from pathlib import Path

Shapes = dict[str, tuple[int, ...]]


class Case(NamedTuple):
    """Two layouts of a network: names and shapes in the order of real files, and which name is which."""

    left: Shapes
    right: Shapes
    names: dict[str, str]


def case(
    family: str, network: str, layouts: tuple[str, str], left: Shapes, right: Shapes, scope: str = ""
) -> Case:
    """A case from the tables of two layouts, for files with these names."""
    one = find_variant(family, network)
    sizes = {"classes": 400, "channels": 3, "stem_t": 3}
    here, there = (
        {
            entry.canonical: entry.name
            for entry in tensor_slots(load_layout(name), one, sizes, {})
            if entry.name
        }
        for name in layouts
    )
    names = {scope + here[name]: there[name] for name in here}
    right = {name: shape for name, shape in right.items() if not name.endswith("num_batches_tracked")}
    assert set(names) == set(left)
    assert set(names.values()) <= set(right)
    return Case(left, right, names)


@cache
def case_of(name: str) -> Case:
    source, target = name.split(" -> ")
    if source == "c3d":
        table = caffe_tables.caffe_tables()["c3d/caffe-v1.0-ucf101"].params
        made = {
            entry.name: entry
            for entry in tensor_slots(load_layout(target), find_variant("c3d", "c3d-plain"), {}, {})
        }
        right = {name: entry.file_shape({"classes": 101, "channels": 3}) for name, entry in made.items()}
        return case("c3d", "c3d-plain", ("c3d", target), table, right)
    if source == "i3d":
        port = {
            "pytorch-i3d": "pytorch-i3d/piergiaj_rgb_400",
            "mmaction": "mmaction/i3d_inception_v1_rgb_k400",
        }
        left = dict(sorted(i3d_tables.variables_of("rgb").items()))  # as TensorFlow sorts them
        right = i3d_tables.i3d_target_tables()[port[target]].keys
        return case("i3d", "i3d", ("i3d", target), left, right, "RGB/inception_i3d/")
    right = tables.target_tables()[
        f"{target}/{'ir_csn' if target == 'vmz-pt' else 'ircsn'}_{source[7:]}"
    ].keys
    return case("resnet3d", source, ("vmz", target), tables.vmz_tables()[source].blobs, right)


CASES = (
    "ir-csn-50 -> vmz-pt",
    "ir-csn-152 -> vmz-pt",
    "ir-csn-152 -> mmaction",
    "i3d -> pytorch-i3d",
    "i3d -> mmaction",
    "c3d -> mmaction",
    "c3d -> c3d-pytorch",
)


def renamed(names: list[str], how: str, seed: int) -> dict[str, str]:
    """New names: the same (``kept``), random ones (``chance``), or each word replaced by another (``words``)."""
    draw = random.Random(seed)
    if how == "kept":
        return {name: name for name in names}
    if how == "words":
        known: dict[str, str] = {}
        return {
            name: re.sub(
                "[A-Za-z]+",
                lambda word: known.setdefault(word[0], "".join(draw.choices("bcdfghjklmnp", k=6))),
                name,
            )
            for name in names
        }
    made: dict[str, None] = {}
    while len(made) < len(names):
        made["".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789_./", k=draw.randint(4, 14)))] = None
    return dict(zip(names, made, strict=True))


def summaries(shapes: Shapes, seed: int, *, fresh: bool = False) -> dict[str, ValueSummary]:
    """What a pass over trained values would show, or over freshly initialised ones."""
    draw = random.Random(seed)
    found = {}
    for name, shape in shapes.items():
        called = role(name) if sum(size != 1 for size in shape) <= 1 else ""
        positive = called in ("scale", "variance")
        if fresh and called:
            found[name] = ValueSummary(int(positive), float(positive), float(positive))
        else:
            found[name] = ValueSummary(
                draw.getrandbits(63), 0.4 if positive else -0.2, 1.6 if positive else 0.2
            )
    return found


def proposed(made: Case, hows: tuple[str, str], values: str, *, seed: int = 1, shuffled: bool = False):
    """A proposal for a case's files, and the right names."""
    ours, theirs = renamed(list(made.left), hows[0], seed), renamed(list(made.right), hows[1], seed + 1)
    left = summaries(made.left, seed)
    back = {right: left for left, right in made.names.items()}
    right = {
        "equal": {
            name: left[back[name]] if name in back else ValueSummary(1, 1.0, 1.0) for name in made.right
        },
        "trained": summaries(made.right, seed + 2),
        "fresh": summaries(made.right, seed + 2, fresh=True),
        "unread": {},
    }[values]
    sides = []
    for shapes, names, seen in (
        (made.left, ours, left if values != "unread" else {}),
        (made.right, theirs, right),
    ):
        items = [
            TensorFingerprint(names[name], "float32", shape, seen.get(name)) for name, shape in shapes.items()
        ]
        if shuffled:
            random.Random(seed + 3).shuffle(items)
        sides.append(items)
    equal = None if values == "unread" else (lambda _one, _other, _order: True)
    return propose(sides[0], sides[1], equal), {ours[one]: theirs[other] for one, other in made.names.items()}


# Known networks under new names

HOWS = [("chance", "chance"), ("words", "words"), ("kept", "kept"), ("chance", "kept"), ("kept", "chance")]
"""How the names on either side are made up."""


@pytest.mark.parametrize("values", selection.first_of(["equal", "fresh", "trained", "unread"], 2))
@pytest.mark.parametrize(
    "hows",
    selection.first_of(map(pytest.param, HOWS), 3),
    ids="-".join,
)
@pytest.mark.parametrize("name", CASES)
def test_known_mappings_come_out_under_any_names(name, hows, values):
    """Order, shapes, names and values are evidence; equal values decide everything, and what is sure is right."""
    made = case_of(name)
    found, wanted = proposed(made, hows, values)
    assert {one.left.name: one.right.name for one in found.pairs} == wanted
    unsure = sum(bool(one.doubt) for one in found.pairs)
    if values == "equal":
        assert unsure == 0
    elif hows == ("kept", "kept"):  # neighbours of one shape whose names have too little in common
        assert unsure == {"ir-csn-152 -> mmaction": 10, "i3d -> pytorch-i3d": 16, "i3d -> mmaction": 16}.get(
            name, 0
        )
    elif "chance" in hows:
        assert unsure > 0  # what only the order within a module tells is never sure
    scales = {one.tensor.name for one in found.right_filled}
    if name.startswith("i3d") and values in ("equal", "fresh"):
        assert len(scales) == 57
        assert {one.value for one in found.right_filled} == {1.0}
        assert not found.right_over
    assert not found.left_over


@pytest.mark.parametrize("hows", selection.first_of(map(pytest.param, HOWS[:3])), ids="-".join)
@pytest.mark.parametrize("name", CASES)
def test_equal_values_decide_in_any_order(name, hows):
    found, wanted = proposed(case_of(name), hows, "equal", shuffled=True)
    assert {one.left.name: one.right.name for one in found.pairs} == wanted
    assert {one.why for one in found.pairs} == {"values"}
    assert not found.left_over
    assert not found.right_over


@pytest.mark.parametrize("values", ["trained", "fresh", "unread"])
def test_names_alone_in_any_order(values):
    """As Python 2 wrote VMZ's pickles: in the arbitrary order of its dicts."""
    found, wanted = proposed(case_of("ir-csn-50 -> vmz-pt"), ("kept", "kept"), values, shuffled=True)
    assert {one.left.name: one.right.name for one in found.pairs} == wanted
    assert not any(one.doubt for one in found.pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES[:1] + CASES[3:6])
def test_what_is_sure_is_right_even_with_tensors_missing(name, seed):
    """Random tensors are missing on both sides; what cannot be decided any more is unsure or left over."""
    whole = case_of(name)
    draw = random.Random(seed)
    left, right = (
        {one: shape for one, shape in side.items() if draw.random() > 0.05}
        for side in (whole.left, whole.right)
    )
    names = {one: other for one, other in whole.names.items() if one in left and other in right}
    for values in ("equal", "trained"):
        found, wanted = proposed(Case(left, right, names), ("chance", "chance"), values, seed=seed)
        sure = {one.left.name: one.right.name for one in found.pairs if not one.doubt}
        wrong = [one for one, other in sure.items() if wanted.get(one) != other]
        assert len(wrong) <= (0 if values == "equal" else 3), wrong
        assert values != "equal" or len(sure) > 0.9 * len(wanted)


def test_it_is_deterministic():
    made = case_of("i3d -> mmaction")
    assert proposed(made, ("chance", "words"), "trained") == proposed(made, ("chance", "words"), "trained")


def test_two_of_one_shape_side_by_side_are_unsure():
    """Only the order distinguishes them, and projects differ in it."""
    left = [TensorFingerprint(name, "float32", (8, 8, 3, 3)) for name in ("p", "q")]
    right = [TensorFingerprint(name, "float32", (8, 8, 3, 3)) for name in ("x", "y")]
    found = propose(left, right, None)
    assert [(one.left.name, one.right.name) for one in found.pairs] == [("p", "x"), ("q", "y")]
    assert all("of the same shape" in one.doubt for one in found.pairs)


def weights(**shapes: tuple[int, ...]) -> list[TensorFingerprint]:
    return [TensorFingerprint(name.replace("_", "."), "float32", shape) for name, shape in shapes.items()]


def test_other_classes_are_left_over():
    left = weights(a_w=(8, 4), h_w=(400, 8), h_b=(400,))
    right = weights(b_w=(8, 4), k_w=(101, 8), k_b=(101,))
    found = propose(left, right, None)
    assert [(one.left.name, one.right.name) for one in found.pairs] == [("a.w", "b.w")]
    assert [one.name for one in found.left_over] == ["h.w", "h.b"]
    assert [one.name for one in found.right_over] == ["k.w", "k.b"]


# Axes, templates, text


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        (
            [(7, 7, 7, 3, 64), (1, 1, 1, 64, 192)],
            [(64, 3, 7, 7, 7), (192, 64, 1, 1, 1)],
            "D H W I O -> O I D H W",
        ),
        ([(64, 3, 7, 7, 7)], [(64, 3, 7, 7, 7)], ""),
        ([(1, 1, 1, 10, 20)], [(10, 20)], "1 1 1 O I -> O I"),
        ([(3, 3, 8, 16)], [(16, 8, 3, 3)], "H W I O -> O I H W"),
        ([(10, 20)], [(20, 10, 1, 1, 1)], "I O -> O I 1 1 1"),
    ],
)
def test_orders_of_axes(left, right, text):
    (order, *_), _ = orders_between(left, right)
    assert axes_text(order) == text
    assert [order.apply(shape) for shape in left] == right


def test_shapes_that_no_network_has():
    assert orders_between([(2,) + (1,) * 30 + (3,)], [(2, 3)]) == ([], [])
    assert orders_between([(2, 3, 4, 5, 6, 7, 8)], [(8, 7, 6, 5, 4, 3, 2)]) == ([], [])


def test_an_order_that_shapes_leave_open_is_said():
    _, notes = orders_between([(3, 3, 3, 8, 16)], [(16, 8, 3, 3, 3)])
    assert len(notes) == 1
    _, notes = orders_between([(16, 8, 3, 3, 3)], [(16, 8, 3, 3, 3)])
    assert not notes


NAMES = st.lists(
    st.tuples(*[st.text("ab0123._{}\"\\\n'é", min_size=1, max_size=8)] * 2),
    min_size=1,
    max_size=30,
    unique_by=(lambda pair: pair[0], lambda pair: pair[1]),
)


@examples()
@given(NAMES)
def test_templates_expand_into_exactly_what_was_folded(pairs):
    lines, indexes = fold([(*pair, None) for pair in pairs])
    text = "".join(
        f"[index.{index.name}]\n" + "".join(f"{name} = {spell(values)}\n" for name, values in index.columns)
        for index in indexes
    )
    text += "[tensors]\n" + "".join(f"{quoted(line.left)} = {quoted(line.right)}\n" for line in lines)
    found = parse_mapping(text.encode(), "map.toml")
    assert sorted((pair.left, pair.right) for pair in found.pairs) == sorted(pairs)
    assert sorted(row for line in lines for row in line.places) == list(range(len(pairs)))


def test_a_network_folds_into_a_page():
    made = case_of("ir-csn-152 -> vmz-pt")
    lines, indexes = fold([(one, other, None) for one, other in made.names.items()])
    assert (len(made.names), len(lines), len(indexes)) == (777, 27, 2)
    block = next(index for index in indexes if len(index.columns) == 3)
    assert [spell(values) for _, values in block.columns] == [
        '"0-49"', '"1*3 2*8 3*36 4*3"', '"0-2 0-7 0-35 0-2"'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1, 1, 1, 2, 2), '"1*3 2*2"'),
        ((0, 1, 2, 0, 1, 2, 5), '"0-2*2 5"'),
        ((5,), '"5"'),
        (("3b", "3c"), '["3b", "3c"]'),
        (("01", "02"), '["01", "02"]'),
    ],
)
def test_columns_as_they_are_written(values, text):
    assert spell([str(value) for value in values]) == text


def test_escapes():
    assert escaped("a{0}") == "a{{0}}"
    assert quoted('a"\\\n\x7f') == '"a\\"\\\\\\u000A\\u007F"'


# Whole files, from two checkpoints to a converted one


def save_pth(path: Path, arrays: dict[str, np.ndarray]) -> None:
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def by_names(path: Path, names: dict[str, str]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """A file's tensors under new names, without batch counters."""
    return {names[name]: one for name, one in contents(path).items() if name in names}


@pytest.fixture(scope="module")
def csn(tmp_path_factory):
    """ir-CSN-26 as VMZ's pickle and as its port, every name of both drawn by chance, with a file of other weights.

    Returns the folder and the names of the pickle and of the port by their old ones.
    """
    folder = tmp_path_factory.mktemp("suggest")
    blobs = vmz_files.write(folder / "known.pkl", "ir-csn-26", seed=21)
    convert(folder / "known.pkl", folder / "known.pth", source="vmz")
    state = {
        name: tensor.numpy()
        for name, tensor in torch.load(folder / "known.pth", weights_only=True).items()
        if not name.endswith("num_batches_tracked")
    }
    order = list(tables.vmz_tables()["ir-csn-26"].blobs)
    ours, theirs = renamed(order, "chance", 5), renamed(list(state), "chance", 6)
    vmz_files.write_arrays(folder / "a.pkl", {ours[name]: blobs[name] for name in order})
    save_pth(folder / "b.pth", {theirs[name]: array for name, array in state.items()})
    mixed = random.Random(1).sample(sorted(state), len(state))
    save_pth(folder / "shuffled.pth", {theirs[name]: state[name] for name in mixed})
    other = vmz_files.write(folder / "other.pkl", "ir-csn-26", seed=22)
    vmz_files.write_arrays(folder / "other.pkl", {ours[name]: other[name] for name in order})
    return folder, theirs


@pytest.mark.parametrize("file", ["b.pth", "shuffled.pth"])
def test_equal_weights_from_file_to_file(csn, file, tmp_path):
    folder, theirs = csn
    found = suggest(folder / "a.pkl", folder / file, tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    result = convert(folder / "a.pkl", tmp_path / "out.pth", mapping=tmp_path / "map.toml")
    assert contents(tmp_path / "out.pth") == contents(folder / file) == by_names(folder / "known.pth", theirs)
    assert len(result.rows) == len(theirs)


def test_other_weights_from_file_to_file(csn, tmp_path):
    """Order and shapes give the right pairs; those that nothing confirms are not used until a person moves them."""
    folder, _ = csn
    found = suggest(folder / "other.pkl", folder / "b.pth", tmp_path / "map.toml")
    assert found.unsure > 0
    assert load_mapping(str(tmp_path / "map.toml")).open_points == found.unsure
    call = {"mapping": tmp_path / "map.toml"}
    with pytest.raises(Refused, match=f"{found.unsure} rows under"):
        convert(folder / "a.pkl", tmp_path / "out.pth", **call)
    assert not (tmp_path / "out.pth").exists()
    convert(folder / "a.pkl", tmp_path / "out.pth", accept_unsure=True, **call)
    assert contents(tmp_path / "out.pth") == contents(folder / "b.pth")
    # What a person does who has looked: one section.
    text = (tmp_path / "map.toml").read_text()
    assert "# only the order within the module distinguishes it from" in text
    (tmp_path / "map.toml").write_text(text.replace("\n[unsure]\n", "\n"))
    convert(folder / "a.pkl", tmp_path / "out.pth", force=True, **call)
    assert contents(tmp_path / "out.pth") == contents(folder / "b.pth")


def test_i3d_with_its_axes_from_file_to_file(tmp_path):
    """TensorFlow's axes and the scales that it does not store, under names by chance on both sides."""
    shapes = i3d_tables.variables_of("rgb")
    ours = dict(zip(sorted(shapes), sorted(renamed(sorted(shapes), "chance", 7).values()), strict=True))
    draw = np.random.default_rng(9)
    arrays = {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    for prefix, names in (("known", {name: name for name in shapes}), ("a", ours)):
        data, index = checkpoint_names(str(tmp_path / prefix))
        with replacing(data) as data_out, replacing(index) as index_out:
            write_tensorflow(
                data_out,
                index_out,
                [
                    Tensor(names[name], "float32", one.shape, Held(one.tobytes()))
                    for name, one in arrays.items()
                ],
            )
    convert(tmp_path / "known.index", tmp_path / "known.pth", source="i3d")
    state = torch.load(tmp_path / "known.pth", weights_only=True)
    known = [name for name in state if not name.endswith("num_batches_tracked")]
    theirs = renamed(known, "chance", 8)
    torch.save({theirs[name]: state[name] for name in known}, tmp_path / "b.pth")
    found = suggest(tmp_path / "a.index", tmp_path / "b.pth", tmp_path / "map.toml")
    assert (found.unsure, found.left_over, found.notes) == (0, ((), ()), ())
    text = (tmp_path / "map.toml").read_text()
    assert 'axes = "D H W I O -> O I D H W"' in text
    assert text.count("value = 1.0") == 57
    convert(tmp_path / "a.index", tmp_path / "out.pth", mapping=tmp_path / "map.toml")
    assert contents(tmp_path / "out.pth") == contents(tmp_path / "b.pth")
    convert(tmp_path / "out.pth", tmp_path / "back.ckpt", mapping=tmp_path / "map.toml", reverse=True)
    assert contents(tmp_path / "back.ckpt") == contents(tmp_path / "a.index")


@pytest.mark.full
def test_c3d_from_file_to_file(tmp_path):
    """Caffe's biases of five axes, layers named by chance; other weights in the second file."""
    table = caffe_tables.caffe_tables()["c3d/caffe-v1.1-ucf101net"]
    layers = [name for name, _, blobs in table.layers if blobs]
    draw = np.random.default_rng(3)

    def arrays() -> dict[str, np.ndarray]:
        return {
            name: np.resize(draw.standard_normal(9973, np.float32), shape)
            for name, shape in table.params.items()
        }

    chance = renamed(layers, "words", 4)
    made = arrays()
    (tmp_path / "known").write_bytes(caffe_files.model(table, made))
    convert(tmp_path / "known", tmp_path / "known.pth", source="c3d")

    def under(blob: str) -> str:
        layer, _, number = blob.partition("/")
        return f"{chance[layer]}/{number}"

    other = replace(
        table,
        layers=[(chance.get(name, name), kind, blobs) for name, kind, blobs in table.layers],
        params={under(name): shape for name, shape in table.params.items()},
    )
    named = {under(name): array for name, array in made.items()}
    (tmp_path / "a").write_bytes(caffe_files.model(other, named))
    state = torch.load(tmp_path / "known.pth", weights_only=True)
    theirs = renamed(list(state), "words", 6)
    torch.save({theirs[name]: tensor + 1 for name, tensor in state.items()}, tmp_path / "b.pth")
    found = suggest(tmp_path / "a", tmp_path / "b.pth", tmp_path / "map.toml")
    assert found.left_over == ((), ())
    convert(tmp_path / "a", tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True)
    assert contents(tmp_path / "out.pth") == by_names(tmp_path / "known.pth", theirs)


# The command


def test_the_command(run, tmp_path):
    torch.save(
        {
            "conv.w": torch.ones(4, 3, 2, 2),
            "conv.b": torch.ones(4),
            "classes": torch.arange(3),
            "step": torch.tensor(3),
        },
        tmp_path / "a.pth",
    )
    torch.save({"c.weight": torch.ones(4, 3, 2, 2), "c.bias": torch.ones(4)}, tmp_path / "b.pth")
    done = run("suggest", "a.pth", "b.pth", "-o", "map.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 tensors paired: 2 by shape" in done.stdout
    first = (tmp_path / "map.toml").read_bytes()
    assert b'left_over = ["classes"]' in first
    assert b'drop = ["step"]' in first
    assert "not weights in [from], dropped: step" in done.stdout
    done = run("suggest", "a.pth", "b.pth", "-o", "map.toml")
    assert (done.returncode, "the output exists already" in done.stderr) == (1, True)
    done = run("suggest", "a.pth", "b.pth", "-o", "map.toml", "--force", "--json", "--no-values")
    found = json.loads(done.stdout)
    assert (found["ok"], found["tensors"], found["unsure"]) == (True, 2, 0)
    assert found["left_over"] == {"from": ["classes"], "to": []}
    assert found["dropped"] == {"from": ["step"], "to": []}
    assert found["rows"][0] == {"from": "conv.w", "to": "c.weight", "why": "shape", "doubt": ""}
    assert (tmp_path / "map.toml").read_bytes() == first
    assert run("a.pth", "out.pth", "--mapping", "map.toml").returncode == 1
    assert run("a.pth", "out.pth", "--mapping", "map.toml", "--accept-unsure").returncode == 0


def test_files_with_nothing_in_common(run, tmp_path):
    torch.save({"a": torch.ones(4, 3)}, tmp_path / "a.pth")
    torch.save({"b": torch.ones(7, 2)}, tmp_path / "b.pth")
    done = run("suggest", "a.pth", "b.pth", "-o", "map.toml")
    assert (done.returncode, "could be one of the other file's" in done.stderr) == (1, True)
    assert not (tmp_path / "map.toml").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a.pth", "b.pth"], 2),
        (["a.pth", "none.pth", "-o", "map.toml"], 3),
        (["a.pth", "a.pth", "-o", "a.pth", "--force"], 2),
        (["a.pth", "a.pth", "-o", "none/map.toml"], 1),
    ],
)
def test_wrong_uses(words, code, run, tmp_path):
    torch.save({"a": torch.ones(4, 3)}, tmp_path / "a.pth")
    assert run("suggest", *words).returncode == code
    assert not (tmp_path / "map.toml").exists()
