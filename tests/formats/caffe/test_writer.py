"""What is written as a Caffe model or as numpy's files is what the forks and numpy write, and reads back."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import Refused
from converters.files import SourceFile
from converters.formats.caffe.reader import BVLC, BVLC_V1, C3D, Layer, read_caffemodel
from converters.formats.caffe.writer import write_caffemodel
from converters.formats.io.output_stream import Output
from converters.formats.npz.reader import read_npz
from converters.formats.npz.writer import write_npy, write_npz
from converters.tensor import Repeated, Tensor
from tests.helpers import caffe_files as made
from tests.helpers import caffe_tables

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(4)
W = RANDOM.standard_normal((2, 3, 3, 3, 3)).astype(np.float32)
B = RANDOM.standard_normal(2).astype(np.float32)
FC = RANDOM.standard_normal((6, 300)).astype(np.float32)


class Bytes:
    """An array as a tensor's data, in pieces that end inside of elements."""

    def __init__(self, array: np.ndarray) -> None:
        self.raw = np.ascontiguousarray(array).tobytes()

    def chunks(self):
        for start in range(0, len(self.raw), 1001):
            yield memoryview(self.raw)[start : start + 1001]


def tensor(name: str, array: np.ndarray) -> Tensor:
    return Tensor(name, str(array.dtype), array.shape, Bytes(array))


def written(*arrays: tuple[str, np.ndarray], **options) -> bytes:
    out = io.BytesIO()
    write_caffemodel(out, [tensor(name, array) for name, array in arrays], **options)
    return out.getvalue()


def test_c3d_v10_byte_for_byte():
    """As C3D-v1.0 writes it, without what only training needs (tops, learning rates)."""
    layers = [Layer("data", 33, 0), Layer("conv1a", 30, 2), Layer("fc6-1", 14, 1)]
    content = written(
        ("fc6-1/0", FC), ("conv1a/0", W), ("conv1a/1", B), dialect=C3D, net="net", layers=layers
    )
    blobs = [made.message(6, made.blob_v10(array)) for array in (W, B)]
    assert content == (
        made.message(1, b"net")
        + made.message(2, made.message(4, b"data"), made.number(5, 33))
        + made.message(2, made.message(4, b"conv1a"), made.number(5, 30), *blobs)
        + made.message(2, made.message(4, b"fc6-1"), made.number(5, 14), made.message(6, made.blob_v10(FC)))
    )


def test_bvlc_v1_byte_for_byte():
    """Four sizes for four axes, as old Caffes; the field ``shape`` for others, as newer ones."""
    bias = B.reshape(1, 1, 1, 2)
    content = written(("ip/0", FC[None, None]), ("ip/1", bias), dialect=BVLC_V1)
    blobs = [made.message(6, made.blob_v1(array)) for array in (FC, B)]
    assert content == made.message(2, made.message(4, b"ip"), *blobs)
    content = written(("a/0", W), ("a/1", B), dialect=BVLC_V1)
    blobs = [made.message(6, made.blob(array)) for array in (W, B)]
    assert content == made.message(2, made.message(4, b"a"), *blobs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bvlc_byte_for_byte(dtype):
    arrays = [array.astype(dtype) for array in (W, B.reshape(1, 1, 1, 1, 2), np.float32(3))]
    names = [("conv1/7x7_s2/0", arrays[0]), ("conv1/7x7_s2/1", arrays[1]), ("bn/0", np.asarray(arrays[2]))]
    content = written(*names, net="net", layers=[Layer("conv1/7x7_s2", "Convolution3D", 2)])
    blobs = [made.message(7, made.blob(array)) for array in arrays]
    assert content == (
        made.message(1, b"net")
        + made.message(100, made.message(1, b"conv1/7x7_s2"), made.message(2, b"Convolution3D"), *blobs[:2])
        + made.message(100, made.message(1, b"bn"), blobs[2])
    )


@pytest.mark.parametrize("name", sorted(caffe_tables.caffe_tables()))
def test_reference_nets_read_back(tmp_path, name):
    """Every net's names, shapes, layers and dialect come back; the values are zeros, the largest layers left out."""
    table = caffe_tables.caffe_tables()[name]
    params = {key: shape for key, shape in table.params.items() if np.prod(shape) < 3_000_000}
    kept = {key.rpartition("/")[0] for key in params}
    kept -= {key.rpartition("/")[0] for key in table.params.keys() - params.keys()}
    params = {key: shape for key, shape in params.items() if key.rpartition("/")[0] in kept}
    layers = [Layer(*row) for row in table.layers if not row[2] or row[0] in kept]
    zeros = [
        Tensor(key, "float32", shape, Repeated(bytes(4), int(np.prod(shape))))
        for key, shape in params.items()
    ]
    path = tmp_path / "a"
    with path.open("wb") as out:
        write_caffemodel(out, zeros, dialect=table.dialect, net=table.net, layers=layers)
    with SourceFile(path) as file:
        result = read_caffemodel(file)
    assert {key: value.shape for key, value in result.tensors.items()} == params
    assert (result.dialect, result.net, list(result.layers)) == (table.dialect, table.net, layers)


def test_same_tensors_same_bytes_whatever_their_order():
    arrays = [("a/0", W), ("a/1", B)]
    assert written(*arrays) == written(*reversed(arrays))


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ([("weight", W)], {}, "weight is not the name of a layer's blob"),
        ([("a/x", W)], {}, "a/x is not the name of a layer's blob"),
        ([("a/00", W)], {}, "a/00 is not the name of a layer's blob"),
        ([("/0", W)], {}, "/0 is not the name of a layer's blob"),
        ([("a/0", W), ("a/0", B)], {}, "the blob a/0 occurs twice"),
        ([("a/0", W), ("a/2", B)], {}, "layer a has the blobs 0, 2, not 0, 1 ..."),
        ([("a/0", W.astype(np.float16))], {}, "has no float16"),
        ([("a/0", W.astype(np.float64))], {"dialect": C3D}, "has no float64"),
        ([("a/0", W[None])], {"dialect": C3D}, "arrays of 5 axes, not 6"),
        ([("a/0", W)], {"dialect": "hdf5"}, "not written as hdf5"),
    ],
)
def test_what_is_refused(arrays, options, message):
    with pytest.raises(Refused, match=message.replace(".", r"\.")):
        written(*arrays, **options)


