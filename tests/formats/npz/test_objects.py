"""Arrays of Python objects are named as pickles, and nothing of them is unpickled; None alone is known."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from converters import convert_mean
from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.npz.reader import read_npy, read_npz
from converters.formats.open import open_checkpoint

OBJECTS = {
    "a dictionary": {"conv1": {"weights": np.ones((2, 3), np.float32)}},
    "an empty dictionary": {},
    "a text": np.array("x", dtype=object),
    "a number": np.array(1, dtype=object),
    "a list of dictionaries": [{"a": 1}, {"b": 2}],
    "arrays of several shapes": np.array([np.ones(2), np.ones(3)], dtype=object),
    "None in a list": np.array([None], dtype=object),
    "None beside others": np.array([None, 1], dtype=object),
    "a large dictionary": {f"name {index}": index for index in range(1000)},
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
@pytest.mark.parametrize("what", OBJECTS)
def test_pickled_objects_are_named(tmp_path, what, save):
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, OBJECTS[what])
    with pytest.raises(BadInput, match="holds pickled Python objects in place of arrays") as caught:
        open_checkpoint(str(path))
    assert "nothing was unpickled" in caught.value.what
    assert "savez" in caught.value.hint
    assert caught.value.where == ("" if save is np.save else "arr_0")
    assert caught.value.exit_code == 3


def test_objects_beside_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.ones(3), more={"a": 1}, none=np.asarray(None))
    with SourceFile(tmp_path / "x.npz") as file:
        found = read_npz(file)
    assert list(found.tensors) == ["w"]
    assert found.empty == ("none",)
    assert found.objects == ("more",)
    assert found.other_values["more"].kind == "pickled Python objects"
    with open_checkpoint(str(tmp_path / "x.npz")) as checkpoint:
        assert [*checkpoint.tensors] == ["w"]
        assert checkpoint.other_values["more"].is_tensor


def member(pickled: bytes, shape: str = "()") -> bytes:
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + pickled


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("protocol", range(6))
def test_none_is_known_in_every_protocol(tmp_path, protocol, method):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        archive.writestr("w.npy", member(pickle.dumps(np.asarray(None), protocol)))
        archive.writestr("v.npy", member(pickle.dumps(np.asarray({}), protocol)))
        archive.writestr("u.npy", member(b"not a pickle"))
        archive.writestr("t.npy", member(pickle.dumps(None, protocol)))
    with SourceFile(tmp_path / "x.npz") as file:
        found = read_npz(file)
    assert found.empty == ("w",)
    assert found.objects == ("v", "u", "t")


def test_a_clip_of_objects_is_named(tmp_path):
    np.save(tmp_path / "x.npy", {"a": 1})
    with SourceFile(tmp_path / "x.npy") as file, pytest.raises(BadInput, match="pickled Python objects"):
        read_npy(file)


def test_a_mean_of_objects_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", {"mean": np.ones(3)})
    with pytest.raises(BadInput, match="pickled Python objects"):
        convert_mean(tmp_path / "x.npz", tmp_path / "y.npy")


def test_a_lone_array_is_named_as_before(tmp_path):
    out = io.BytesIO()
    np.save(out, np.ones(3))
    (tmp_path / "x.npy").write_bytes(out.getvalue())
    with pytest.raises(BadInput, match="is a single numpy array"):
        open_checkpoint(str(tmp_path / "x.npy"))
