"""A ``.pth`` that was packed again with deflate is read as the original; bombs are refused before they inflate."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters import convert, diff, load_model
from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.io.zip_members import Inflated
from converters.formats.pytorch.reader import read_pth
from tests.helpers import selection
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from pathlib import Path


def saved(value) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def packed(data: bytes, method: int = zipfile.ZIP_DEFLATED, only=lambda _: True) -> bytes:
    """The same zip file, packed again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name), method if only(name) else zipfile.ZIP_STORED)
    return out.getvalue()


def file_of(folder: Path, data: bytes) -> SourceFile:
    (folder / "x.pth").write_bytes(data)
    return SourceFile(folder / "x.pth")


def read(folder: Path, data: bytes, **options):
    with file_of(folder, data) as file:
        found = read_pth(file, **options)
        raw = {name: tensor.tobytes() for name, tensor in found.tensors.items()}
        return found, raw, {name: (tensor.dtype, tensor.shape) for name, tensor in found.tensors.items()}


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read(folder, data)
    assert caught.value.exit_code == 3
    return str(caught.value)


def value():
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) - 7.5
    return {
        "large": torch.arange(300_000.0),
        "half": torch.arange(8, dtype=torch.bfloat16),
        "shared": base,
        "tail": base[2],
        "permuted": base.permute(2, 0, 1),
        "sliced": base[1:, ::2, 1:4],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    }


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("only", ["all", "pickle", "tensors"])
def test_it_is_read_as_the_original(tmp_path, only, checksum):
    data = saved({"state_dict": value(), "epoch": 3, "text": "x" * 1000, "array": np.arange(900.0)})
    which = {
        "all": lambda _: True,
        "pickle": lambda name: name.endswith(".pkl"),
        "tensors": lambda name: "/data/" in name,
    }[only]
    found, raw, kinds = read(tmp_path, packed(data, only=which), checksum=checksum)
    original, original_raw, original_kinds = read(tmp_path, data)
    assert raw == original_raw
    assert kinds == original_kinds
    assert found.crcs == original.crcs
    assert list(found.other_values) == list(original.other_values)
    assert found.wrapper == "state_dict"


@examples(20)
@given(shape=st.lists(st.integers(0, 5), max_size=3), data=st.data())
def test_any_view_comes_back(tmp_path, shape, data):
    tensor = torch.arange(int(np.prod(shape)), dtype=torch.int32).reshape(shape)
    tensor = tensor.permute(data.draw(st.permutations(range(len(shape)))))
    for axis, size in enumerate(tensor.shape):
        first, step = data.draw(st.integers(0, size)), data.draw(st.integers(1, 3))
        tensor = tensor[(slice(None),) * axis + (slice(first, None, step),)]
    _, raw, _ = read(tmp_path, packed(saved({"w": tensor})))
    assert raw["w"] == tensor.contiguous().numpy().tobytes()


