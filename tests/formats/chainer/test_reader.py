"""Chainer's files are read whole, as real Chainer wrote them; damaged and hostile ones are refused in one line."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput, Refused
from converters.files import CHUNK, SourceFile
from converters.formats.chainer.reader import read_chainer
from converters.formats.hdf5.values import slabs
from converters.formats.io.zip_records import CheckedRecord
from converters.formats.npz.reader import read_npy, read_npz
from converters.formats.open import open_checkpoint
from converters.tensor import FileBytes, known_crc
from tests.helpers import paths
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY
from tests.helpers.seeded_weights_caffe import c3d_weights

if TYPE_CHECKING:
    from pathlib import Path

FIXTURES = paths.FIXTURES / "chainer"
ROOT = REPOSITORY
RANDOM = np.random.default_rng(2)


def read(path: Path):
    with SourceFile(path) as file:
        result = read_chainer(file)
        return result, {name: tensor.tobytes() for name, tensor in result.tensors.items()}


def refusal(path: Path, reader=read) -> str:
    """What is said of a file that is refused, at once or when its values are read: one printable line."""
    with pytest.raises(BadInput) as refused:
        reader(path)
    text = str(refused.value)
    assert refused.value.exit_code == 3
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < 400 + len(str(path))
    return text.removeprefix(f"{path}: ")


def tiny() -> dict[str, np.ndarray]:
    """The weights in the fixtures: a C3D of four channels, by the recipe."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for name in ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"):
        shapes[f"{name}/W"], shapes[f"{name}/b"] = (4, channels, 3, 3, 3), (4,)
        channels = 4
    for name, inputs, outputs in (("fc6", 64, 6), ("fc7", 6, 6), ("fc8", 6, 5)):
        shapes[f"{name}/W"], shapes[f"{name}/b"] = (outputs, inputs), (outputs,)
    return c3d_weights(shapes, 5)


# What Chainer writes


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("stored.npz", ""),
        ("deflated.npz", ""),
        ("classifier.npz", "predictor/"),
        ("snapshot.npz", "updater/model:main/predictor/"),
        ("model.h5", ""),
        ("plain.h5", ""),
    ],
)
def test_files_of_chainer(name, prefix):
    if name.endswith("h5"):
        pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    result, data = read(FIXTURES / name)
    expected = tiny()
    assert len(expected) == 22
    for key, array in expected.items():
        tensor = result.tensors[prefix + key]
        assert (tensor.name, tensor.dtype, tensor.shape) == (prefix + key, "float32", array.shape)
        assert data[prefix + key] == array.tobytes()
    extra = set(result.tensors) - {prefix + key for key in expected}
    assert all(key.startswith(("updater/", "stop_trigger/", "_snapshot")) for key in extra)
    assert bool(extra) == (name == "snapshot.npz")
    assert result.container == ("HDF5" if name.endswith("h5") else "npz")
    assert result.uninitialised == ()


def test_stored_values_stay_in_the_file():
    with SourceFile(FIXTURES / "stored.npz") as file:
        result = read_chainer(file)
        for tensor in result.tensors.values():
            assert isinstance(tensor.data, CheckedRecord)
            assert known_crc(tensor.data) == zlib.crc32(tensor.tobytes())
        for tensor in read_chainer(file, checksum=False).tensors.values():
            assert isinstance(tensor.data, FileBytes)


def test_uninitialised_parameters_are_named():
    result, _ = read(FIXTURES / "uninitialised.npz")
    assert result.uninitialised == ("conv1a/W",)
    assert {"bn/gamma", "bn/N", "conv1a/b"} < set(result.tensors)
    assert (result.tensors["bn/N"].dtype, result.tensors["bn/N"].shape) == ("int64", ())


def test_uninitialised_parameters_in_hdf5():
    pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    result, _ = read(FIXTURES / "uninitialised.h5")
    assert result.uninitialised == ("conv1a/W",)
    assert {"bn/gamma", "bn/N", "conv1a/b"} < set(result.tensors)


