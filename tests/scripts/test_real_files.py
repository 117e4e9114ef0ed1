"""scripts/real_files.py without a network: the list, what it finds by hash, and what it calls different."""

from __future__ import annotations

import hashlib
import importlib
import sys

import numpy as np
import pytest
import torch

from tests.helpers.paths import REPOSITORY


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module("real_files")


def real_file(script, path, kind):
    data = path.read_bytes()
    return script.RealFile("here", path.name, len(data), hashlib.sha256(data).hexdigest(), kind)


def test_the_list_is_whole(script):
    files = [file for files in script.listed().values() for file in files]
    kinds = {file.kind for file in files}
    assert len({(file.source, file.path) for file in files}) == len(files) > 50
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 100 for file in files)
    libraries = importlib.import_module("real_libraries").READERS
    assert kinds == libraries.keys() | {"data", "refused"}


@pytest.mark.full
@pytest.mark.parametrize("kind", ["torch", "numpy", "safetensors", "array"])
def test_a_file_is_what_the_real_library_reads(script, tmp_path, kind):
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    path = tmp_path / "file"
    if kind == "torch":
        torch.save({"state_dict": weights, "epoch": 3}, path)
    elif kind == "numpy":
        np.savez(path, **{"l1/W": np.ones((2, 3), "f4"), "l1/b": np.ones(2, "f4")})
        path = tmp_path / "file.npz"
    elif kind == "safetensors":
        from safetensors.torch import save_file

        save_file(weights, path)
    else:
        np.save(path, np.ones((3, 4, 5)))
        path = tmp_path / "file.npy"
    file = real_file(script, path, kind)
    assert script.found_in(tmp_path, [file]) == {file: path}
    assert script.compare(file, path, sys.executable)[0] == "equal"
    assert script.compare(file._replace(kind="tensorflow"), path, sys.executable)[0] in ("skipped", "DIFFERS")


def test_what_differs(script):
    one = script.Array("float32", (2,), "aa")
    assert (
        script.differences({"w": one}, "", {"w": one, "steps": script.Array("int64", (), "bb")}, "torch")
        == []
    )
    assert script.differences({"w": one}, "net", {"net.w": one}, "torch") == []
    assert script.differences({"w": one}, "", {"w": one._replace(digest="ab")}, "torch")
    assert script.differences({"w": one}, "", {"w": one._replace(shape=(1, 2))}, "torch")
    assert script.differences({"w": one}, "", {}, "torch")
    assert script.differences({}, "", {"w": one}, "onnx") == ["w: not read here"]
    assert script.differences({"graph/w": one}, "", {}, "onnx") == []


def test_another_content_is_not_found(script, tmp_path):
    (tmp_path / "a").write_bytes(b"weights" * 20)
    file = real_file(script, tmp_path / "a", "torch")
    (tmp_path / "a").write_bytes(b"WEIGHTS" * 20)
    assert script.found_in(tmp_path, [file]) == {}
    (tmp_path / "b").symlink_to("a")
    assert script.found_in(tmp_path, [file]) == {}
