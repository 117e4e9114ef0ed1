"""Good ``.safetensors`` files are read whole; every damaged or hostile one is refused with one line."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.safetensors.reader import HEADER_LIMIT, read_safetensors
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path):
    with SourceFile(path) as file:
        result = read_safetensors(file)
        return result, {name: tensor.tobytes() for name, tensor in result.tensors.items()}


def file_of(path: Path, header: object, data: bytes = b"") -> Path:
    """A file of a header, given as JSON text or as what to make it from, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, shape=None, dtype="I8"):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as refused:
        read(path)
    text = str(refused.value)
    assert refused.value.exit_code == 3
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < 400 + len(str(path))
    return text.removeprefix(f"{path}: ")


def test_a_file_of_the_library(tmp_path):
    tensors = {
        "conv.weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3, dtype=torch.float16),
        "flags": torch.tensor([True, False, True]),
        "brain": torch.ones(5, dtype=torch.bfloat16),
    }
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", "ü": "\n"})
    result, data = read(path)
    assert result.metadata == {"format": "pt", "ü": "\n"}
    assert set(result.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert result.tensors[name].name == name
        assert getattr(torch, result.tensors[name].dtype) == tensor.dtype
        assert result.tensors[name].shape == tuple(tensor.shape)
        assert data[name] == bytes(tensor.reshape(-1).view(torch.uint8).numpy())


def test_nothing_but_a_header(tmp_path):
    for header in (b"{}", b"{}      ", b'{"__metadata__":{}}'):
        result, _ = read(file_of(tmp_path / "a", header))
        assert (result.tensors, result.metadata) == ({}, {})


def test_the_order_is_the_header_s(tmp_path):
    path = file_of(tmp_path / "a", {"b": entry(2, 3), "a": entry(0, 2), "c": entry(2, 2)}, b"xyz")
    result, data = read(path)
    assert list(result.tensors) == ["b", "a", "c"]
    assert data == {"b": b"z", "a": b"xy", "c": b""}


ONE = {"a": entry(0, 4)}
TWICE = b'{"a":' + json.dumps(entry(0, 4)).encode()
HOSTILE = {
    # the header itself
    "no object": (b"[1, 2]", b"", "is not a safetensors file"),
    "no JSON": (b"<html>", b"", "is not a safetensors file"),
    "nothing": (b"", b"", "is not a safetensors file"),
    "no header but data": (b"", b"{}", "not JSON"),
    "spaces first": (b" {}", b"", "is not a safetensors file"),
    "two values": (b"{}{}", b"", "not JSON"),
    "cut JSON": (b'{"a":{"dtype":"I8","sha', b"", "not JSON"),
    "no UTF-8": (b'{"\xff":1}', b"", r"not UTF-8 \(offset 10\)"),
    "UTF-16": ("{}".encode("utf-16-le"), b"", "not JSON"),
    "deep lists": (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b"", "nested too deeply"),
    "deep objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, b"", "nested too deeply"),
    "open lists": (b'{"a":' + b"[" * 500_000, b"", "nested too deeply"),
    "a name twice": (TWICE + b"," + TWICE[1:] + b"}", b"1234", "the key 'a' occurs twice"),
    "a field twice": (TWICE[:-1] + b',"shape":[4]}}', b"1234", "the key 'shape' occurs twice"),
    "metadata twice": (b'{"__metadata__":{},"__metadata__":{}}', b"", "'__metadata__' occurs twice"),
    # the metadata
    "metadata a list": (b'{"__metadata__":[]}', b"", "not an object of strings"),
    "metadata a number": (b'{"__metadata__":{"a":1}}', b"", r"not text \(key 'a'\)"),
    "metadata nested": (b'{"__metadata__":{"a":{}}}', b"", "not text"),
    "metadata no Unicode": (b'{"__metadata__":{"a":"\\ud800"}}', b"", "not valid Unicode"),
    # an entry
    "an entry a list": ({"a": []}, b"", "not an object of dtype"),
    "a missing field": ({"a": {"dtype": "I8", "shape": [0]}}, b"", "not an object of dtype"),
    "a field too many": ({"a": {**entry(0, 0), "x": 1}}, b"", "not an object of dtype"),
    "a name no Unicode": (b'{"\\udc00":' + TWICE[5:] + b"}", b"1234", "not valid Unicode"),
    "an unknown dtype": (
        {"w": entry(0, 4, dtype="F9_E4M4")},
        b"1234",
        "dtype 'F9_E4M4', which is not supported",
    ),
    "a dtype no text": ({"a": entry(0, 4, dtype=["I8"])}, b"1234", "dtype that is not text"),
    "a wild dtype": ({"a": entry(0, 4, dtype="\x1b[2J" + "x" * 10_000)}, b"1234", r"\\x1b\[2Jx+\.\.\.'"),
    # a shape
    "a negative size": ({"a": entry(0, 4, [-2, -2])}, b"1234", "shape"),
    "a float size": ({"a": entry(0, 4, [4.0])}, b"1234", "shape"),
    "a bool size": ({"a": entry(0, 1, [True])}, b"1", "shape"),
    "a text size": ({"a": entry(0, 4, ["4"])}, b"1234", "shape"),
    "a null shape": ({"a": {**entry(0, 4), "shape": None}}, b"1234", "shape"),
    "a text shape": ({"a": entry(0, 4, "4")}, b"1234", "shape"),
    "a NaN size": (
        b'{"a":{"dtype":"I8","shape":[NaN],"data_offsets":[0,0]}}',
        b"",
        "NaN is not a JSON number",
    ),
    "an infinite size": (
        b'{"a":{"dtype":"I8","shape":[-Infinity],"data_offsets":[0,0]}}',
        b"",
        "-Infinity is not",
    ),
    "a size of thousands of digits": (
        b'{"a":{"dtype":"I8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,0]}}',
        b"",
        "not valid: Exceeds the limit",
    ),
    "a float like an offset": (
        b'{"a":{"dtype":"I8","shape":[0],"data_offsets":[0,1e400]}}',
        b"",
        "two offsets",
    ),
    "a huge size": ({"a": entry(0, 4, [2**63])}, b"1234", "shape"),
    "a huge product": ({"a": entry(0, 4, [2**62] * 64)}, b"1234", "its shape and dtype"),
    "a product that wraps to 4": ({"a": entry(0, 4, [2**62 + 1, 4])}, b"1234", "its shape and dtype"),
    "too many axes": ({"a": entry(0, 4, [1] * 65)}, b"1234", "at most 64"),
    "a million axes": ({"a": entry(0, 4, [2] * 1_000_000)}, b"1234", "at most 64"),
    "a shape too small": ({"a": entry(0, 4, [3])}, b"1234", "takes 4 bytes, its shape and dtype 3"),
    "a shape too large": ({"a": entry(0, 4, [2], "F32")}, b"1234", "takes 4 bytes, its shape and dtype 8"),
    # the offsets
    "outside": ({"a": entry(0, 5)}, b"1234", "outside the file: bytes 0 to 5 of 4"),
    "far outside": ({"a": entry(2**62, 2**62 + 4)}, b"1234", "outside the file"),
    "backwards": ({"a": entry(4, 0, [4])}, b"1234", "outside the file"),
    "a negative offset": ({"a": entry(-4, 0)}, b"1234", "two offsets"),
    "one offset": ({"a": {**entry(0, 4), "data_offsets": [0]}}, b"1234", "two offsets"),
    "three offsets": ({"a": {**entry(0, 4), "data_offsets": [0, 4, 4]}}, b"1234", "two offsets"),
    "float offsets": ({"a": {**entry(0, 4), "data_offsets": [0.0, 4.0]}}, b"1234", "two offsets"),
    "a gap before": ({"a": entry(1, 4)}, b"1234", "after a gap: offset 1, 0 expected"),
    "a gap between": ({"a": entry(0, 1), "b": entry(2, 4)}, b"1234", r"gap.*\(tensor 'b'\)"),
    "bytes after the last": (ONE, b"12345", "1 bytes after the last tensor"),
    "an overlap": (
        {"a": entry(0, 3), "b": entry(2, 4)},
        b"1234",
        "overlaps another tensor: offset 2, 3 expected",
    ),
    "the same bytes": ({"a": entry(0, 4), "b": entry(0, 4)}, b"1234", "overlaps"),
    "one inside another": ({"a": entry(0, 4), "b": entry(1, 2)}, b"1234", "overlaps"),
    "an empty one inside another": ({"a": entry(0, 4), "b": entry(2, 2)}, b"1234", "overlaps"),
    "data without tensors": (b"{}", b"1", "1 bytes after"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_files_are_refused(tmp_path, case):
    header, data, expected = HOSTILE[case]
    path = file_of(tmp_path / "a", header, data)
    with pytest.raises(BadInput, match=expected):
        read(path)
    refusal(path)


@pytest.mark.parametrize("length", [3, 2**20, HEADER_LIMIT, HEADER_LIMIT + 1, 2**31, 2**63, 2**64 - 1])
def test_a_lying_header_length_costs_no_memory(tmp_path, length):
    path = tmp_path / "a"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    tracemalloc.start()
    try:
        text = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ("ends early" in text) == (length <= HEADER_LIMIT)
    assert peak < 2_000_000


def test_cut_at_every_byte(tmp_path):
    whole = file_of(
        tmp_path / "whole", {"__metadata__": {"k": "v"}, "a": entry(0, 3), "b": entry(3, 5)}, b"12345"
    )
    data = whole.read_bytes()
    read(whole)
    for size in range(len(data)):
        path = tmp_path / "cut"
        path.write_bytes(data[:size])
        refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4" + bytes(100), b"\x80\2}q\0(U\5blobs" + bytes(50), b"<!DOCTYPE html>"]
)
def test_other_kinds_of_files(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    assert refusal(path) == "is not a safetensors file"


@examples(300)
@given(st.data())
def test_damage_is_refused_or_leaves_a_consistent_file(tmp_path, data):
    tensors = {
        "aa": torch.arange(6, dtype=torch.int32),
        "bb": torch.ones(2, 2),
        "cc": torch.zeros(3, dtype=torch.int8),
    }
    content = bytearray(safetensors.torch.save(tensors, metadata={"format": "pt"}))
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, header - 1))
        content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789[]{},:"-e'))
    path = tmp_path / "a"
    path.write_bytes(content)
    try:
        result, read_data = read(path)
    except BadInput:
        return
    assert sum(map(len, read_data.values())) == len(content) - 8 - int.from_bytes(content[:8], "little")
    assert all(len(read_data[name]) == tensor.nbytes for name, tensor in result.tensors.items())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a":[' + b"[]," * 2_200_000 + b"[]]}", "more values"),
        (b"{" + b",".join(b'"%x":{}' % number for number in range(65_537)) + b"}", "65,537 entries"),
    ],
    ids=["values", "entries"],
)
def test_a_header_of_a_great_many_values_costs_no_more_than_its_bytes(tmp_path, text, says):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=says), SourceFile(str(path)) as file:
            read_safetensors(file)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()