def test_what_is_none_in_a_trainer_is_no_parameter(tmp_path):
    """The best value of a trigger that has not looked yet, an optimizer's state: None, beside a whole model."""
    none, weights = np.asarray(None), {f"updater/model:main/{key}": array for key, array in tiny().items()}
    beside = {"extension_triggers/snapshot/best_value": none, "updater/optimizer:main/conv1a/W/v": none}
    np.savez(tmp_path / "a.npz", **weights, **beside)
    result, _ = read(tmp_path / "a.npz")
    assert result.uninitialised == ()
    assert {name: other.kind for name, other in result.other_values.items()} == dict.fromkeys(beside, "None")
    np.savez(tmp_path / "a.npz", **{**weights, "updater/model:main/fc8/b": none}, **beside)
    assert read(tmp_path / "a.npz")[0].uninitialised == ("updater/model:main/fc8/b",)


def test_the_mean_cube():
    with SourceFile(FIXTURES / "mean2.npz") as file:
        (tensor,) = read_npz(file).tensors.values()
        assert (tensor.name, tensor.shape) == ("mean", (3, 2, 4, 5))
        assert tensor.tobytes() == np.arange(120, dtype=np.float32).tobytes()


def test_hdf5_without_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from converters.formats.chainer.reader import read_chainer\nfrom converters.files import SourceFile\n"
        "from converters.errors import Refused\n"
        "try:\n    read_chainer(SourceFile(sys.argv[1]))\nexcept Refused as error:\n    sys.exit(str(error))"
    )
    path = FIXTURES / "model.h5"
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == (
        f"{path}: is an HDF5 file, which needs the package h5py: "
        "in a checkout of this project: pip install '.[hdf5]'"
    )
    assert Refused("").exit_code == 1


# What numpy writes


ARRAYS = {
    "c": RANDOM.standard_normal((3, 4, 5)).astype(np.float32),
    "fortran": np.asfortranarray(RANDOM.standard_normal((30, 4))),
    "big": np.arange(7, dtype=">i4"),
    "big/fortran": np.asfortranarray(RANDOM.standard_normal((5, 1, 6)).astype(">f4")),
    "vector": np.asfortranarray(RANDOM.standard_normal(9)),
    "scalar": np.asarray(3),
    "empty": np.zeros((0, 3), np.float32),
    "long": RANDOM.standard_normal(300_001).astype(np.float16),
    "flags": np.array([True, False]),
    "bytes": np.arange(5, dtype=np.uint8),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_numpy(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS, text=np.asarray("{}"), none=np.asarray(None), small=np.uint16([1]))
    with SourceFile(tmp_path / "a.npz") as file:
        result = read_npz(file)
        assert list(result.tensors) == list(ARRAYS)
        assert (result.empty, set(result.other_values)) == (("none",), {"text", "small"})
        for name, array in ARRAYS.items():
            tensor = result.tensors[name]
            wanted = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape).tobytes()
            assert (tensor.dtype, tensor.shape) == (array.dtype.name, array.shape)
            assert tensor.tobytes() == wanted
            assert all(len(chunk) <= CHUNK for chunk in tensor.data.chunks())
            assert known_crc(tensor.data) in (None, zlib.crc32(wanted))
        known = [known_crc(tensor.data) is not None for tensor in result.tensors.values()]
        assert any(known) == (save is np.savez)


