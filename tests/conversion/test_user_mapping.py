"""Mapping files of a user's own: what they may say, what is refused, and conversions by them both ways."""

from __future__ import annotations

import json
import time
import tomllib
import zipfile
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters import BadInput, Refused, UsageError, convert, inspect
from converters.conversion.by_user_mapping import mapped_plan, match, open_mapping
from converters.formats.io.atomic import replacing
from converters.formats.open import open_checkpoint
from converters.formats.other_value import OtherValue, plain_value, unconverted
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.writer import write_tensorflow
from converters.mapping.globs import glob_matches
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.user_mapping import MappingError, parse_mapping
from converters.mapping.variants import find_variant
from converters.tensor import Held, Repeated, Tensor
from tests.helpers import caffe_files, caffe_tables, i3d_tables, vmz_files
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

IR_CSN = """
[from]
format = "caffe2-pickle"

[index.block]
n = "0-7"
s = "1*2 2*2 3*2 4*2"
b = "0-1*4"

[index.first]
m = [2, 4, 6]
q = "2-4"

[index.conv]
c = [1, 3, 4]
k = "1-3"

[index.norm]
v = ["s", "b", "rm", "riv"]
p = ["weight", "bias", "running_mean", "running_var"]

[tensors]
"conv1_w" = "stem.0.weight"
"conv1_spatbn_relu_{v}" = "stem.1.{p}"
"comp_{n}_conv_{c}_w" = "layer{s}.{b}.conv{k}.0.weight"
"comp_{n}_spatbn_{c}_{v}" = "layer{s}.{b}.conv{k}.1.{p}"
"shortcut_projection_{m}_w" = "layer{q}.0.downsample.0.weight"
"shortcut_projection_{m}_spatbn_{v}" = "layer{q}.0.downsample.1.{p}"
"last_out_L400_w" = "fc.weight"
"last_out_L400_b" = "fc.bias"
"""


def parse(text: str):
    return parse_mapping(text.encode(), "map.toml")


def shell(shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> dict[str, Tensor]:
    return {
        name: Tensor(name, dtype, shape, Repeated(bytes(4), prod(shape))) for name, shape in shapes.items()
    }


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


# The grammar


def test_templates_expand_into_what_the_tables_say():
    """The ir-CSN mapping in a dozen rows is the exact table of the two layouts."""
    one = find_variant("resnet3d", "ir-csn-26")
    sizes = {"classes": 400, "channels": 3, "stem_t": 3}
    left, right = (
        {entry.canonical: entry.name for entry in tensor_slots(load_layout(name), one, sizes, {})}
        for name in ("vmz", "vmz-pt")
    )
    found = parse(IR_CSN)
    assert {pair.left: pair.right for pair in found.pairs} == {left[name]: right[name] for name in left}
    assert len(found.pairs) == len(left)
    turned = found.reversed()
    assert {pair.left: pair.right for pair in turned.pairs} == {right[name]: left[name] for name in left}
    assert turned.reversed() == found


def test_rows_of_one_index_expand_block_by_block():
    found = parse('[index.i]\nn = "0-1"\n[tensors]\n"a{n}" = "x{n}.w"\n"b{n}" = "x{n}.b"\n"c" = "y"')
    assert [pair.right for pair in found.pairs] == ["x0.w", "x0.b", "x1.w", "x1.b", "y"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ('"0-2 5 7*3"', ["0", "1", "2", "5", "7", "7", "7"]),
        ('"0-1*2"', ["0", "1", "0", "1"]),
        ('["3b", "4c", 7]', ["3b", "4c", "7"]),
    ],
)
def test_columns(column, values):
    rows = parse(
        f'[index.i]\nn = {column}\nk = "1-{len(values)}"\n[tensors]\n"a{{k}}.{{n}}" = "b{{k}}"'
    ).pairs
    assert [pair.left for pair in rows] == [f"a{place}.{value}" for place, value in enumerate(values, 1)]