def test_more_than_protobuf_reads():
    large = Tensor("a/0", "float32", (1 << 29,), Repeated(bytes(4), 1 << 29))
    out = io.BytesIO()
    with pytest.raises(Refused, match="protobuf takes less than 2 GiB"):
        write_caffemodel(out, [large], dialect=BVLC)
    assert out.getvalue() == b""


def test_progress_adds_up():
    told: list[int] = []
    write_caffemodel(io.BytesIO(), [tensor("a/0", FC), tensor("a/1", B)], progress=told.append)
    assert sum(told) == FC.nbytes + B.nbytes


# numpy's files


ARRAYS = {
    "conv1a/W": W,
    "predictor/fc6/W": FC,
    "double": RANDOM.standard_normal((3, 1000)),
    "half": np.ones(7, np.float16),
    "scalar": np.asarray(3),
    "empty": np.zeros((0, 2), np.float32),
    "flags": np.array([True, False]),
    "bytes": np.arange(5, dtype=np.int8),
    "grow": np.zeros((123_456_789, 0), np.float32),
}


def write(path: Path, function, argument, **options):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        out = Output(fd, str(path))
        result = function(out, argument, **options)
        out.flush()
        return result
    finally:
        os.close(fd)


def test_an_npz_byte_for_byte(tmp_path):
    np.savez(tmp_path / "numpy.npz", **ARRAYS)
    told: list[int] = []
    tensors = [tensor(name, array) for name, array in ARRAYS.items()]
    crcs = write(tmp_path / "ours.npz", write_npz, tensors, progress=told.append)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()
    assert crcs == [zlib.crc32(array.tobytes()) for array in ARRAYS.values()]
    assert sum(told) == sum(array.nbytes for array in ARRAYS.values())


def test_an_npz_with_names_beyond_ascii(tmp_path):
    write(tmp_path / "a.npz", write_npz, [tensor("größe/W", B)])
    with np.load(tmp_path / "a.npz") as loaded:
        assert loaded["größe/W"].tobytes() == B.tobytes()
    with SourceFile(tmp_path / "a.npz") as file:
        assert list(read_npz(file).tensors) == ["größe/W"]


def test_an_npz_reads_back(tmp_path):
    write(tmp_path / "a.npz", write_npz, [tensor(name, array) for name, array in ARRAYS.items()])
    with SourceFile(tmp_path / "a.npz") as file:
        result = read_npz(file)
        for name, array in ARRAYS.items():
            found = result.tensors[name]
            assert (found.dtype, found.shape, found.tobytes()) == (
                str(array.dtype),
                array.shape,
                array.tobytes(),
            )


@pytest.mark.parametrize("name", ARRAYS)
def test_an_npy_byte_for_byte(tmp_path, name):
    np.save(tmp_path / "numpy.npy", ARRAYS[name])
    write(tmp_path / "ours.npy", write_npy, tensor(name, ARRAYS[name]))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_what_an_npz_cannot_hold(tmp_path):
    with pytest.raises(Refused, match="the array a occurs twice"):
        write(tmp_path / "a.npz", write_npz, [tensor("a", B), tensor("a", B)])
    with pytest.raises(Refused, match="numpy has no bfloat16"):
        write(tmp_path / "a.npz", write_npz, [Tensor("a", "bfloat16", (2,), Bytes(B))])
    with pytest.raises(ValueError, match="another length than its shape says"):
        write(tmp_path / "a.npz", write_npz, [Tensor("a", "float32", (3,), Bytes(B))])


def test_an_npz_of_more_than_4_gib(tmp_path):
    """Sizes and places go to zip64 fields; numpy finds the last array. The bytes are a hole, as nobody reads them."""

    class Hole(Output):
        def write(self, piece) -> None:
            if len(piece) < 200_000:
                super().write(piece)
                return
            self.flush()
            os.lseek(self._fd, len(piece), os.SEEK_CUR)
            self.position += len(piece)

    path = tmp_path / "a.npz"
    count = (4 << 30) + 5
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        out = Hole(fd, str(path))
        large = Tensor("large", "int8", (count,), Repeated(b"\0", count))
        write_npz(out, [large, tensor("last", B)], crc=lambda data, value: 0)
        out.flush()
    finally:
        os.close(fd)
    with SourceFile(path) as file:
        result = read_npz(file, checksum=False)  # none was computed here
        assert result.tensors["large"].nbytes == count
        assert result.tensors["last"].tobytes() == B.tobytes()
    with np.load(path) as loaded:
        assert sorted(loaded.files) == ["large", "last"]
        with loaded.zip.open("last.npy") as member:
            member._expected_crc = None  # none was computed here
            assert member.read().endswith(B.tobytes())
