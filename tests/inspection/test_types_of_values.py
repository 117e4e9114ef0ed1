"""`convert diff` compares the types of what files hold beside their numbers: whatever another reader can tell apart is
not equal."""

from __future__ import annotations

import pathlib
import pickle
import struct
from collections import OrderedDict, UserDict
from itertools import combinations

import h5py
import numpy as np
import pytest
import torch

from converters import diff, inspect
from converters.errors import Refused


@pytest.fixture(autouse=True)
def unknown_network(monkeypatch):
    """No file here is a known network: to find that out would take most of the time."""

    def refuse(*_: object, **__: object) -> None:
        raise Refused("is not a known network")

    monkeypatch.setattr("converters.inspection.diff.recognize", refuse)


W = torch.ones(2)
ONES = np.ones(2, "f4")

ALIKE = {
    "numbers of numpy": [np.float32(0.5), np.float64(0.5), np.float16(0.5), 0.5],
    "whole numbers": [np.int64(1), np.int32(1), np.uint8(1), 1, 1.0, True, np.bool_(True)],
    "texts and bytes": ["x", b"x", bytearray(b"x"), np.str_("x"), np.bytes_(b"x")],
    "long texts and bytes": ["x" * 300, b"x" * 300, bytearray(b"x" * 300)],
    "tensors": [
        W,
        torch.nn.Parameter(W),
        torch.nn.Parameter(W, requires_grad=False),
        W.clone().requires_grad_(),
    ],
    "arrays": [ONES, ONES.astype(">f4"), ONES.view(np.recarray), np.ones((1, 2), "f4").view(np.matrix)],
    "complex arrays": [ONES.astype("c8"), ONES.astype(">c8"), ONES.astype("c16")],
    "sequences": [[1, 2], (1, 2), {1, 2}, frozenset({1, 2}), torch.Size([1, 2])],
    "dictionaries": [{"a": 1}, OrderedDict(a=1), UserDict(a=1)],
    "keys": [{"1": 0}, {1: 0}, {b"1": 0}, {1.0: 0}, {np.int64(1): 0}, {np.str_("1"): 0}, {"[1]": 0}],
    "keys of nothing": [{None: 0}, {"None": 0}, {"[None]": 0}],
    "keys of several": [{(1, "1"): 0}, {(1, 1): 0}, {(1, b"1"): 0}, {(1, np.int64(1)): 0}],
    "words of PyTorch": ["cpu", torch.device("cpu")],
    "layouts": ["torch.strided", torch.strided],
    "paths": ["a", pathlib.Path("a"), pathlib.PureWindowsPath("a")],
    "not a number": [float("nan"), -float("nan"), np.float64("nan")],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ALIKE)
def test_values_of_other_types_differ(tmp_path, kind, protocol):
    paths = []
    for number, value in enumerate(ALIKE[kind]):
        paths.append(tmp_path / f"{number}.pth")
        torch.save({"state_dict": {"w": W, "x": value}, "y": [value]}, paths[-1], pickle_protocol=protocol)
    for a, b in combinations(paths, 2):
        found = {other.name for other in diff(a, b).others if other.kind != "equal"}
        assert any(name.startswith("y") for name in found)
        assert any(not name.startswith("y") for name in found)
    torch.save(torch.load(paths[0], weights_only=False), tmp_path / "again.pth", pickle_protocol=protocol)
    assert diff(paths[0], tmp_path / "again.pth").same


def test_the_class_of_a_state_dict_counts(tmp_path):
    for name, kind in {"a": dict, "b": OrderedDict, "c": UserDict}.items():
        torch.save(kind(w=W), tmp_path / f"{name}.pth")
    for a, b in combinations("abc", 2):
        assert not diff(tmp_path / f"{a}.pth", tmp_path / f"{b}.pth").same


def test_sets_are_equal_in_any_order(tmp_path):
    words = [f"word {number}" for number in range(20)]
    for name, order in {"a": words, "b": words[::-1]}.items():
        torch.save({"w": W, "words": set(order)}, tmp_path / f"{name}.pth", pickle_protocol=4)
    assert diff(tmp_path / "a.pth", tmp_path / "b.pth").same