def test_braces_in_names():
    (pair,) = parse('[tensors]\n"a{{0}}" = "b{{"').pairs
    assert (pair.left, pair.right) == ("a{0}", "b{")


@pytest.mark.parametrize(
    ("axes", "shape", "wanted", "permuted"),
    [
        ("D H W I O -> O I D H W", (2, 3, 4, 5, 6), (6, 5, 2, 3, 4), True),
        ("1 1 1 I O -> O I", (1, 1, 1, 5, 6), (6, 5), True),
        ("1 1 1 I O -> O I 1 1 1", (1, 1, 1, 5, 6), (6, 5, 1, 1, 1), True),
        ("1 1 1 1 C -> C", (1, 1, 1, 1, 7), (7,), False),
        ("C -> 1 C 1", (7,), (1, 7, 1), False),
        ("1 -> ", (1,), (), False),
    ],
)
def test_axes_both_ways(axes, shape, wanted, permuted):
    values = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    mapping = parse(f'[tensors]\n"a" = {{ to = "b", axes = "{axes}" }}')
    tensors = {"a": Tensor("a", "float32", shape, Held(values.tobytes()))}
    row = mapped_plan(match(mapping, tensors), tensors).rows[0]
    out = row.tensor(tensors)
    assert (row.shape, out.shape) == (wanted, wanted)
    assert any(not op.keeps_bytes for op in row.operations) == permuted
    turned = mapping.reversed()
    back = mapped_plan(match(turned, {"b": out}), {"b": out}).rows[0].tensor({"b": out})
    assert (back.name, back.shape, back.tobytes()) == ("a", shape, values.tobytes())


FAULTS = {
    '"a" = "b"\n"c" = "b"': "two rows for 'b'",
    '"a" = "b"\n"a{n}" = "b{n}"\n"a1" = "c"': "two rows for 'a1'",
    '"a{n}" = "b"': "same index on both sides",
    '"a{n}" = "b{n}{n}{zz}"': "no column 'zz'",
    '"a" = { to = "b", axis = "D -> D" }': "unknown key 'axis'",
    '"a" = { axes = "D -> D" }': "lacks 'to'",
    '"a" = { to = "b", axes = "D H" }': "axes must be such as",
    '"a" = { to = "b", axes = "D H -> D" }': "same on both sides",
    '"a" = { to = "b", axes = "D D -> D D" }': "axes must be such as",
    '"a" = { to = "b", axes = "D 1 H -> D H" }': "axes must be such as",
    '"a" = { to = "b", axes = 5 }': "axes must be a string",
    '"a" = 5': "must be a name",
    '"a" = ["b"]': "must be a name",
    '"a" = ""': "is not a name",
    '"a}" = "b"': "single brace",
    '"a{n.__class__}" = "b{n}"': "single brace",
    '"a{n!r}" = "b{n}"': "single brace",
    '"a{n:>9}" = "b{n}"': "single brace",
}


@pytest.mark.parametrize("rows", FAULTS)
def test_rows_that_do_not_follow_the_grammar(rows):
    with pytest.raises(MappingError, match=FAULTS[rows]) as caught:
        parse(f'[index.i]\nn = "0-3"\n[index.used]\nu = "1"\n[tensors]\n"u{{u}}" = "v{{u}}"\n{rows}')
    assert (caught.value.path, caught.value.exit_code) == ("map.toml", 3)