def npy(descr: str, shape: str, data: bytes, *, fortran: str = "False", version: int = 1) -> bytes:
    """An ``.npy`` as given, unpadded."""
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def npz(*members: tuple[str, bytes], deflated: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("shape", ["(2L, 3L)", "(2, 3)", "(6,)", "(6L,)", "(1, 6)"])
def test_headers_of_other_numpys(tmp_path, shape, version):
    path = tmp_path / "a.npz"
    path.write_bytes(npz(("w.npy", npy("'<f4'", shape, bytes(range(24)), version=version))))
    result, data = read(path)
    assert data["w"] == bytes(range(24))
    assert result.tensors["w"].shape == tuple(
        int(n) for n in shape.strip("()").replace("L", "").split(",") if n
    )


def one(path: Path):
    with SourceFile(path) as file:
        return read_npy(file)


def test_one_array(tmp_path):
    array = ARRAYS["c"]
    np.save(tmp_path / "a.npy", array)
    with SourceFile(tmp_path / "a.npy") as file:
        tensor = read_npy(file)
        assert (tensor.name, tensor.shape, tensor.tobytes()) == ("array", array.shape, array.tobytes())
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    assert "takes 239 bytes" in refusal(tmp_path / "a.npy", one)
    assert "is a zip file" in refusal(FIXTURES / "stored.npz", one)


# Files that do not hold together


GOOD = ("good.npy", npy("'<f4'", "(2,)", bytes(8)))
HOSTILE = {
    "too few bytes": (npy("'<f4'", "(3,)", bytes(8)), "takes 8 bytes, which are not those of float32 3"),
    "too many bytes": (npy("'<f4'", "(1,)", bytes(8)), "takes 8 bytes"),
    "a huge shape": (npy("'<f4'", f"({2**62}, {2**62})", bytes(8)), "takes 8 bytes"),
    "a shape of 20 digits": (npy("'<f4'", "(99999999999999999999,)", bytes(8)), "impossible shape"),
    "a shape beyond 2^63": (npy("'<f4'", f"({2**63},)", bytes(8)), "impossible shape"),
    "a negative shape": (npy("'<f4'", "(-2,)", bytes(8)), "impossible shape"),
    "a shape that is code": (npy("'<f4'", "(open('x'),)", bytes(8)), "header that numpy does not read"),
    "a shape without commas": (npy("'<f4'", "(2)", bytes(8)), "header that numpy does not read"),
    "a shape of commas": (npy("'<f4'", "(,,)", bytes(8)), "header that numpy does not read"),
    "70 axes": (npy("'<f4'", f"({'1, ' * 69}2)", bytes(8)), "impossible shape"),
    "deep nesting": (npy("'<f4'", "(" * 5000 + ")" * 5000, bytes(8)), "header that numpy does not read"),
    "no numpy": (b"hello, world", "is not a numpy array"),
    "nothing": (b"", "is not a numpy array"),
    "half a magic": (b"\x93NUMPY\1", "is not a numpy array"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(80), "format version 9.0"),
    "a header that goes on": (b"\x93NUMPY\1\0\xff\xff{'descr'", "a header of 65,545 bytes"),
    "a header of 4 GB": (b"\x93NUMPY\2\0\xff\xff\xff\xff{'descr'", "a header of 4,294,967,307 bytes"),
    "a header that is not a dictionary": (b"\x93NUMPY\1\0\x04\0[1]\n", "header that numpy does not read"),
    "terminal codes": (npy("'\x1b[2J'", "(2,)", bytes(8)), ""),
}


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_arrays(tmp_path, case, deflated):
    content, expected = HOSTILE[case]
    path = tmp_path / "a.npz"
    path.write_bytes(npz(GOOD, ("w.npy", content), deflated=deflated))
    if expected:
        text = refusal(path)
        assert expected in text
        assert "(array w" in text
    else:  # read by nobody, and named
        result, _ = read(path)
        assert list(result.tensors) == ["good"]
        assert result.other_values["w"].kind.isprintable()


class Live:
    """Creates a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("shape", ["()", "(1,)"])
def test_objects_are_never_unpickled(tmp_path, shape):
    marker = tmp_path / "marker"
    path = tmp_path / "a.npz"
    path.write_bytes(npz(GOOD, ("w.npy", npy("'|O'", shape, pickle.dumps(Live(marker))))))
    result, _ = read(path)
    assert result.uninitialised == ()
    assert result.objects == ("w",)
    assert result.other_values["w"].kind == "pickled Python objects"
    with open_checkpoint(str(path)) as checkpoint:
        assert set(checkpoint.tensors) == set(result.tensors)
        assert checkpoint.other_values["w"].kind == "pickled Python objects"
    assert not marker.exists()


def test_structures_and_texts_are_named(tmp_path):
    path = tmp_path / "a.npz"
    structure = npy("[('a', '<f4'), ('b', '<i8')]", "(1,)", bytes(12))
    path.write_bytes(npz(GOOD, ("w.npy", structure), ("c.npy", npy("'<c8'", "(1,)", bytes(8)))))
    result, _ = read(path)
    assert set(result.other_values) == {"w", "c"}


def test_a_member_that_is_no_array(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(npz(GOOD, ("readme.txt", b"hello")))
    result, _ = read(path)
    assert result.tensors
    assert set(result.other_values) == {"readme.txt"}
    path.write_bytes(npz(("archive/data.pkl", b"")))
    assert "a member that is not an array (archive/data.pkl)" in refusal(path)


def test_no_arrays(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(npz())
    assert refusal(path).startswith("holds no arrays")
    np.savez(path, w=np.asarray(None))
    assert refusal(path).startswith("holds 1 parameter that was never initialised")


# Zip files that lie


def zipped(*, deflated: bool = True) -> bytearray:
    return bytearray(npz(("w.npy", npy("'<f4'", "(64, 64)", bytes(64 * 64 * 4))), deflated=deflated))


def test_a_wrong_checksum(tmp_path):
    path = tmp_path / "a.npz"
    for deflated, order in ((True, "False"), (False, "True")):
        values = RANDOM.standard_normal((64, 64)).astype(np.float32).tobytes()
        content = bytearray(
            npz(("w.npy", npy("'<f4'", "(64, 64)", values, fortran=order)), deflated=deflated)
        )
        entry = content.rindex(b"PK\1\2")
        content[entry + 16] ^= 1
        path.write_bytes(content)
        assert "its CRC-32 is" in refusal(path)


@pytest.mark.parametrize("deflated", [False, True])
def test_flipped_values_never_pass_unseen(tmp_path, deflated):
    """Reading fails."""
    values = RANDOM.standard_normal(20).astype(np.float32).tobytes()
    content = npz(("w.npy", npy("'<f4'", "(20,)", values)), deflated=deflated)
    begin = content.index(b"NUMPY" if not deflated else b"w.npy") + 5
    path = tmp_path / "a.npz"
    for place in range(begin, content.index(b"PK\1\2")):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        try:
            _, data = read(path)
        except BadInput:
            continue
        assert data["w"] == values  # the bits between deflate's blocks and the like


def test_sizes_that_lie(tmp_path):
    path = tmp_path / "a.npz"
    content = zipped()
    entry = content.rindex(b"PK\1\2")
    for offset, value, expected in (
        (24, 64 * 64 * 4 + 500, "the array w|takes|has 16"),  # longer than it is
        (24, 1000, "takes|more than"),  # shorter
        (24, 0xFFFFFFF0, "impossible size"),  # a bomb's promise
        (20, 5, "cannot be|ends|takes|has|header|array"),  # fewer packed bytes
        (20, 0x7FFFFFFF, "outside the file"),
        (42, 0x7FFFFFFF, "outside the file"),
        (10, 12, "method 12"),
        (8, 1, "encrypted"),
    ):
        changed = bytearray(content)
        size = 2 if offset in (8, 10) else 4
        changed[entry + offset : entry + offset + size] = value.to_bytes(size, "little")
        path.write_bytes(changed)
        text = refusal(path)
        assert any(part in text for part in expected.split("|")), text


def test_a_member_twice(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(npz(GOOD, GOOD))
    assert "has the member good.npy twice" in refusal(path)


def test_deflated_values_that_end_at_any_place(tmp_path):
    """Pieces of exactly a chunk, and input that is taken before all output is out."""
    for size in (CHUNK - 129, CHUNK - 128, CHUNK - 127, CHUNK, 2 * CHUNK - 128, 3 * CHUNK + 1):
        np.savez_compressed(tmp_path / "a.npz", w=np.zeros(size, np.uint8))
        _, data = read(tmp_path / "a.npz")
        assert data["w"] == bytes(size)


@pytest.mark.full
def test_a_bomb_streams(tmp_path):
    """A thousand times its size, in no memory: nobody pays before asking for the values."""
    zeros = npy("'|i1'", f"({200 << 20},)", bytes(200 << 20))
    path = tmp_path / "a.npz"
    path.write_bytes(npz(("w.npy", zeros), deflated=True))
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (150 << 20, 150 << 20))
from converters.formats.npz.reader import read_npz
from converters.files import SourceFile
(tensor,) = read_npz(SourceFile(sys.argv[1])).tensors.values()
sys.exit(sum(len(chunk) for chunk in tensor.data.chunks()) != 200 << 20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bomb_that_would_have_to_be_held(tmp_path):
    """Fortran's order cannot be streamed: nothing is inflated for it that no weights shrink to."""
    path = tmp_path / "a.npz"
    member = npy("'<f4'", f"(2, {10 << 20})", bytes(80 << 20), fortran="True")
    path.write_bytes(npz(("w.npy", member), deflated=True))
    assert "which its order of axes would have held at once (array w)" in refusal(path)
    np.savez_compressed(path, w=np.asfortranarray(np.zeros((64, 64), np.float32)))
    assert read(path)[1] == {"w": bytes(64 * 64 * 4)}


def test_cut_at_every_byte(tmp_path):
    path = tmp_path / "a.npz"
    for deflated in (False, True):
        content = npz(GOOD, ("w.npy", npy("'<f4'", "(3,)", bytes(12))), deflated=deflated)
        for size in range(len(content)):
            path.write_bytes(content[:size])
            refusal(path)


@examples(300)
@given(st.data())
def test_damage_is_refused_or_leaves_a_consistent_file(tmp_path, data):
    arrays = {"aa": np.arange(6, dtype=np.int32), "bb": np.ones((2, 2), np.float32, "F"), "cc": np.zeros(3)}
    out = io.BytesIO()
    data.draw(st.sampled_from([np.savez, np.savez_compressed]))(out, **arrays)
    content = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    try:
        result, values = read(path)
    except BadInput:
        return
    assert all(len(values[name]) == tensor.nbytes for name, tensor in result.tensors.items())


# HDF5


def hdf5(path: Path, **datasets: object) -> Path:
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            if callable(value):
                value(file, name)
            else:
                file[name] = value
    return path


def test_hdf5_of_every_kind(tmp_path):
    path = tmp_path / "a.h5"

    def packed(file, name):
        file.create_dataset(name, data=ARRAYS["long"], compression="gzip", shuffle=True, chunks=(1000,))

    def rows(file, name):
        file.create_dataset(name, data=ARRAYS["c"], compression="gzip", chunks=(2, 4, 5))

    plain = {name: array for name, array in ARRAYS.items() if "/" not in name and name != "empty"}
    hdf5(path, **plain, packed=packed, rows=rows)
    result, data = read(path)
    for name, array in {**plain, "packed": ARRAYS["long"], "rows": ARRAYS["c"]}.items():
        wanted = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape).tobytes()
        assert (result.tensors[name].dtype, result.tensors[name].shape) == (array.dtype.name, array.shape)
        assert data[name] == wanted, name
    assert isinstance(result.tensors["c"].data, FileBytes)


