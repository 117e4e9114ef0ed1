"""Caffe2 pickles of every form are read bit for bit; other files are refused with what they are."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import gzip
import importlib.util
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.errors import BadInput, Refused
from converters.files import CHUNK, SourceFile
from converters.formats.caffe2.pickle_reader import read_caffe2_pickle
from converters.formats.caffe2.pickle_writer import write_caffe2_pickle
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.formats.sniff import HEAD, sniff
from converters.tensor import FileBytes, Tensor
from tests.helpers import hostile_pickles, paths
from tests.helpers.budgets import examples
from tests.helpers.other_values import all_plain
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ROOT = REPOSITORY
FIXTURES = sorted((paths.FIXTURES / "caffe2").glob("*.pkl"))


def _generator():
    path = ROOT / "scripts" / "fixtures" / "make_pickle_fixtures.py"
    spec = importlib.util.spec_from_file_location("make_pickle_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTENTS = {kind: dict(_generator().contents(kind)) for kind in ("vmz", "every")}


def file_of(folder: Path, data: bytes) -> SourceFile:
    path = folder / "x.pkl"
    path.write_bytes(data)
    return SourceFile(path)


def read(folder: Path, data: bytes):
    """The whole contents: arrays by name, and what is read."""
    with file_of(folder, data) as file:
        found = read_caffe2_pickle(file)
        return {name: as_numpy(tensor) for name, tensor in found.tensors.items()}, found


def as_numpy(tensor: Tensor):
    raw = b""
    for chunk in tensor.data.chunks():
        assert len(chunk) <= CHUNK
        raw += chunk
    return np.frombuffer(raw, np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)


def refusal(folder: Path, data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read(folder, data)
    assert str(caught.value).isprintable()
    return str(caught.value)


def same(found, expected) -> bool:
    """Equal shape, dtype and bits, whatever the memory order."""
    little = np.ascontiguousarray(expected).astype(expected.dtype.newbyteorder("<")).tobytes()
    return (found.shape, found.dtype.name, found.tobytes()) == (expected.shape, expected.dtype.name, little)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_real_pickles_are_read_bit_for_bit(tmp_path, path):
    expected = CONTENTS[path.stem.split("-")[0]]
    arrays, found = read(tmp_path, path.read_bytes())
    assert set(arrays) == {name for name, value in expected.items() if isinstance(value, np.ndarray)}
    assert all(same(array, expected[name]) for name, array in arrays.items())
    others = {name: value for name, value in expected.items() if not isinstance(value, np.ndarray)}
    kept = all_plain(found.other_values)
    assert kept == others
    assert [type(kept[name]) for name in others] == [
        type(value.item() if isinstance(value, np.generic) else value) for value in others.values()
    ]
    protocol = int(path.stem[-1]) if "every" in path.stem else 3 if "bytes" in path.stem else 2
    assert found.protocol == protocol
    assert found.nested == (protocol % 2 == 1 or "vmz" in path.stem)


def test_there_are_fixtures_of_all_writers():
    stems = " ".join(path.stem for path in FIXTURES)
    assert all(
        f"py27-numpy1.16-{pickler}-p{n}" in stems for pickler in ("cpickle", "pickle") for n in range(3)
    )
    assert all(f"py36-numpy1.19-p{n}" in stems for n in range(5))
    assert all(f"py313-numpy2.5-p{n}" in stems for n in range(6))
    assert "py38-numpy1.24-p5" in stems


@pytest.mark.parametrize("protocol", range(6))
def test_plain_arrays_are_not_copied_into_memory(tmp_path, protocol):
    weights = np.arange(100_000, dtype="f4")
    with file_of(tmp_path, pickle.dumps({"w": weights}, protocol)) as file:
        data = read_caffe2_pickle(file).tensors["w"].data
        assert isinstance(data, FileBytes) == (protocol >= 3)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_several_chunks(tmp_path, protocol, order):
    numbers = np.random.RandomState(protocol).randint(0, 256, 3 * CHUNK + 77 * 3, np.uint8)
    weights = numbers.reshape((-1, 3), order=order)
    arrays, _ = read(tmp_path, pickle.dumps({"w": weights, "big": weights[:1000].view(">u1")}, protocol))
    assert same(arrays["w"], weights)


def test_a_file_that_python_3_saved_again(tmp_path):
    source = next(path for path in FIXTURES if path.stem.startswith("vmz-py27")).read_bytes()
    for encoding in ("latin1", "bytes"):
        value = pickle.loads(source, encoding=encoding)
        for protocol in range(6):
            arrays, _ = read(tmp_path, pickle.dumps(value, protocol))
            assert all(same(arrays[name], array) for name, array in CONTENTS["vmz"].items())


DTYPES = st.sampled_from(
    ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "i1", "<i2", ">i2", "<i4", ">i8", "u1", "?"]
)


@examples()
@given(
    blobs=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="\n"), min_size=1, max_size=60),
        hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)).flatmap(
            lambda array: st.sampled_from([array, np.asfortranarray(array), array.T])
        ),
        min_size=1,
    ).filter(lambda blobs: "blobs" not in blobs),
    protocol=st.integers(0, 5),
    nested=st.booleans(),
)
def test_any_arrays_come_back(tmp_path, blobs, protocol, nested):
    arrays, found = read(tmp_path, pickle.dumps({"blobs": blobs} if nested else blobs, protocol))
    assert list(arrays) == list(blobs)
    assert found.nested == nested
    assert all(same(arrays[name], array) for name, array in blobs.items())


def test_what_stands_beside_the_blobs_is_kept(tmp_path):
    value = {"blobs": {"w": np.zeros(3, "f4")}, "model_iter": 7, "lr": np.float32(0.5), "cfg": "x" * 5000}
    _, found = read(tmp_path, pickle.dumps(value, 2))
    text = found.other_values.pop("cfg")
    assert (text.kind, text.data.nbytes) == ("text", 5000)
    assert all_plain(found.other_values) == {"model_iter": 7, "lr": 0.5}
    assert found.nested


def test_arrays_beside_the_blobs_are_tensors(tmp_path):
    weights = {"conv1_w": np.arange(6, dtype="f4").reshape(2, 3), "conv9_w": np.arange(4, dtype=">i2")}
    value = {"conv9_w": weights["conv9_w"], "blobs": {"conv1_w": weights["conv1_w"], "it": 2}, "epoch": 3}
    arrays, found = read(tmp_path, pickle.dumps(value, 2))
    assert list(arrays) == ["conv1_w", "conv9_w"]
    assert all(same(arrays[name], array) for name, array in weights.items())
    assert all_plain(found.other_values) == {"it": 2, "epoch": 3}


@pytest.mark.parametrize("beside", [np.zeros(3, "f4"), 7, [1]])
@pytest.mark.parametrize("blob", ["w", "it"])
def test_a_name_among_the_blobs_and_beside_them_is_refused(tmp_path, blob, beside):
    value = {"blobs": {"w": np.ones(3, "f4"), "it": 5}, blob: beside}
    message = refusal(tmp_path, pickle.dumps(value, 2))
    assert f"has the name {blob} twice, among the blobs and beside them" in message


def test_an_array_beside_the_blobs_that_lies_is_refused(tmp_path):
    value, says = hostile_pickles.bad_arrays()["too few bytes"]
    good = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    data = b"\x80\x02}(U\x05blobs}U\x01w" + good + b"sU\x07conv9_w" + value + b"u."
    message = refusal(tmp_path, data)
    assert says in message
    assert "conv9_w" in message


@pytest.mark.parametrize("place", ["blob", "beside", "flat", "plain"])
def test_names_that_are_not_unicode_are_refused(tmp_path, place):
    zero = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    odd = b"V\\ud800conv1_w\n"
    streams = {
        "blob": b"(dVblobs\n(dVw\n" + zero + b"s" + odd + zero + b"ss.",
        "beside": b"(dVblobs\n(dVw\n" + zero + b"ss" + odd + zero + b"s.",
        "flat": b"(dVw\n" + zero + b"s" + odd + zero + b"s.",
        "plain": b"(dVw\n" + zero + b"s" + odd + b"I1\ns.",
    }
    assert read(tmp_path, streams[place].replace(odd, b"Vconv1_w\n"))[0].keys() >= {"w"}
    assert r"name is not a string: \ud800conv1_w" in refusal(tmp_path, streams[place])


def test_texts_that_are_not_unicode_can_be_written(tmp_path):
    zero = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    data = b"(dVblobs\n(dVw\n" + zero + b"ssVcfg\n(dV\\ud800k\nVa\\udfff\nss."
    _, found = read(tmp_path, data)
    assert all_plain(found.other_values) == {"cfg": {r"\ud800k": r"a\udfff"}}


def test_more_entries_than_any_checkpoint_has_are_refused(tmp_path):
    value = {"blobs": {"w": np.zeros(3, "f4")} | {f"n{index}": 0 for index in range(TENSOR_LIMIT - 1)}}
    assert len(read(tmp_path, pickle.dumps(value, 2))[1].other_values) == TENSOR_LIMIT - 1
    value["blobs"]["one more"] = 0
    assert "65,537 entries" in refusal(tmp_path, pickle.dumps(value, 2))


def test_shared_and_cyclic_extras_stay_small(tmp_path):
    tower: list[object] = []
    for _ in range(60):
        tower = [tower, tower]
    tower.append(tower)
    _, found = read(tmp_path, pickle.dumps({"blobs": {"w": np.zeros(3, "f4")}, "tower": tower}, 4))
    assert len(repr(found.other_values)) < 1000


def test_both_spellings_of_a_name_are_refused(tmp_path):
    data = pickle.dumps({"blobs": {"w": np.zeros(3), b"w": np.ones(3)}}, 4)
    assert "has the name w twice, as bytes and as text" in refusal(tmp_path, data)
    zero = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    assert "has the name w twice" in refusal(tmp_path, hostile_pickles.blobs((b"w", zero), (b"w", zero)))


KEPT = {"objects", "objects as bytes", "structure", "strings", "texts", "complex", "dates", "unsigned"}


@pytest.mark.parametrize("name", sorted(KEPT))
def test_arrays_that_are_no_numbers_are_kept_aside_and_named(tmp_path, name):
    value, says = hostile_pickles.bad_arrays()[name]
    good = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    arrays, found = read(tmp_path, hostile_pickles.blobs((b"fine", good), (b"the_blob", value)))
    assert list(arrays) == ["fine"]
    other = found.other_values["the_blob"]
    assert other.is_tensor
    assert says.replace("unsigned", "uint32") in other.kind
    assert says in refusal(tmp_path, hostile_pickles.blobs((b"the_blob", value)))


@pytest.mark.parametrize("name", sorted(hostile_pickles.bad_arrays().keys() - KEPT))
def test_arrays_that_lie_are_refused(tmp_path, name):
    value, says = hostile_pickles.bad_arrays()[name]
    good = hostile_pickles.array(b"K\x04\x85", hostile_pickles.raw(bytes(16)))
    message = refusal(tmp_path, hostile_pickles.blobs((b"fine", good), (b"the_blob", value)))
    assert says in message
    assert "the_blob" in message or "offset" in message


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"V" + b"x" * 300 + b"\n", "not bytes"),
        (b"S'" + b"\\x00" * 300 + b"'\n", "1,200 bytes of text, but its shape takes 299"),
        (b"S'" + b"x" * 298 + b"'\n", "298 bytes of text, but its shape takes 299"),
        (b"S'" + b"x" * 300 + b"'\n", "more bytes than its shape takes"),
        (b"S'" + b"x" * 297 + b"\\n'\n", "fewer bytes than its shape takes"),
        (b"c_codecs\nencode\nV" + b"y" * 300 + b"\nVlatin1\n\x86R", "more bytes than its shape takes"),
        (b"S'" + b"\\x0" * 300 + b"'\n", "wrong escape"),
        (b"S'" + b"\\" + b"x" * 300 + b"'\n", "wrong escape"),
        (b"c_codecs\nencode\nV" + b"y" * 299 + b"\\u0100\nVlatin1\n\x86R", "beyond 255"),
        (b"c_codecs\nencode\nV" + b"y" * 299 + b"\\uZZZZ\nVlatin1\n\x86R", "wrong escape"),
        (b"c_codecs\nencode\nX\x2c\x01\x00\x00" + b"\xff" * 300 + b"Vlatin1\n\x86R", "cannot be decoded"),
        (b"c_codecs\nencode\nX\x2c\x01\x00\x00" + "Ā".encode() * 150 + b"Vlatin1\n\x86R", "beyond 255"),
    ],
)
def test_bytes_written_as_text_must_decode_to_the_shape(tmp_path, value, says):
    data = hostile_pickles.blobs((b"the_blob", hostile_pickles.array(b"M\x2b\x01\x85", value, b"i1", b"|")))
    message = refusal(tmp_path, data)
    assert says in message
    assert "the_blob" in message


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x", b"x")
    return out.getvalue()


CAFFEMODEL = b"\n\x09C3D-model\x12\xd8\x01" + b"\n\x05conv1" + bytes(100)
KINDS = {
    "empty": (b"", "empty"),
    "html": (b"<!DOCTYPE html>\n<html><body>Not Found</body></html>", "web page"),
    "html after space": (b"\n\n  <!-- x -->\n<HTML lang=en>", "web page"),
    "text": (b"404: Not Found\n", "text file"),
    "json": (b'{"error": "no such file"}', "text file"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs"),
    "zip": (_zip(), "zip"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "tar": (_tar(), "tar"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "npy": (b"\x93NUMPY\x01\x00", "numpy array"),
    "safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00{}" + b" " * 14, "safetensors"),
    "caffemodel": (CAFFEMODEL, "protocol buffer"),
    "caffemodel without a name": (b"\x12\xd8\x01" + bytes(100), "protocol buffer"),
    "onnx": (b"\x08\x07\x12\x07pytorch", "protocol buffer"),
    "minidb": (b"\x14\x00\x00\x00\x20\x00\x00\x00!!PREDICTOR_DBREADER" + bytes(40), "Caffe2 database"),
    "torch before 1.6": (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2),
        "before 1.6",
    ),
    "torch before 1.6, protocol 0": (pickle.dumps(0x1950A86A20F9469CFC6C, 0), "before 1.6"),
    "noise": (b"\xfe\xdc\xba\x98" * 20, "not a known kind"),
    "zeros": (bytes(100), "not a known kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_files_of_other_kinds_are_named(tmp_path, name):
    data, says = KINDS[name]
    message = refusal(tmp_path, data)
    assert says in message
    assert message.count(": ") >= 2, "no hint"
    assert sniff(data[:HEAD]) != "pickle"


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_pickles_are_recognised(path):
    assert sniff(path.read_bytes()[:HEAD]) == "pickle"


@examples(500)
@given(st.binary(max_size=64))
def test_recognition_never_fails(head):
    assert isinstance(sniff(head), str)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([np.zeros(3)], "holds a list where"),
        (frozenset({1}), "holds a frozenset where"),
        (np.zeros(3), "holds a numpy array of float64 where"),
        ({}, "no arrays"),
        ({"blobs": {}}, "no arrays"),
        ({"model_iter": 3}, "no arrays"),
        ({"w": [1]}, "neither an array nor a number"),
        ({1: np.zeros(3)}, "not a string"),
        ({b"\xff": np.zeros(3)}, "not a string"),
        ({"w": np.array([None])}, "Python objects"),
        ({"w": np.array(["a"])}, "texts"),
        ({"w": np.zeros(2, "f4,i4")}, "structured"),
    ],
)
def test_other_contents_are_refused(tmp_path, value, says):
    assert says in refusal(tmp_path, pickle.dumps(value, 4))


def test_inert_values_beside_the_blobs(tmp_path):
    weights = {"w": np.ones(2, np.float32)}
    for value in (
        {
            "blobs": weights,
            "when": datetime.date(2020, 1, 1),
            "args": argparse.Namespace(lr=1),
            "table": {None: 1},
        },
        collections.defaultdict(list, weights),
    ):
        for protocol in range(6):
            with file_of(tmp_path, pickle.dumps(value, protocol)) as file:
                found = read_caffe2_pickle(file)
                assert list(found.tensors) == ["w"]
                assert set(found.other_values) == set(value) - {"w", "blobs"}


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_of_pytorch_are_named(tmp_path, protocol):
    model = torch.nn.Linear(2, 1)
    says = {
        "holds PyTorch tensors that torch.save did not write": model.state_dict(),
        "holds a whole model, which is a program: torch.nn.modules.linear.Linear": model,
        "contains code: functools.partial": functools.partial(int),
        "contains code: torch.device.index": None,
    }
    for words, value in says.items():
        data = pickle.dumps(value, protocol) if value else b"ctorch\ndevice.index\n."
        with file_of(tmp_path, data) as file, pytest.raises(BadInput) as caught:
            read_caffe2_pickle(file)
        assert words in caught.value.what


def test_a_file_that_is_cut_while_it_is_read(tmp_path):
    weights = np.zeros(CHUNK, "f4")
    with file_of(tmp_path, pickle.dumps({"a": weights, "b": weights + 1}, 4)) as file:
        tensors = read_caffe2_pickle(file).tensors
        os.truncate(file.path, 2 * CHUNK)
        with pytest.raises(BadInput, match="ends early"):
            tensors["b"].tobytes()
        with pytest.raises(BadInput, match="ends early"):
            read_caffe2_pickle(file)


def test_a_sparse_file_over_4_gb(tmp_path):
    """A bytearray of protocol 5 that is longer than 32 bits can say, and an array after it."""
    path = tmp_path / "large.pkl"
    count = (1 << 30) + 1
    dtype = (
        hostile_pickles.call("numpy", "dtype", hostile_pickles.text("f4"), b"\x89\x88")
        + b"(K\x03" + hostile_pickles.text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )  # fmt: skip
    with open(path, "wb") as out:
        out.write(b"\x80\x05}")
        for name, size in (("large", count), ("small", 3)):
            out.write(
                hostile_pickles.text(name)
                + hostile_pickles.named("numpy.core.numeric", "_frombuffer")
                + b"(\x96"
            )
            out.write(struct.pack("<Q", 4 * size))
            out.seek(4 * size - 4, os.SEEK_CUR)
            out.write(struct.pack("<f", 2.5) + dtype)
            out.write(b"\x8a\x05" + size.to_bytes(5, "little") + b"\x85" + hostile_pickles.text("C") + b"tRs")
        out.write(b".")
    with SourceFile(path) as file:
        assert file.size > 1 << 32
        tensors = read_caffe2_pickle(file).tensors
        large = tensors["large"]
        assert isinstance(large.data, FileBytes)
        assert large.shape == (count,)
        assert file.read_at(large.data.offset + 4 * count - 4, 4) == struct.pack("<f", 2.5)
        assert tensors["small"].tobytes() == struct.pack("<3f", 0, 0, 2.5)


def test_reading_imports_neither_torch_nor_numpy():
    code = (
        "import sys\n"
        "from converters.formats.caffe2.pickle_reader import read_caffe2_pickle\n"
        "from converters.files import SourceFile\n"
        "with SourceFile(sys.argv[1]) as file:\n"
        "    read_caffe2_pickle(file).tensors['conv1_w'].tobytes()\n"
        "assert not {'numpy', 'torch', 'pickle'} & set(sys.modules)\n"
    )
    path = next(path for path in FIXTURES if path.stem.startswith("vmz-py27"))
    subprocess.run([sys.executable, "-c", code, path], check=True, cwd=ROOT, timeout=60)


def test_what_python_2_wrote_is_written_byte_for_byte():
    path = next(path for path in FIXTURES if path.stem.startswith("vmz-py27"))
    with SourceFile(path) as file:
        out = io.BytesIO()
        write_caffe2_pickle(out, read_caffe2_pickle(file).tensors)
    assert out.getvalue() == path.read_bytes()


@pytest.mark.parametrize("nested", [True, False])
def test_every_dtype_and_shape_that_is_written_is_read(tmp_path, nested):
    with SourceFile(next(path for path in FIXTURES if path.stem == "every-py36-numpy1.19-p4")) as file:
        tensors = read_caffe2_pickle(file).tensors
        out = io.BytesIO()
        write_caffe2_pickle(out, tensors.values(), nested=nested)
        arrays, found = read(tmp_path, out.getvalue())
        assert list(arrays) == list(tensors)
        assert found.nested == nested
        assert all(arrays[name].tobytes() == tensor.tobytes() for name, tensor in tensors.items())
        value = pickle.loads(out.getvalue(), encoding="latin1")
        value = value["blobs"] if nested else value
        expected = CONTENTS["every"]
        assert all(same(value[name], expected[name]) for name in tensors)


class Nothing:
    """Data of no bytes."""

    def chunks(self):
        return iter(())


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2000])
def test_batches_are_those_of_cpickle(tmp_path, count):
    """cPickle 2.7: one item without a mark, batches of 1000, an empty one after a last full one."""
    out = io.BytesIO()
    empty = [Tensor(f"blob_{n}", "float32", (0,), Nothing()) for n in range(count)]
    write_caffe2_pickle(out, empty, nested=False)
    names = [opcode.name for opcode, _, _ in pickletools.genops(out.getvalue())]
    batches = names.count("SETITEMS")
    assert batches == {0: 0, 1: 0, 2: 1, 999: 1, 1000: 2, 1001: 2, 2000: 3}[count]
    assert names.count("SETITEM") == (count == 1)
    assert len(pickle.loads(out.getvalue(), encoding="latin1")) == count


def test_what_a_caffe2_pickle_cannot_hold_is_refused():
    half, twice = Tensor("w", "bfloat16", (0,), Nothing()), Tensor("w", "float32", (0,), Nothing())
    for tensors, says in [
        ([half], "bfloat16"),
        ([twice, twice], "twice"),
        ([Tensor("w", "float32", (1 << 29,), Nothing())], "2 GiB"),
    ]:
        out = io.BytesIO()
        with pytest.raises(Refused, match=says):
            write_caffe2_pickle(out, tensors)
        assert out.getvalue() == b""
