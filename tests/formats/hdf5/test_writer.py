"""HDF5 files as h5py itself reads them, and as they are read here."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from converters.errors import Refused
from converters.files import CHUNK, SourceFile
from converters.formats.hdf5.reader import read_hdf5
from converters.formats.hdf5.writer import write_hdf5
from converters.formats.io.atomic import replacing
from converters.tensor import Held, Repeated, Tensor

h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")

RANDOM = np.random.RandomState(2)
ARRAYS = {
    "data/conv1/7x7_s2/0": RANDOM.standard_normal((3, 4, 5, 6, 7)).astype("float32"),
    "data/fc/0": RANDOM.standard_normal((300, 401)).astype("float64"),
    "half": RANDOM.standard_normal(9).astype("float16"),
    "count": np.int64([7]),
    "scalar": np.float32(2.5),
    "bytes": np.arange(5, dtype="uint8"),
    "none": np.zeros((0, 3), "float32"),
}


def tensors(arrays: dict[str, np.ndarray]) -> list[Tensor]:
    return [
        Tensor(name, array.dtype.name, array.shape, Held(array.tobytes())) for name, array in arrays.items()
    ]


def write(path, arrays, **keywords) -> None:
    with replacing(path, force=True) as out:
        write_hdf5(out, arrays, **keywords)


def test_h5py_reads_what_is_written(tmp_path):
    told: list[int] = []
    write(tmp_path / "a.h5", tensors(ARRAYS), groups=("data/relu", "data/fc"), progress=told.append)
    assert sum(told) == sum(array.nbytes for array in ARRAYS.values())
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file["data"]) == {"conv1", "fc", "relu"}
        assert len(file["data/relu"]) == 0
        for name, array in ARRAYS.items():
            assert (file[name].dtype, file[name].shape) == (array.dtype, array.shape), name
            assert np.array_equal(file[name][()], array), name
    with SourceFile(tmp_path / "a.h5") as file:
        found = read_hdf5(file).tensors
        assert {name: tensor.tobytes() for name, tensor in found.items()} == {
            name: array.tobytes() for name, array in ARRAYS.items()
        }


def test_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        write(tmp_path / name, tensors(ARRAYS))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_many_datasets_and_large_ones(tmp_path):
    """More structure than a page, values of several pieces, and holes between them."""
    many = {f"data/layer{number}/0": np.full(3, number, "float32") for number in range(500)}
    large = Tensor("data/large/0", "float32", (CHUNK,), Repeated(np.float32(3).tobytes(), CHUNK))
    write(tmp_path / "a.h5", [*tensors(many), large])
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(np.array_equal(file[name][()], array) for name, array in many.items())
        assert (file["data/large/0"][()] == 3).all()


def test_refusals(tmp_path, monkeypatch):
    one = Tensor("a", "bfloat16", (1,), Held(b"\0\0"))
    with pytest.raises(Refused, match="no bfloat16"):
        write(tmp_path / "a.h5", [one])
    for names in (("a", "a"), ("a", "a/b")):
        with pytest.raises(Refused, match="cannot have this name"):
            write(tmp_path / "a.h5", [one._replace(name=name, dtype="float16") for name in names])
    with pytest.raises(Refused, match="cannot have this name"):
        write(tmp_path / "a.h5", tensors(ARRAYS), groups=["half"])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Refused, match="needs the package h5py"):
        write(tmp_path / "a.h5", tensors(ARRAYS))
    assert not (tmp_path / "a.h5").exists()