@pytest.mark.parametrize("kind", ["Caffe2", "JAX"])
def test_what_a_pickle_of_arrays_is_made_of_counts(tmp_path, kind):
    inner = {"w": ONES, "n": 1}
    forms = [
        inner,
        {**inner, "w": ONES.astype(">f4")},
        {**inner, "w": ONES.view(np.recarray)},
        {**inner, "n": np.int64(1)},
        OrderedDict(inner),
        {b"w": ONES, b"n": 1},
    ]
    for number, form in enumerate(forms):
        value = {"params": {"layer": form}} if kind == "JAX" else form
        (tmp_path / f"{number}.pkl").write_bytes(pickle.dumps(value, 4))
    for a, b in combinations(range(len(forms)), 2):
        found = diff(tmp_path / f"{a}.pkl", tmp_path / f"{b}.pkl")
        assert not found.same
        assert {row.kind for row in found.rows} == {"equal"}


def test_byte_orders_of_arrays_count(tmp_path):
    for name, dtype in {"a": "<f4", "b": ">f4"}.items():
        np.savez(tmp_path / f"{name}.npz", w=ONES.astype(dtype), v=ONES)
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["l/w"] = ONES.astype(dtype)
    for suffix in ("npz", "h5"):
        found = diff(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
        assert [row.kind for row in found.rows] == ["equal"] * len(found.rows)
        assert not found.same
    assert inspect(tmp_path / "b.npz").tensors[0] == ("w", "float32", (2,))


def test_kinds_of_text_in_hdf5_files_count(tmp_path):
    texts = [np.bytes_(b"x"), np.array(b"x", "S2"), "x", np.array(b"x", h5py.string_dtype("ascii"))]
    for number, text in enumerate(texts):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["l/w"], file["l/text"] = ONES, text
    for a, b in combinations(range(len(texts)), 2):
        assert not diff(tmp_path / f"{a}.h5", tmp_path / f"{b}.h5").same


def test_types_of_values_in_msgpack_files_count(tmp_path):
    arrays = [
        b"\x81\xa1w" + b"\xc7" + bytes([len(inner)]) + b"\x01" + inner
        for inner in (
            b"\x93\x91\x02" + dtype + b"\xc4\x08" + bytes(8) for dtype in (b"\xa7float32", b"\xa3>f4")
        )
    ]
    weight = arrays[0][1:]
    others = [
        b"\xa1v" + struct.pack(">Bd", 0xCB, 1.5),
        b"\xa1v" + struct.pack(">Bf", 0xCA, 1.5),
        b"\xa1v\x01",
        b"\xa1v\xa1x",
        b"\xa1v\xc4\x01x",
        b"\xc4\x01v\xa1x",
        b"\xa10\xa1x",
        b"\x00\xa1x",
        b"\xa1v\x92" + weight[2:] * 2,
        b"\xa1v\x82" + b"\xa10" + weight[2:] + b"\xa11" + weight[2:],
    ]
    files = [*arrays, *(b"\x82" + weight + other for other in others)]
    for number, content in enumerate(files):
        (tmp_path / f"{number}.msgpack").write_bytes(content)
    for a, b in combinations(range(len(files)), 2):
        assert not diff(tmp_path / f"{a}.msgpack", tmp_path / f"{b}.msgpack").same


@pytest.mark.parametrize("change", ["folder", "disk", "masked", "patched"])
def test_members_that_pytorch_would_not_read_are_refused(run, tmp_path, change):
    """Of a record marked as a folder PyTorch reads nothing, and takes what is in memory for its values."""
    torch.save({"w": W}, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    at = data.find(b"data/0", data.find(b"PK\x01\x02")) - 46 - len("a/")
    place, bits = {"folder": (38, 0x10), "disk": (34, 1), "masked": (9, 0x20), "patched": (8, 0x20)}[change]
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + place] |= bits
    (tmp_path / "b.pth").write_bytes(data)
    done = run("diff", tmp_path / "a.pth", tmp_path / "b.pth")
    assert done.returncode == 3
    assert "a/data/0" in done.stderr
    assert "Traceback" not in done.stderr