@pytest.mark.full
def test_it_converts_and_is_equal(r2d, tmp_path):
    convert(r2d, tmp_path / "a.pth", source="vmz")
    (tmp_path / "b.pth").write_bytes(packed((tmp_path / "a.pth").read_bytes()))
    assert diff(tmp_path / "a.pth", tmp_path / "b.pth").same
    ours, theirs = (load_model(tmp_path / name).state_dict() for name in ("a.pth", "b.pth"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    convert(tmp_path / "b.pth", tmp_path / "c.pkl", to="vmz")
    convert(tmp_path / "a.pth", tmp_path / "d.pkl", to="vmz")
    assert (tmp_path / "c.pkl").read_bytes() == (tmp_path / "d.pkl").read_bytes()


def test_a_big_endian_file(tmp_path):
    swapped = {"byteorder": b"big", "data/0": struct.pack(">3f", 0, 1, 2)}
    out, source = io.BytesIO(), io.BytesIO(saved({"w": torch.arange(3.0)}))
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            copy.writestr(name, swapped.get(name.partition("/")[2], archive.read(name)))
    assert read(tmp_path, out.getvalue())[1] == {"w": struct.pack("<3f", 0, 1, 2)}


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
def test_damage_is_found(tmp_path, record):
    data = bytearray(packed(saved({"w": torch.arange(3000.0)})))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(f"archive/{record}")
    start = info.header_offset + 30 + len(info.filename)
    for at in range(start, start + info.compress_size, max(1, info.compress_size // 40)):
        changed = data.copy()
        changed[at] ^= 1
        refusal(tmp_path, bytes(changed))


def test_a_tensor_that_is_part_of_a_damaged_record_is_refused(tmp_path):
    base = torch.arange(3000.0)
    data = bytearray(packed(saved({"w": base[:4], "v": base[::2]})))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo("archive/data/0")
    data[info.header_offset + 30 + len(info.filename) + info.compress_size - 30] ^= 1
    for name in ("w", "v"):
        with file_of(tmp_path, bytes(data)) as file, pytest.raises(BadInput):
            read_pth(file).tensors[name].tobytes()


@pytest.mark.parametrize(
    "record", selection.first_of(["data.pkl", "data/0", "data/unused", "provenance.json"])
)
def test_bombs_are_refused_before_they_inflate(tmp_path, record):
    out, source = io.BytesIO(), io.BytesIO(saved({"w": torch.ones(3)}))
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            if name != f"archive/{record}":
                copy.writestr(name, archive.read(name))
        copy.writestr(f"archive/{record}", bytes(80 << 20))
    tracemalloc.start()
    message = refusal(tmp_path, out.getvalue())
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert "inflates" in message
    assert "zip -0" in message


def test_a_size_that_lies_is_found(tmp_path):
    data = bytearray(packed(saved({"w": torch.zeros(100_000)})))
    at = data.rindex(b"archive/data/0") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    struct.pack_into("<L", data, at + 24, 399_996)
    assert "wrong size" in refusal(tmp_path, bytes(data))
    data = bytearray(packed(saved({"w": torch.zeros(100_000)})))
    at = data.rindex(b"archive/data.pkl") - 46
    (size,) = struct.unpack_from("<L", data, at + 24)
    struct.pack_into("<L", data, at + 24, size - 1)
    assert "more than the" in refusal(tmp_path, bytes(data))


def test_many_parts_inflate_a_record_once(tmp_path, monkeypatch):
    base = torch.arange(100_000.0)
    data = packed(saved({f"part {index}": base[index : index + 10] for index in range(300)}))
    inflated: list[str] = []
    chunks = Inflated.chunks

    def spy(self: Inflated):
        inflated.append(self.member.name)
        return chunks(self)

    monkeypatch.setattr(Inflated, "chunks", spy)
    _, raw, _ = read(tmp_path, data)
    assert raw["part 299"] == base[299:309].numpy().tobytes()
    assert inflated.count("archive/data/0") == 1


class Pipe(io.RawIOBase):
    """An output that cannot seek, for which a zip file has its sizes behind the bytes."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.written += data
        return len(data)


def test_zip_files_of_other_writers(tmp_path):
    data = saved({"w": torch.arange(3000.0)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    piped, folders, large = Pipe(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(piped, "w", zipfile.ZIP_DEFLATED) as copy:
        for name, content in records.items():
            copy.writestr(name, content)
    with zipfile.ZipFile(folders, "w", zipfile.ZIP_DEFLATED) as copy:
        copy.mkdir("archive")
        copy.mkdir("archive/data")
        for name, content in {
            **records,
            "__MACOSX/archive/._data.pkl": b"x",
            "archive/.DS_Store": b"x",
        }.items():
            copy.writestr(name, content)
        copy.comment = b"packed again"
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as copy:
        for name, content in records.items():
            with copy.open(name, "w", force_zip64=True) as member:
                member.write(content)
    for changed in (bytes(piped.written), folders.getvalue(), large.getvalue()):
        assert read(tmp_path, changed)[1] == {"w": torch.arange(3000.0).numpy().tobytes()}


@pytest.mark.parametrize("folder", ["", "checkpoints/best/"])
def test_records_at_another_level_are_named(tmp_path, folder):
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"w": torch.ones(3)}))) as archive,
        zipfile.ZipFile(out, "w") as copy,
    ):
        for name in archive.namelist():
            copy.writestr(folder + name.partition("/")[2], archive.read(name))
    message = refusal(tmp_path, out.getvalue())
    assert "not in one folder at the top" in message
    assert "zip -0 -r" in message


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_get_advice(tmp_path, method):
    message = refusal(tmp_path, packed(saved({"w": torch.ones(3)}), method))
    assert f"compressed by method {method}" in message
    assert "zip -0" in message
