"""A provenance record in a file is input like any other: it may lie."""

from __future__ import annotations

import copy
import json

import pytest

from converters import BadInput, convert, inspect, load_model
from converters.files import SourceFile
from converters.formats.provenance_record import parse_provenance
from converters.formats.safetensors.reader import read_safetensors
from tests.helpers import selection


@pytest.fixture(scope="module")
def record(r2d, tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "out.safetensors"
    convert(r2d, path, source="vmz")
    with SourceFile(path) as file:
        return json.loads(read_safetensors(file).metadata["provenance"])


def paths(value, at=()):
    """The places of all fields of a record, but for the free-form CRC table."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "crc32":
                yield from paths(inner, (*at, key))


def test_a_sound_record_is_taken(record):
    assert parse_provenance(json.dumps(record), "x") == record
    assert parse_provenance(None, "x") is None


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "3", '{"a": 1}', "[" * 100_000, "{" * 5000, "1e999"])
def test_damaged_text(text):
    with pytest.raises(BadInput, match="provenance"):
        parse_provenance(text, "x")


@pytest.mark.parametrize("every", [0, -1, True, "8", 1e9], ids=str)
def test_a_wrong_number_of_frames_that_come_again(record, every):
    given = copy.deepcopy(record)
    given["network"]["input"]["again_every"] = 8
    assert parse_provenance(json.dumps(given), "x") == given
    given["network"]["input"]["again_every"] = every
    with pytest.raises(BadInput, match="provenance"):
        parse_provenance(json.dumps(given), "x")


@pytest.mark.parametrize("form", [[2, 1], [4, 1, 0], [2, 1, 1 << 31], [2, 1, None], 2], ids=str)
def test_a_wrong_form_of_an_array_of_mxnet(record, form):
    given = copy.deepcopy(record)
    given["origin"]["details"]["other_arrays"] = {"w": [0, -1, 7]}
    assert parse_provenance(json.dumps(given), "x") == given
    given["origin"]["details"]["other_arrays"] = {"w": form}
    with pytest.raises(BadInput, match="provenance"):
        parse_provenance(json.dumps(given), "x")


@pytest.mark.parametrize(
    "value", selection.first_of([-1, None, "x", 1e300, [], [[]], {}, {"x": {}}, True]), ids=str
)
def test_no_wrong_value_gets_past_the_check_and_breaks_a_command(record, value, r2d, tmp_path):
    """Whatever stands in a field, the record is refused, or the file can be inspected, loaded and converted."""
    import torch
    from safetensors.torch import load_file, save_file

    convert(r2d, tmp_path / "good.safetensors", source="vmz")
    state = load_file(tmp_path / "good.safetensors")
    small = {name: state[name] for name in list(state)[:3]}
    for place in paths(record):
        if not place:
            continue
        lie = copy.deepcopy(record)
        inner = lie
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        text = json.dumps(lie)
        try:
            parse_provenance(text, "x")
        except BadInput:
            continue
        whole = place[0] == "network"
        save_file(state if whole else small, tmp_path / "lie.safetensors", {"provenance": text})
        try:
            found = inspect(tmp_path / "lie.safetensors")
        except BadInput:
            assert place[:2] == ("network", "settings")  # what a setting may be is the tables' to say
            continue
        from converters.reports.terminal.inspection import inspection_text

        assert inspection_text(found)
        assert not whole or (found.network is not None and found.layout)
    lie = copy.deepcopy(record)
    lie["network"]["settings"]["stem_stride"] = 0
    save_file(state, tmp_path / "lie.safetensors", {"provenance": json.dumps(lie)})
    with pytest.raises(BadInput, match="provenance"):
        load_model(tmp_path / "lie.safetensors")
    assert torch.is_tensor(state["stem.0.weight"])


@pytest.mark.parametrize(
    "steps",
    [{"stem.1.running_var": "!"}, {"stem.1.running_var": ""}, {"stem.1.running_var": "0000"}],
    ids=["no base 85", "empty", "no zlib"],
)
def test_steps_that_do_not_go_with_the_tensors(record, steps, r2d, tmp_path):
    from safetensors.torch import load_file, save_file

    convert(r2d, tmp_path / "good.safetensors", source="vmz")
    lie = copy.deepcopy(record)
    lie["restore"]["variance"] = {"shift": 0.00099, "steps": steps}
    save_file(
        load_file(tmp_path / "good.safetensors"),
        tmp_path / "lie.safetensors",
        {"provenance": json.dumps(lie)},
    )
    with pytest.raises(BadInput, match="provenance"):
        convert(tmp_path / "lie.safetensors", tmp_path / "out.pth", source="vmz-pt", to="native")
    assert not (tmp_path / "out.pth").exists()
