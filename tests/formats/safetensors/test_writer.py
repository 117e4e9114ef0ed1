"""A ``.safetensors`` written without the library is read by the library, and by our own reader."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from converters.errors import Refused
from converters.files import CHUNK, SourceFile
from converters.formats.io.atomic import replacing
from converters.formats.safetensors import writer as module
from converters.formats.safetensors.reader import read_safetensors
from converters.formats.safetensors.writer import DTYPE, write_safetensors
from converters.tensor import ITEMSIZE, Tensor
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = [(), (1,), (0,), (300,), (3, 5), (0, 3), (2, 1, 4, 5, 6), (70_001,)]


class Bytes:
    """Data that is in memory already."""

    def __init__(self, data: bytes):
        self.data = data

    def chunks(self):
        for start in range(0, len(self.data), CHUNK):
            yield memoryview(self.data)[start : start + CHUNK]


def tensor(name: str, dtype: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    data = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * ITEMSIZE[dtype], dtype=np.uint8)
    return Tensor(name, dtype, shape, Bytes((data % 2 if dtype == "bool" else data).tobytes()))


MIXED = [
    tensor(f"layer{number}.{dtype}", dtype, shape, number)
    for number, shape in enumerate(SHAPES)
    for dtype in sorted(ITEMSIZE)
]


def written(path: Path, tensors, metadata=None, **options):
    with replacing(path, force=True) as out:
        return write_safetensors(out, tensors, metadata=metadata or {}, **options)


def header(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def raw(loaded: torch.Tensor) -> bytes:
    return bytes(loaded.contiguous().reshape(-1).view(torch.uint8).numpy())


def check_read(path: Path, tensors) -> None:
    by_torch = safetensors.torch.load_file(path)
    assert set(by_torch) == {expected.name for expected in tensors}
    for expected in tensors:
        loaded = by_torch[expected.name]
        assert loaded.dtype == getattr(torch, expected.dtype)
        assert tuple(loaded.shape) == expected.shape
        assert raw(loaded) == expected.tobytes()
    with SourceFile(path) as file:
        ours = read_safetensors(file).tensors
        assert list(ours) == [expected.name for expected in tensors]
        for expected in tensors:
            got = ours[expected.name]
            assert (got.name, got.dtype, got.shape) == (expected.name, expected.dtype, expected.shape)
            assert got.tobytes() == expected.tobytes()


def test_every_dtype_has_a_name():
    assert DTYPE.keys() == ITEMSIZE.keys()


def test_every_dtype_and_shape_is_read_by_the_library(tmp_path):
    path = tmp_path / "out.safetensors"
    assert written(path, MIXED) is None
    check_read(path, MIXED)
    simple = [tensor for tensor in MIXED if tensor.dtype != "bfloat16"]  # numpy has none
    written(path, simple)
    by_numpy = safetensors.numpy.load_file(path)
    assert {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in by_numpy.items()} == {
        t.name: (t.dtype, t.shape, t.tobytes()) for t in simple
    }


@examples(60)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=50).filter("__metadata__".__ne__),
        st.tuples(st.sampled_from(sorted(ITEMSIZE)), st.lists(st.integers(0, 9), max_size=5).map(tuple)),
        max_size=8,
    ),
    st.dictionaries(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=50)] * 2, max_size=3),
)
def test_any_names_and_metadata(tmp_path, entries, metadata):
    path = tmp_path / "out.safetensors"
    tensors = [tensor(name, *entry) for name, entry in entries.items()]
    written(path, tensors, metadata)
    check_read(path, tensors)
    with safe_open(path, "pt") as file:
        assert (file.metadata() or {}) == metadata
    with SourceFile(path) as source:
        assert read_safetensors(source).metadata == metadata


def test_the_header(tmp_path):
    path = tmp_path / "out.safetensors"
    written(path, MIXED, {"provenance": '{"tool": "x"}', "format": "pt"})
    entries = header(path)
    assert list(entries) == ["__metadata__", *(tensor.name for tensor in MIXED)]
    assert list(entries["__metadata__"].items()) == [("format", "pt"), ("provenance", '{"tool": "x"}')]
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0
    assert path.read_bytes()[8:9] == b"{"
    for expected in MIXED:
        begin, end = entries[expected.name]["data_offsets"]
        assert (8 + length + begin) % ITEMSIZE[expected.dtype] == 0, "aligned to its elements"
        assert end - begin == expected.nbytes
    spans = sorted(entries[expected.name]["data_offsets"] for expected in MIXED)
    assert [begin for begin, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert 8 + length + spans[-1][1] == path.stat().st_size
    written(path, MIXED)
    assert "__metadata__" not in header(path)


def test_same_input_same_bytes(tmp_path):
    files = []
    for name, metadata in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"})):
        written(tmp_path / name, MIXED, metadata)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_crcs_and_progress(tmp_path):
    moved = []
    crcs = written(tmp_path / "out", MIXED, crc=zlib.crc32, progress=moved.append)
    assert crcs == [zlib.crc32(tensor.tobytes()) for tensor in MIXED]
    assert sum(moved) == sum(tensor.nbytes for tensor in MIXED)


def test_metadata_that_holds_the_crcs(tmp_path):
    path = tmp_path / "out.safetensors"

    def metadata(crcs):
        return {"crcs": "".join(f"{crc:08x}" for crc in crcs)}

    crcs = written(path, MIXED, metadata, crc=zlib.crc32)
    check_read(path, MIXED)
    assert header(path)["__metadata__"] == metadata(crcs)
    written(path, MIXED, metadata)
    assert header(path)["__metadata__"] == metadata([0] * len(MIXED))
    os.remove(path)
    with pytest.raises(ValueError, match="before the data"):
        written(path, MIXED, lambda crcs: {"crcs": str(crcs)}, crc=zlib.crc32)
    assert os.listdir(tmp_path) == []


def test_what_the_format_cannot_hold_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "out.safetensors"
    with pytest.raises(Refused, match="cannot be named __metadata__"):
        written(path, [tensor("__metadata__", "int8", (1,))])
    with pytest.raises(Refused, match=r"not valid Unicode.*conv.*\\ud800.*write a \.pth"):
        written(path, [tensor("conv\ud800", "int8", (1,))])
    monkeypatch.setattr(module, "HEADER_LIMIT", 1000)
    with pytest.raises(Refused, match=r"safetensors allows 1,000: write a \.pth"):
        written(path, MIXED)
    with pytest.raises(ValueError, match="occurs twice"):
        written(path, [tensor("a", "int8", (1,))] * 2)
    with pytest.raises(ValueError, match="a: 2 bytes of data, 3 by its shape"):
        written(path, [Tensor("a", "int8", (3,), Bytes(b"12"))])
    assert os.listdir(tmp_path) == []
