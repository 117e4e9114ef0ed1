"""The checksums of a conversion's files: those of the bytes, whichever of them were summed up on the way."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from converters.conversion.convert import carry_out
from converters.conversion.options import Request, WriteOptions
from converters.files import SourceFile
from converters.formats.open import open_checkpoint
from tests.helpers import batch_files

if TYPE_CHECKING:
    from pathlib import Path

HOPS = {
    "c3d-small": [
        ("c3d", "a.caffemodel"),
        ("native", "b.safetensors"),
        ("c3d-chainer", "c.npz"),
        ("c3d", "d.onnx"),
        ("native", "e.pth"),
    ],
    "ir-csn-26": [("vmz", "a.pkl"), ("mmaction", "b.pth"), ("vmz-pt", "c.safetensors"), ("vmz", "d.onnx")],
    "i3d": [("i3d", "a.ckpt"), ("pytorch-i3d", "b.pth"), ("i3d-jax", "c.npz")],
}
"""For each network the layouts and files that it goes through: every format that we write and some operations."""

FAMILY = {"c3d-small": "c3d", "ir-csn-26": "resnet3d", "i3d": "i3d"}


@pytest.mark.parametrize("network", HOPS)
def test_they_are_those_of_the_bytes(network, tmp_path):
    source = tmp_path / "native.pth"
    batch_files.write_native(source, FAMILY[network], network, classes=10, seed=1)
    before = "native"
    for layout, name in HOPS[network]:
        request = Request(input=str(source), output=str(tmp_path / name), source=before, to=layout)
        found = carry_out(request.replace(write=WriteOptions(checksums=True))).checksums
        with open_checkpoint(str(source)) as checkpoint:
            paths = [file.path for file in checkpoint.files]
            assert (found.size, found.files) == (checkpoint.size, len(paths))
        assert found.input == batch_files.crc32(*paths), name
        outputs = sorted(tmp_path.glob(f"{name}*"))
        assert found.output == {path.name: batch_files.crc32(path) for path in outputs}, name
        source, before = tmp_path / name, layout


def deflated(state, folder: Path) -> Path:
    """A ``.pth`` whose records are deflated: no tensor's bytes are in it."""
    torch.save(state, folder / "stored.pth")
    path = folder / "packed.pth"
    with (
        zipfile.ZipFile(folder / "stored.pth") as stored,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    return path


def sharded(state, folder: Path) -> Path:
    """An index and two files, in each of which tensors begin at the same offsets."""
    names = list(state)
    weight_map = {name: f"{number % 2}.bin" for number, name in enumerate(names)}
    for file in ("0.bin", "1.bin"):
        torch.save({name: state[name] for name in names if weight_map[name] == file}, folder / file)
    path = folder / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def shared(state, folder: Path) -> Path:
    """A ``.pth`` in which all tensors are parts of one storage."""
    whole = torch.cat([tensor.reshape(-1) for tensor in state.values()])
    parts = whole.split([tensor.numel() for tensor in state.values()])
    views = {name: part.view(state[name].shape) for name, part in zip(state, parts, strict=True)}
    torch.save(views, folder / "shared.pth")
    return folder / "shared.pth"


@pytest.mark.parametrize("make", [deflated, sharded, shared])
def test_of_inputs_in_other_forms(make, tmp_path):
    batch_files.write_native(tmp_path / "native.pth", "c3d", "c3d-small", classes=10, seed=1)
    source = make(torch.load(tmp_path / "native.pth"), tmp_path)
    request = Request(input=str(source), output=str(tmp_path / "out.pth"), source="native", to="native")
    found = carry_out(request.replace(write=WriteOptions(checksums=True))).checksums
    with open_checkpoint(str(source)) as checkpoint:
        assert found.input == batch_files.crc32(*(file.path for file in checkpoint.files))
    assert found.output == {"out.pth": batch_files.crc32(tmp_path / "out.pth")}


def test_they_are_asked_for(tmp_path):
    source = tmp_path / "native.pth"
    batch_files.write_native(source, "c3d", "c3d-small", classes=10, seed=1)
    request = Request(input=str(source), output=str(tmp_path / "out.pth"), source="native", to="native")
    assert carry_out(request).checksums is None


def test_what_was_copied_is_not_read_again(tmp_path, monkeypatch):
    """Only the short tensors, and what is around them."""
    native, source = tmp_path / "native.pth", tmp_path / "a.pkl"
    batch_files.write_native(native, "resnet3d", "ir-csn-26", classes=10, seed=1)
    carry_out(Request(input=str(native), output=str(source), source="native", to="vmz"))
    read: dict[str, int] = {}
    chunks = SourceFile.chunks

    def counted(file, offset, length):
        read[file.path] = read.get(file.path, 0) + length
        return chunks(file, offset, length)

    monkeypatch.setattr(SourceFile, "chunks", counted)
    request = Request(input=str(source), output=str(tmp_path / "b.pth"), source="vmz", to="vmz-pt")
    carry_out(request.replace(write=WriteOptions(checksums=True)))
    for path in (source, tmp_path / "b.pth"):
        again = read[str(path)] - (path == source) * path.stat().st_size
        assert again < path.stat().st_size / 4, path