HEADS = {
    "tensors = 5": "must be a table",
    "other = 1": "unknown key 'other'",
    "title = 1": "must be a string",
    '[from]\nformat = "zip"': "not one of",
    '[from]\nformat = ["pytorch"]': "not one of",
    '[from]\ndrop = "x"': "list of names",
    "[to]\nleft_over = [1]": "list of names",
    "[to]\nother = 1": "unknown key 'other'",
    '[to.constants]\n"c" = 1.0': "must be a table",
    '[to.constants]\n"c" = { value = "1" , shape = [] }': "must be a number",
    '[to.constants]\n"c" = { value = nan, shape = [] }': "must be a number",
    '[to.constants]\n"c" = { value = 1 }': "needs a shape",
    '[to.constants]\n"c" = { value = 1, shape = [1], like = "b" }': "needs a shape",
    '[to.constants]\n"c" = { value = 1, shape = [99999999] }': "few sizes",
    '[to.constants]\n"c" = { value = 1, shape = [9999, 9999] }': "few sizes",
    '[to.constants]\n"c" = { value = 1, shape = [true] }': "few sizes",
    '[to.constants]\n"c" = { value = 1, shape = [], dtype = "int3" }': "unknown dtype",
    '[to.constants]\n"c" = { value = 1, like = "nothing" }': "which no row has",
    '[to.constants]\n"b" = { value = 1, like = "b" }': "two rows for 'b'",
    "index = 3": "must be a table",
    "[index]\ni = 3": "must have columns",
    "[index.i]": "must have columns",
    '[index.i]\nn = ""': "has no value",
    "[index.i]\nn = []": "has no value",
    "[index.i]\nn = 5": "must be a string",
    "[index.i]\nn = [1.5]": "must be a string",
    "[index.i]\nn = [true]": "must be a string",
    '[index.i]\nn = "a"': "is not a number",
    '[index.i]\nn = "3-1"': "is not a number",
    '[index.i]\nn = "01"': "is not a number",
    '[index.i]\nn = "0-1"\nm = "1"': "unequal lengths",
    '[index.i]\n"n-1" = "1"': "not a valid name for a column",
    '[index.i]\nn = "0"\n[index.j]\nn = "0"': "column 'n' already",
    '[index.i]\nn = "0"': "used by no row",
}


@pytest.mark.parametrize("head", HEADS)
def test_sections_that_do_not_follow_the_grammar(head):
    with pytest.raises(MappingError, match=HEADS[head]):
        parse(head if head.startswith("tensors") else f'{head}\n[tensors]\n"a" = "b"')


def test_a_mapping_without_rows():
    with pytest.raises(MappingError, match="has no row"):
        parse('title = "x"')