def test_hdf5_rows_of_any_size(tmp_path, monkeypatch):
    """Rows of chunks together where they are small, and parts of a row where it is larger than may be held."""
    array = RANDOM.standard_normal((5, 3, 70), np.float32)

    def packed(file, name):
        file.create_dataset(name, data=array, compression="gzip", chunks=(2, 1, 50))

    path = hdf5(tmp_path / "a.h5", w=packed)
    for slab, many, reads in ((32 << 20, 4 << 20, 1), (2000, 1, 3), (1000, 1, 5), (500, 1, 15), (100, 1, 45)):
        monkeypatch.setattr("converters.formats.hdf5.values.SLAB", slab)
        monkeypatch.setattr("converters.formats.hdf5.values._READ", many)
        places = list(slabs(array.shape, (2, 1, 25), 4))
        assert len(places) == reads
        assert all(array[place].nbytes <= slab for place in places)
        assert b"".join(array[place].tobytes() for place in places) == array.tobytes()
    monkeypatch.setattr("converters.formats.hdf5.values.SLAB", 1680)  # of which the file has chunks of 400
    assert read(path)[1]["w"] == array.tobytes()


def test_hdf5_leaves_nothing_open(tmp_path, run):
    """What libhdf5 has open when the process ends it closes through objects of Python's that are gone: a crash."""

    def packed(file, name):
        file.create_dataset(name, data=ARRAYS["long"][None], compression="gzip", chunks=(1, 1000))

    hdf5(tmp_path / "a.h5", **{"fc7/W": packed, "fc8/W": packed, "fc8/b": ARRAYS["vector"]})
    done = run("c3d", "a.h5", "out.pth")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "is not a video network that C3D in Chainer has" in done.stderr
    done = run("inspect", "a.h5", "--stats")
    assert (done.returncode, done.stderr) == (0, "")


