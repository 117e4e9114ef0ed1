"""`publish --check` looks at everything in a folder: names of any framework, contents, sub-folders."""

from __future__ import annotations

import io
import os
import pickle
import struct

import numpy as np
import pytest
import torch

from converters import convert, publish
from converters.publication.check_folder import check_folder

NAMED = (
    *(
        "a.PTH",
        "a.Pt",
        "a.bin",
        "a.th",
        "a.pb",
        "a.ONNX",
        "a.SafeTensors",
        "a.pyth",
        "a.keras",
        "a.H5",
        "a.caffemodel",
    ),
    *(
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "model.ckpt-1000.meta",
        "model.ckpt-1000",
        "checkpoint",
    ),
    *("variables/variables.DATA-00001-of-00002", "saved/saved_model.pb", "pytorch_model-00001-of-00002.bin"),
    *(
        "model.safetensors.index.json",
        "a.pth.gz",
        "a.pth.bak",
        "a.pth~",
        "a.pth.old.zip",
        "a.pth.001",
        "a.tar",
    ),
    *(
        ".hidden.pth",
        ".hidden/a.pkl",
        "deep/er/and/deeper/a.msgpack",
        "a.pth.tar.xz",
        "a.b.c.npz",
        "out.pth.partial",
    ),
    *("a.pdparams", "line\nbreak.pth", "\udcff.bin"),
)
OTHERS = (
    "README.md",
    "labels.txt",
    "cite",
    "config.json",
    "LICENSE",
    "card.html",
    "clip.png",
    "data.zip",
    "empty",
    "bin",
)


@pytest.fixture
def folder(zoo, tmp_path):
    convert(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path / "net.pth", source="vmz")
    publish(tmp_path / "net.pth", folder=tmp_path)
    (tmp_path / "net.pth").unlink()
    return tmp_path


def faults(folder):
    return {one.name: one.fault for one in check_folder(folder) if one.fault}


def test_names_of_any_framework(folder):
    for name in NAMED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert faults(folder) == dict.fromkeys(NAMED, "is not in SHA256SUMS")


def test_what_is_no_checkpoint_is_no_fault(folder):
    for name in OTHERS:
        (folder / name).touch()
    (folder / "labels.txt").write_text("clapping\nrunning\njumping\n")
    (folder / "cite").write_text("citation\nsee\n")
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "clip.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "data.zip").write_bytes(b"PK\x03\x04" + bytes(26) + b"labels.txt" + bytes(100))
    os.mkfifo(folder / "pipe")
    (folder / "dead").symlink_to("nowhere")
    (folder / "docs.pth").mkdir()
    assert faults(folder) == {}


def contents():
    state = {"weight": torch.ones(2)}
    zipped, legacy, npz, npy = (io.BytesIO() for _ in range(4))
    torch.save(state, zipped)
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    np.savez(npz, weight=np.ones(2))
    np.save(npy, np.ones(2))
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return {
        "zip": zipped.getvalue(),
        "legacy": legacy.getvalue(),
        "npz": npz.getvalue(),
        "npy": npy.getvalue(),
        "pickle2": pickle.dumps({"a": 1}, 2),
        "pickle0": pickle.dumps({"a": [1.0]}, 0),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "safetensors": struct.pack("<Q", len(header)) + header + bytes(4),
    }


def test_a_checkpoint_by_another_name(folder):
    for number, (name, data) in enumerate(contents().items()):
        inner = folder / ("sub" if number % 2 else ".")
        inner.mkdir(exist_ok=True)
        (inner / f"{name}.txt").write_bytes(data)
    assert {name.rpartition("/")[2].removesuffix(".txt") for name in faults(folder)} == set(contents())


def test_links(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.pth").touch()
    (elsewhere / "notes").write_bytes(pickle.dumps({}))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    (folder / "b.dat").symlink_to(elsewhere / "notes")
    (folder / "c.PTH").symlink_to("nowhere")
    found = faults(folder)
    assert found.pop("b.dat") == found.pop("c.PTH") == "is not in SHA256SUMS"
    assert found == dict.fromkeys(("linked", "loop"), "is a link to a folder, which was not followed")


def test_a_published_file_is_checked_by_any_spelling(folder):
    (name,) = (path.name for path in folder.iterdir() if path.suffix == ".pth")
    listed = (folder / "SHA256SUMS").read_text()
    (folder / name).rename(folder / "net-00000000.PTH")
    (folder / "SHA256SUMS").write_text(listed.replace(name, "net-00000000.PTH"))
    assert faults(folder) == {"net-00000000.PTH": "does not have the hash in its name"}
    (folder / "sub").mkdir()
    (folder / "sub" / "SHA256SUMS").write_text("")
    os.link(folder / "net-00000000.PTH", folder / "sub" / "net-00000000.PTH")
    assert faults(folder)["sub/net-00000000.PTH"] == "is not in SHA256SUMS"