HOSTILE = {
    "range": '[index.i]\nn = "0-999999999"\n[tensors]\n"a{n}" = "b{n}"',
    "repetition": '[index.i]\nn = "1*999999"\n[tensors]\n"a{n}" = "b{n}"',
    "many words": f'[index.i]\nn = "{"0-9999 " * 9999}"\n[tensors]\n"a{{n}}" = "b{{n}}"',
    "product": "".join(f'[index.i{k}]\nn{k} = "0-999"\n' for k in range(9))
    + f'[tensors]\n"{"".join(f"{{n{k}}}" for k in range(9))}" = "{"".join(f"{{n{k}}}." for k in range(9))}"',
    "rows together": '[index.i]\nn = "0-49999"\n[tensors]\n"a{n}" = "b{n}"\n"c" = "d"',
    "long names": f'[index.i]\nn = ["{"x" * 900}"]\n[tensors]\n"{"{n}" * 2000}" = "b{{n}}"',
    "long value": f'[index.i]\nn = ["{"x" * 9000}"]\n[tensors]\n"a{{n}}" = "b{{n}}"',
    "nested arrays": "a = " + "[" * 50_000,
    "nested tables": "a = " + "{a=" * 50_000,
    "dotted": ".".join("a" * 20_000) + " = 1",
    "digits": f"[index.i]\nn = [{'9' * 10_000}]",
    "large number": '[index.i]\nn = [99999999999999999999]\n[tensors]\n"a{n}" = "b{n}"',
    "not text": "\udcff",
    "constants": '[index.i]\nn = "0-49998"\n[to.constants]\n"c{n}" = { value = 0, like = "b{n}" }\n'
    '[tensors]\n"a{n}" = "b{n}"',
    "constants like many": '[index.i]\nn = "0-24000"\n[to.constants]\n'
    '"c{n}" = { value = 0, like = "b{n}" }\n[tensors]\n"a{n}" = "b{n}"\n"a0" = "z"',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mappings_are_bounded(name):
    started = time.perf_counter()
    with pytest.raises(MappingError) as caught:
        parse_mapping(HOSTILE[name].encode(errors="surrogateescape"), "map.toml")
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - started < 10


def test_a_file_that_is_too_large(tmp_path):
    with (tmp_path / "map.toml").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(MappingError, match="more than 4 MB"):
        open_mapping(str(tmp_path / "map.toml"))


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_are_what_fnmatch_says(glob, name):
    from fnmatch import fnmatchcase

    assert glob_matches(glob, name) == fnmatchcase(name, glob)


def test_patterns_take_no_longer_than_they_must():
    started = time.perf_counter()
    assert not glob_matches("*a" * 400 + "b", "a" * 900)
    assert time.perf_counter() - started < 1


# A file against a mapping


def test_every_fault_at_once():
    mapping = parse(
        '[from]\ndrop = ["*_momentum"]\n[tensors]\n"aa" = "b"\n"c" = { to = "d", axes = "1 C -> C" }'
    )
    found = match(mapping, shell({"ab": (1,), "c": (3, 2), "x_momentum": (1,)}))
    assert [str(fault) for fault in found.faults] == [
        "missing: aa",
        "unused: ab",
        "shape: c (3x2, wanted 1 axes and 1 of size one)",
    ]
    assert (found.matched, found.dropped) == (0, ("x_momentum",))
    with pytest.raises(Refused, match="3 faults; 0 of 2 rows match") as caught:
        mapped_plan(found, {})
    assert len(caught.value.faults) == 3


def test_values_that_are_no_tensors_must_be_dropped():
    caffe2 = parse('[from]\nformat = "caffe2-pickle"\n[tensors]\n"a" = "b"')
    rate = {"lr": OtherValue(kind="number", value=0.1)}
    assert [str(fault) for fault in match(caffe2, shell({"a": (1,)}), rate).faults] == ["unused: lr"]
    assert not match(parse('[tensors]\n"a" = "b"'), shell({"a": (1,)}), {"epoch": plain_value(3)}).faults


@pytest.mark.parametrize("form", ["pytorch", "onnx", "tensorflow"])
def test_tensors_that_are_not_converted_must_be_dropped_and_cannot_be_mapped(form):
    mapping = parse(f'[from]\nformat = "{form}"\n[tensors]\n"a" = "b"')
    other = {"w": unconverted("uint16", (2, 3), None), "shape": unconverted("int64", (2,), None, beside=True)}
    assert [str(fault) for fault in match(mapping, shell({"a": (1,)}), other).faults] == ["unused: w"]
    dropping = parse(f'[from]\nformat = "{form}"\ndrop = ["w"]\n[tensors]\n"a" = "b"')
    assert not match(dropping, shell({"a": (1,)}), other).faults
    needing = parse(f'[from]\nformat = "{form}"\n[tensors]\n"a" = "b"\n"w" = "w"')
    faults = [str(fault) for fault in match(needing, shell({"a": (1,)}), other).faults]
    assert faults == ["dtype: w (uint16, which is not converted)"]


def test_batch_counters_take_care_of_themselves():
    mapping = parse('[tensors]\n"v" = "bn.running_var"')
    tensors = shell({"v": (3,)})
    assert [
        (row.target, row.dtype, row.shape) for row in mapped_plan(match(mapping, tensors), tensors).rows
    ] == [
        ("bn.running_var", "float32", (3,)),
        ("bn.num_batches_tracked", "int64", ()),
    ]
    found = match(mapping.reversed(), shell({"bn.running_var": (3,), "bn.num_batches_tracked": ()}))
    assert (found.faults, found.counters) == ((), ("bn.num_batches_tracked",))


COUNTED = '"a.running_var" = "b.running_var"\n'


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", ["b.running_var", "b.num_batches_tracked"]),
        ('"a.num_batches_tracked" = "b.num_batches_tracked"', ["b.running_var", "b.num_batches_tracked"]),
        ('"a.num_batches_tracked" = "steps"', ["b.running_var", "b.num_batches_tracked", "steps"]),
    ],
)
def test_a_batch_counter_is_kept_whether_it_has_a_row_or_not(more, names, tmp_path):
    (tmp_path / "map.toml").write_text(f"[tensors]\n{COUNTED}{more}")
    state = {"a.running_var": torch.rand(3), "a.num_batches_tracked": torch.tensor(7)}
    torch.save(state, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", mapping=tmp_path / "map.toml", check=True)
    there = torch.load(tmp_path / "b.pth", weights_only=True)
    assert list(there) == names
    assert all(there[name] == 7 for name in names[1:])
    convert(tmp_path / "b.pth", tmp_path / "c.pth", mapping=tmp_path / "map.toml", reverse=True)
    assert contents(tmp_path / "c.pth") == contents(tmp_path / "a.pth")


def test_a_constant_of_a_batch_counters_name_takes_its_place(tmp_path):
    (tmp_path / "map.toml").write_text(
        '[to.constants]\n"b.num_batches_tracked" = { value = 5, dtype = "int64", shape = [] }\n'
        f"[tensors]\n{COUNTED}"
    )
    torch.save({"a.running_var": torch.rand(3)}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", mapping=tmp_path / "map.toml")
    assert torch.load(tmp_path / "b.pth", weights_only=True)["b.num_batches_tracked"] == 5


def test_constants_take_no_more_than_the_file_or_little():
    many = (
        '[index.i]\nn = "0-40000"\n[to.constants]\n"c{n}" = { value = 1, shape = [1048575] }\n'
        '[tensors]\n"a" = "b"\n'
    )
    tensors = shell({"a": (4,)})
    with pytest.raises(MappingError, match=r"constants of 167,7\d\d,\d{3},\d{3} bytes") as caught:
        mapped_plan(match(parse(many), tensors), tensors)
    assert caught.value.exit_code == 3
    few = parse(many.replace("0-40000", "0-2"))
    assert len(mapped_plan(match(few, tensors), tensors).rows) == 4


CONSTANTS = """
[to.constants]
"bn.weight" = { value = 1.0, like = "bn.bias" }
"steps" = { value = 0, dtype = "int64", shape = [] }
[tensors]
"beta" = { to = "bn.bias", axes = "1 C -> C" }
"""


def test_constants_are_filled_in_and_come_back_only_if_they_are_what_they_say(tmp_path):
    (tmp_path / "map.toml").write_text(CONSTANTS)
    torch.save({"beta": torch.arange(3.0)[None]}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", mapping=tmp_path / "map.toml", check=True)
    state = torch.load(tmp_path / "b.pth", weights_only=True)
    assert list(state) == ["bn.weight", "bn.bias", "steps"]
    assert torch.equal(state["bn.weight"], torch.ones(3))
    assert state["steps"].dtype == torch.int64
    back = {"mapping": tmp_path / "map.toml", "reverse": True}
    torch.save({**state, "steps": torch.tensor(70)}, tmp_path / "trained.pth")  # a counter carries nothing
    convert(tmp_path / "trained.pth", tmp_path / "back.pth", **back)
    assert contents(tmp_path / "back.pth") == contents(tmp_path / "a.pth")
    torch.save({**state, "bn.weight": torch.tensor([1.0, 1, 2])}, tmp_path / "scaled.pth")
    with pytest.raises(Refused, match="assumes it to be 1 everywhere"):
        convert(tmp_path / "scaled.pth", tmp_path / "no.pth", **back)
    assert not (tmp_path / "no.pth").exists()


# What nobody has confirmed


UNSURE = '[from]\nleft_over = ["z"]\n[tensors]\n"a" = "x"\n[unsure]\n"b" = "y"'


def test_unsure_rows_are_never_used_silently(tmp_path):
    (tmp_path / "map.toml").write_text(UNSURE)
    torch.save({name: torch.ones(2) for name in "abz"}, tmp_path / "in.pth")
    call = {"mapping": tmp_path / "map.toml"}
    with pytest.raises(Refused, match="1 rows under \\[unsure\\], 1 tensors left over") as caught:
        convert(tmp_path / "in.pth", tmp_path / "out.pth", **call)
    assert "--accept-unsure" in caught.value.told.hint
    assert inspect(tmp_path / "in.pth", **call).mapping.open_points == 2
    result = convert(tmp_path / "in.pth", tmp_path / "out.pth", accept_unsure=True, **call)
    assert [row.target for row in result.rows] == ["x", "y"]
    assert result.dropped == ("z",)
    assert any("nobody has confirmed" in note for note in result.notes)


@pytest.mark.parametrize("left_over", ["", '[from]\nleft_over = ["z"]\n'])
def test_no_row_was_unsure_and_none_is_said_to_be(left_over, tmp_path):
    (tmp_path / "map.toml").write_text(f'{left_over}[tensors]\n"a" = "x"\n')
    torch.save({name: torch.ones(2) for name in ("az" if left_over else "a")}, tmp_path / "in.pth")
    result = convert(
        tmp_path / "in.pth", tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True
    )
    assert not any("confirmed" in note for note in result.notes)


# Whole files


@pytest.fixture(scope="module")
def ir_csn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    vmz_files.write(folder / "a.pkl", "ir-csn-26", seed=8)
    (folder / "map.toml").write_text(IR_CSN)
    return folder


def test_ir_csn_as_the_layouts_convert_it_and_back(ir_csn, tmp_path):
    """Against the layouts' own conversion, tensor by tensor; the output is recognised by its names."""
    result = convert(ir_csn / "a.pkl", tmp_path / "own.pth", mapping=ir_csn / "map.toml", check=True)
    convert(ir_csn / "a.pkl", tmp_path / "wanted.pth", source="vmz")
    assert contents(tmp_path / "own.pth") == contents(tmp_path / "wanted.pth")
    assert (result.info, result.checked) == (None, True)
    found = inspect(tmp_path / "own.pth", mapping=ir_csn / "map.toml")
    assert (found.layout, found.network.variant) == ("vmz-pt", "ir-csn-26")
    assert (found.mapping.mapping.left.name, found.mapping.faults) == ("to", ())
    record = found.provenance
    assert record["mapping"]["sha256"] == open_mapping(str(ir_csn / "map.toml")).sha256
    assert record["source"]["name"] == "a.pkl"
    assert len(record["source"]["crc32"]) == len(result.provenance["source"]["crc32"]) > 100
    convert(tmp_path / "own.pth", tmp_path / "b.pkl", mapping=ir_csn / "map.toml", reverse=True, check=True)
    assert contents(tmp_path / "b.pkl") == contents(ir_csn / "a.pkl")
    # And on from there by the tables, as any file of that layout.
    convert(tmp_path / "own.pth", tmp_path / "on.safetensors", to="native")
    convert(ir_csn / "a.pkl", tmp_path / "wanted.safetensors", source="vmz", to="native")
    assert contents(tmp_path / "on.safetensors") == contents(tmp_path / "wanted.safetensors")


def test_same_input_same_bytes(ir_csn, tmp_path):
    for name in ("a.pth", "b.pth"):
        convert(ir_csn / "a.pkl", tmp_path / name, mapping=ir_csn / "map.toml")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth") as file:
        assert str(tmp_path) not in file.read("archive/provenance.json").decode()


def test_a_cast_is_said(ir_csn, tmp_path):
    result = convert(
        ir_csn / "a.pkl", tmp_path / "half.safetensors", mapping=ir_csn / "map.toml", dtype="float16"
    )
    assert any("rounds" in note for note in result.notes)
    assert {one[0] for one in contents(tmp_path / "half.safetensors").values()} == {"float16", "int64"}
    assert result.provenance["restore"]["lossy"]


I3D = """
[from]
format = "tensorflow"
[to.constants]
"{port}.bn.weight" = { value = 1.0, like = "{port}.bn.bias" }
[index.unit]
unit = [%s]
port = [%s]
[tensors]
"RGB/inception_i3d/{unit}/conv_3d/w" = { to = "{port}.conv3d.weight", axes = "D H W I O -> O I D H W" }
"RGB/inception_i3d/{unit}/batch_norm/beta" = "{port}.bn.bias"
"RGB/inception_i3d/{unit}/batch_norm/moving_mean" = "{port}.bn.running_mean"
"RGB/inception_i3d/{unit}/batch_norm/moving_variance" = "{port}.bn.running_var"
"RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/w" = { to = "logits.conv3d.weight", axes = "1 1 1 I O -> O I 1 1 1" }
"RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b" = "logits.conv3d.bias"
"""


def test_i3d_from_tensorflow_and_back(tmp_path):
    """Axis orders, further axes and scales that are not stored, against the layouts' own conversion."""
    one = find_variant("i3d", "i3d")
    sizes = {"classes": 400, "channels": 3}
    units, ports = (
        {
            entry.canonical: entry.name.removesuffix(entry.stored.suffix)
            for entry in tensor_slots(load_layout(name), one, sizes, {})
            if entry.canonical.endswith("conv.weight")
        }
        for name in ("i3d", "pytorch-i3d")
    )
    listed = [", ".join(f'"{side[name]}"' for name in units) for side in (units, ports)]
    (tmp_path / "map.toml").write_text(I3D % tuple(listed))
    arrays = {
        name: np.resize(np.random.default_rng([3, number]).random(997, np.float32), shape)
        for number, (name, shape) in enumerate(i3d_tables.variables_of("rgb").items())
    }
    data, index = checkpoint_names(str(tmp_path / "a.ckpt"))
    with replacing(data) as data_out, replacing(index) as index_out:
        write_tensorflow(
            data_out,
            index_out,
            [Tensor(name, "float32", one.shape, Held(one.tobytes())) for name, one in arrays.items()],
        )
    convert(tmp_path / "a.ckpt", tmp_path / "own.pth", mapping=tmp_path / "map.toml")
    convert(tmp_path / "a.ckpt", tmp_path / "wanted.pth", source="i3d")
    assert contents(tmp_path / "own.pth") == contents(tmp_path / "wanted.pth")
    convert(tmp_path / "own.pth", tmp_path / "b.ckpt", mapping=tmp_path / "map.toml", reverse=True)
    assert contents(tmp_path / "b.ckpt") == contents(tmp_path / "a.ckpt")


C3D = """
[from]
format = "caffe"
[index.conv]
c = ["1a", "2a", "3a", "4a", "5a"]
[index.fc]
f = ["fc6", "fc7"]
[tensors]
"conv{c}/0" = "conv{c}.conv.weight"
"conv{c}/1" = { to = "conv{c}.conv.bias", axes = "1 1 1 1 C -> C" }
"{f}/0" = "{f}.weight"
"{f}/1" = "{f}.bias"
"fc8/0" = "head.weight"
"fc8/1" = "head.bias"
"""


def test_c3d_from_caffe_and_back(tmp_path):
    table = caffe_tables.caffe_tables()["c3d/caffe-v1.1-ucf101net"]
    arrays = {
        name: np.resize(np.random.default_rng([4, number]).random(997, np.float32), shape)
        for number, (name, shape) in enumerate(table.params.items())
    }
    (tmp_path / "a").write_bytes(caffe_files.model(table, arrays))
    (tmp_path / "map.toml").write_text(C3D)
    convert(tmp_path / "a", tmp_path / "own.safetensors", mapping=tmp_path / "map.toml")
    convert(tmp_path / "a", tmp_path / "wanted.safetensors", source="c3d", to="native")
    assert contents(tmp_path / "own.safetensors") == contents(tmp_path / "wanted.safetensors")
    back = tmp_path / "b.caffemodel"
    convert(tmp_path / "own.safetensors", back, mapping=tmp_path / "map.toml", reverse=True)
    assert contents(back) == contents(tmp_path / "a")


# The command


def test_the_command(ir_csn, run, tmp_path):
    done = run(ir_csn / "a.pkl", "out.pth", "--mapping", ir_csn / "map.toml", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "map.toml [from] -> map.toml [to]" in done.stdout
    assert "checked: every tensor was read back and compared" in done.stdout
    done = run(
        "auto", "out.pth", "back.pkl", f"--mapping={ir_csn / 'map.toml'}", "--reverse", "--dry-run", "--json"
    )
    found = json.loads(done.stdout)
    assert (found["ok"], found["output"], found["network"]) == (True, None, None)
    assert found["tensors"] == 142
    done = run("out.pth", "wrong.pth", "--mapping", ir_csn / "map.toml")
    assert done.returncode == 1
    assert "it has the names of the right side: convert it with --reverse" in done.stderr
    done = run("inspect", "out.pth", "--mapping", ir_csn / "map.toml")
    assert (done.returncode, "side [to]: 142 of 142 rows match" in done.stdout) == (0, True)
    (tmp_path / "other.toml").write_text('[tensors]\n"fc.weight" = "w"\n"fc.bais" = "b"')
    done = run("inspect", "out.pth", "--mapping", "other.toml", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["mapping"]["matched"]) == (1, False, 1)
    assert "missing: fc.bais (nearest: fc.bias)" in found["mapping"]["faults"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["in.pth", "out.pth", "--mapping", "none.toml"], 3, "cannot be opened"),
        (["in.pth", "out.pth", "--mapping", "bad.toml"], 3, "bad.toml: is not valid TOML"),
        (["in.pth", "out.pth", "--mapping", "in.pth"], 3, "is not valid TOML"),
        (
            ["in.pth", "out.pth", "--mapping", "map.toml", "--to", "vmz"],
            2,
            "a mapping file only renames tensors",
        ),
        (
            ["in.pth", "out.pth", "--mapping", "map.toml", "--set", "pool1=on"],
            2,
            "a mapping file only renames tensors",
        ),
        (["in.pth", "out.pkl", "--mapping", "map.toml"], 2, "must end in"),
        (["in.pth", "map.toml", "--mapping", "map.toml", "--force"], 2, "same file"),
        (["vmz", "in.pth", "out.pth", "--mapping", "map.toml"], 2, "leave out the layout"),
        (["auto", "in.pth", "out.pth", "--reverse"], 2, "need a mapping file"),
        (["auto", "in.pth", "out.pth", "--accept-unsure"], 2, "need a mapping file"),
    ],
)
def test_wrong_uses(words, code, said, run, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "in.pth")
    (tmp_path / "bad.toml").write_text("[tensors")
    (tmp_path / "map.toml").write_text('[tensors]\n"a" = "b"')
    done = run(*words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "out.pth").exists()


def test_the_api_says_the_same(tmp_path):
    (tmp_path / "map.toml").write_text('[tensors]\n"a" = "b"')
    with pytest.raises(UsageError, match="only renames"):
        convert(tmp_path / "in.pth", tmp_path / "out.pth", source="vmz", mapping=tmp_path / "map.toml")
    with pytest.raises(BadInput, match="cannot be opened"):
        convert(tmp_path / "in.pth", tmp_path / "out.pth", mapping=tmp_path / "map.toml")


def test_the_pages_mapping_is_one():
    text = (REPOSITORY / "docs" / "mapping-files.md").read_text()
    block = next(part for part in text.split("```toml\n")[1:] if "[tensors]" in part).split("```")[0]
    tomllib.loads(block)
    assert len(parse(block).pairs) > 10