def test_hdf5_that_refers_to_other_places(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    other = hdf5(tmp_path / "other.h5", w=ARRAYS["c"])
    (tmp_path / "raw").write_bytes(bytes(400))

    def virtual(file, name):
        layout = h5py.VirtualLayout(shape=(3, 4, 5), dtype="f4")
        layout[:] = h5py.VirtualSource(str(other), "w", shape=(3, 4, 5))
        file.create_virtual_dataset(name, layout)

    cases = {
        "refers to another place": [
            lambda file, name: file.__setitem__(name, h5py.ExternalLink("other.h5", "/w")),
            lambda file, name: file.__setitem__(name, h5py.SoftLink("/v")),
        ],
        "values in another file": [
            lambda file, name: file.create_dataset(name, (100,), "f4", external=[(str(tmp_path / "raw"), 0, 400)]),
            virtual,
        ],
        "for an array of 400,000,000": [
            lambda file, name: file.create_dataset(name, (100_000_000,), "f4", chunks=(1000,))
        ],
        "chunks of more than 32 MiB": [
            lambda file, name: file.create_dataset(
                name, data=np.zeros(20_000_000, np.float32), chunks=(20_000_000,), compression="gzip"
            )
        ],
        "compressed by filter 32000": [
            lambda file, name: file.create_dataset(name, data=ARRAYS["long"], compression="lzf")
        ],
    }  # fmt: skip
    for expected, makers in cases.items():
        for make in makers:
            path = hdf5(tmp_path / "a.h5", w=make)
            assert expected in refusal(path)


def test_hdf5_round_in_circles(tmp_path):
    def circle(file, name):
        group = file.create_group(name)
        group["again"] = group
        file["b"] = ARRAYS["c"]

    path = hdf5(tmp_path / "a.h5", a=circle)
    assert "nests its groups too deeply" in refusal(path)


def test_hdf5_cut_and_damaged(tmp_path, monkeypatch):
    pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    from tests.helpers.forked_library import fork_libraries

    fork_libraries(monkeypatch)
    content = (FIXTURES / "uninitialised.h5").read_bytes()
    path = tmp_path / "a.h5"
    for size in [*range(8, 2000, 197), *range(2000, len(content), 1997)]:
        path.write_bytes(content[:size])
        assert "HDF5" in refusal(path)
    random = np.random.default_rng(9)
    for _ in range(60):
        changed = bytearray(content)
        for place in random.integers(8, len(content), 4):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        try:
            result, values = read(path)
        except BadInput as error:
            assert str(error).isprintable()  # noqa: PT017 - h5py's own words are in it
            continue
        assert all(len(values[name]) == tensor.nbytes for name, tensor in result.tensors.items())


# Other files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\x93NUMPY\1\0v\0{'descr'", "is a single numpy array"),
        (b"\n\x03net\xa2\x06\x02", "is a protocol buffer"),
    ],
)
def test_other_kinds_of_files(tmp_path, content, expected):
    path = tmp_path / "a"
    path.write_bytes(content)
    assert refusal(path).startswith(expected)
