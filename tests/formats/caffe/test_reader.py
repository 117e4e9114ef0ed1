"""Caffe models in every dialect are read whole; every damaged, hostile or foreign file is refused in one line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import CHUNK, SourceFile
from converters.formats.caffe.reader import (
    BVLC,
    BVLC_V1,
    C3D,
    Layer,
    message_kind,
    read_caffe_hdf5,
    read_caffemodel,
    read_mean,
)
from converters.formats.io import protobuf_reader as protobuf
from converters.tensor import FileBytes
from tests.helpers import caffe_files as made
from tests.helpers import caffe_tables, selection
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(1)
W = RANDOM.standard_normal((2, 3, 3, 3, 3)).astype(np.float32)
B = RANDOM.standard_normal(2).astype(np.float32)
IMAGE = RANDOM.standard_normal((4, 3, 5, 5)).astype(np.float32)
FC = RANDOM.standard_normal((6, 10)).astype(np.float32)
VECTOR = RANDOM.standard_normal((1, 7)).astype(np.float32)


def read(path: Path):
    with SourceFile(path) as file:
        result = read_caffemodel(file)
        return result, {name: tensor.tobytes() for name, tensor in result.tensors.items()}


def file_of(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(content)
    return path


def refusal(path: Path, reader=read_caffemodel) -> str:
    """What is said of a file that is refused: one printable line."""
    with pytest.raises(BadInput) as refused, SourceFile(path) as file:
        reader(file)
    text = str(refused.value)
    assert refused.value.exit_code == 3
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < 400 + len(str(path))
    return text.removeprefix(f"{path}: ")


def same(result, data: dict[str, bytes], expected: dict[str, np.ndarray]) -> None:
    assert list(result.tensors) == list(expected)
    for name, array in expected.items():
        assert (result.tensors[name].name, result.tensors[name].dtype) == (name, str(array.dtype))
        assert result.tensors[name].shape == array.shape
        assert data[name] == array.tobytes(), name


# Every dialect


def v10(*, diffs: bool = False, packed: bool = True) -> bytes:
    options = {"packed": packed}
    return (
        made.message(1, b"DeepConv3DNet")
        + made.old_layer("data", 33, tops=("data", "label"))
        + made.old_layer(
            "conv1a", 30,
            made.blob_v10(W, diff=W + 1 if diffs else None, **options),
            made.blob_v10(B, diff=B + 1 if diffs else None, **options),
        )
        + made.old_layer("relu1a", 18)
        + made.old_layer("fc6-1", 14, made.blob_v10(FC, **options))
    )  # fmt: skip


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("diffs", [False, True])
def test_c3d_v10(tmp_path, diffs, packed):
    result, data = read(file_of(tmp_path, v10(diffs=diffs, packed=packed)))
    expected = {
        "conv1a/0": W, "conv1a/1": B.reshape(1, 1, 1, 1, 2), "fc6-1/0": FC.reshape(1, 1, 1, 6, 10),
    }  # fmt: skip
    same(result, data, expected)
    assert (result.dialect, result.net) == (C3D, "DeepConv3DNet")
    assert result.layers == (
        Layer("data", 33, 0), Layer("conv1a", 30, 2), Layer("relu1a", 18, 0), Layer("fc6-1", 14, 1),
    )  # fmt: skip
    kinds = {type(tensor.data) for tensor in result.tensors.values()}
    assert kinds == {FileBytes} if packed else kinds == {protobuf.Unpacked}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("diffs", [False, True])
def test_bvlc_v1(tmp_path, diffs, packed):
    content = made.message(1, b"AlexNet") + made.old_layer(
        "conv1", 4,
        made.blob_v1(IMAGE, diff=IMAGE if diffs else None, packed=packed),
        made.blob_v1(B, diff=B if diffs else None, packed=packed),
    )  # fmt: skip
    result, data = read(file_of(tmp_path, content))
    same(result, data, {"conv1/0": IMAGE, "conv1/1": B.reshape(1, 1, 1, 2)})
    assert result.dialect == BVLC_V1


def test_bvlc_v1_with_new_shapes(tmp_path):
    """A V1 net written by a later Caffe has ``shape`` in its blobs."""
    result, data = read(file_of(tmp_path, made.old_layer("conv1", 4, made.blob(IMAGE), made.blob(B))))
    same(result, data, {"conv1/0": IMAGE, "conv1/1": B})
    assert (result.dialect, result.net) == (BVLC_V1, "")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("diffs", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bvlc(tmp_path, dtype, diffs, packed):
    arrays = [array.astype(dtype) for array in (W, B.reshape(1, 1, 1, 1, 2), FC, VECTOR)]
    blobs = [made.blob(array, diff=array if diffs else None, packed=packed) for array in arrays]
    content = (
        made.message(1, b"C3D-ResNet18")
        + made.new_layer("data", "VideoData", tops=("data",))
        + made.new_layer("conv1/7x7_s2", "Convolution3D", *blobs[:2])
        + made.new_layer("fc-action", "InnerProduct", *blobs[2:3])
        + made.new_layer("data_data_0_split", "Split")
        + made.new_layer("bn", "BN", *blobs[3:])
    )
    result, data = read(file_of(tmp_path, content))
    same(
        result,
        data,
        dict(zip(("conv1/7x7_s2/0", "conv1/7x7_s2/1", "fc-action/0", "bn/0"), arrays, strict=True)),
    )
    assert (result.dialect, result.net) == (BVLC, "C3D-ResNet18")
    assert result.layers[3] == Layer("data_data_0_split", "Split", 0)


def test_a_scalar_and_the_scale_factor(tmp_path):
    factor = np.float32([999.98])
    content = made.new_layer("bn", "BatchNorm", made.blob(B), made.blob(B), made.blob(factor))
    content += made.new_layer("s", "Scale", made.blob(np.float32(3)))
    result, data = read(file_of(tmp_path, content))
    same(result, data, {"bn/0": B, "bn/1": B, "bn/2": factor, "s/0": np.float32(3)})


def test_values_in_several_pieces(tmp_path):
    """A parser joins the pieces of a repeated field, packed or not."""
    flat = IMAGE.ravel()
    pieces = made.floats(5, flat[:7]) + made.floats(5, flat[7:100], packed=False) + made.floats(5, flat[100:])
    blob = pieces + made.message(
        7, *(made.number(1, size) for size in IMAGE.shape)
    )  # sizes not packed either
    result, data = read(file_of(tmp_path, made.new_layer("a", "x", blob)))
    same(result, data, {"a/0": IMAGE})


def test_v10_files_older_than_length(tmp_path):
    """C3D itself takes a missing length for 1."""
    image = IMAGE[:, :, None]
    blob = made.blob_v10(image).replace(b"\x18\x01", b"", 1)
    assert len(blob) == len(made.blob_v10(image)) - 2
    result, data = read(file_of(tmp_path, made.old_layer("a", 4, blob)))
    same(result, data, {"a/0": image})


def test_long_unpacked_values(tmp_path):
    array = RANDOM.standard_normal((50, 7000)).astype(np.float32)
    result, data = read(file_of(tmp_path, made.new_layer("a", "x", made.blob(array, packed=False))))
    same(result, data, {"a/0": array})
    with SourceFile(tmp_path / "a.caffemodel") as file:
        (tensor,) = read_caffemodel(file).tensors.values()
        assert max(len(chunk) for chunk in tensor.data.chunks()) <= CHUNK


@pytest.mark.parametrize("name", sorted(caffe_tables.caffe_tables()))
def test_reference_nets(tmp_path, name):
    """Every net's real layers and shapes but for the largest of its layers."""
    table = caffe_tables.caffe_tables()[name]
    small = {key: shape for key, shape in table.params.items() if np.prod(shape) < 3_000_000}
    arrays = {key: np.zeros(shape, np.float32) for key, shape in small.items()}
    layers = [row for row in table.layers if all(f"{row[0]}/{n}" in small for n in range(row[2]))]
    trimmed = caffe_tables.CaffeTable(table.dialect, table.net, layers, small)
    path = file_of(tmp_path, made.model(trimmed, arrays))
    with SourceFile(path) as file:
        result = read_caffemodel(file)
    wanted = {f"{row[0]}/{n}" for row in layers for n in range(row[2])}
    assert {key: tensor.shape for key, tensor in result.tensors.items()} == {
        key: small[key] for key in wanted
    }
    assert result.dialect == table.dialect
    assert [tuple(layer) for layer in result.layers] == layers


# The dialect is never guessed


def test_a_v10_file_is_never_read_by_other_numbers(tmp_path):
    """Where BVLC's numbers would find empty data, the weights in diff and a lost width, C3D's are taken; cut the
    width, which tells them apart, and the file is refused."""
    blob = made.blob_v10(W)
    without = blob.replace(b"\x28\x03", b"", 1)
    assert len(without) == len(blob) - 2
    text = refusal(file_of(tmp_path, made.old_layer("conv1a", 30, without)))
    assert text.startswith("has a blob that cannot be read: it has no values (blob conv1a/0)")


def test_dialects_do_not_mix_in_a_file(tmp_path):
    content = made.old_layer("a", 30, made.blob_v10(W)) + made.old_layer("b", 14, made.blob_v1(B))
    assert "(blob b/0)" in refusal(file_of(tmp_path, content))
    content = made.old_layer("a", 30, made.blob_v1(B)) + made.old_layer("b", 14, made.blob_v10(W))
    assert "(blob b/0)" in refusal(file_of(tmp_path, content))
    content = made.new_layer("a", "Convolution3D", made.blob_v10(W))
    assert "field 5 has the wire type 0 (blob a/0)" in refusal(file_of(tmp_path, content))


def test_a_blob_made_to_read_as_both_reads_as_none(tmp_path):
    """Four sizes with data 5 for BVLC, a fifth size with data 6 for C3D, all consistent."""
    values = np.arange(24, dtype=np.float32)
    sizes = b"".join(made.number(field, size) for field, size in enumerate((2, 3, 4, 1, 1), 1))
    both = sizes + made.floats(5, values) + made.floats(6, values + 1)
    assert "field 5 has the wire type" in refusal(file_of(tmp_path, made.old_layer("a", 4, both)))


def test_layers_of_both_forms(tmp_path):
    content = made.old_layer("a", 4, made.blob_v1(B)) + made.new_layer("b", "x", made.blob(B))
    assert "the old form and of the new" in refusal(file_of(tmp_path, content))


# Files that do not hold together


def sized(*sizes: int) -> bytes:
    return made.message(7, made.message(1, *map(made.varint, sizes)))


def ones(axes: int) -> bytes:
    """`sized` of so many ones."""
    return made.message(7, made.message(1, b"\x01" * axes))


BLOBS = {
    "no values": (sized(3), "it has no values"),
    "only a diff": (made.floats(6, B) + sized(2), "it has no values"),
    "nothing": (b"", "it has no values"),
    "too few": (made.floats(5, B) + sized(3), "it has 2 values, its shape is 3"),
    "too many": (made.floats(5, B) + sized(1), "it has 2 values, its shape is 1"),
    "no shape": (made.floats(5, B), "it has 2 values, its shape is one value"),
    "half a value": (
        made.message(5, bytes(6)) + sized(1),
        "6 bytes of values are not a whole number of float32",
    ),
    "half a double": (
        made.message(8, bytes(12)) + sized(1),
        "12 bytes of values are not a whole number of float64",
    ),
    "a size of zero": (made.floats(5, B) + sized(2, 0), "impossible: 2x0"),
    "a negative size": (made.floats(5, B) + sized(2**64 - 1, 2**64 - 2), "impossible: -1x-2"),
    "a huge size": (made.floats(5, B) + sized(2**62), "impossible: 4611686018427387904"),
    "a product that wraps": (made.floats(5, B) + sized(*[2**31 - 1] * 32), "it has 2 values"),
    "both precisions": (made.floats(5, B) + made.floats(8, B.astype(float)) + sized(2), "float and double"),
    "two shapes": (
        made.number(1, 2) + made.number(2, 1) + made.floats(5, B) + sized(1, 1),
        "two shapes differ",
    ),
    "values as a number": (made.number(5, 2) + sized(2), "field 5 has the wire type 0"),
    "values as doubles": (
        made.floats(5, B.astype(float), packed=False) + sized(2),
        "field 5 has the wire type 1",
    ),
    "sizes as texts": (made.message(1, b"x") + made.floats(5, B), "field 1 has the wire type 2"),
}


@pytest.mark.parametrize("case", BLOBS)
def test_blobs_that_lie(tmp_path, case):
    blob, expected = BLOBS[case]
    content = made.new_layer("good", "x", made.blob(B)) + made.new_layer("bad", "x", made.blob(B), blob)
    text = refusal(file_of(tmp_path, content))
    assert text.startswith("has a blob that cannot be read: ")
    assert expected in text
    assert "(blob bad/1)" in text


BEHIND = made.message(1, bytes(40))
DAMAGED = {
    "a group": (made.message(1, b"n") + b"\x13" + bytes(9), "wire type 3"),
    "an end of a group": (made.message(1, b"n") + b"\x14" + bytes(9), "wire type 4"),
    "wire type 6": (made.message(1, b"n") + b"\x16" + bytes(9), "wire type 6"),
    "wire type 7": (made.message(1, b"n") + b"\x17" + bytes(9), "wire type 7"),
    "field 0": (made.message(1, b"n") + b"\x02\x00", "field of number 0"),
    "a huge field number": (made.message(1, b"n") + b"\xfa\xff\xff\xff\xff\xff\xff\x7f\x00", "field of number"),
    "a long varint": (made.message(1, b"n") + b"\x18" + b"\xff" * 10 + b"\x01", "more than 64 bits"),
    "a varint of 70 bits": (made.message(1, b"n") + b"\x18" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
    "an open varint": (made.message(1, b"n") + b"\x18" + b"\xff" * 3, "ends early"),
    "a length beyond the end": (made.message(1, b"n") + b"\x12\x80\x80\x80\x80\x08" + bytes(9), "ends early"),
    "a length of 2^64 - 1": (made.message(1, b"n") + b"\x12" + b"\xff" * 9 + b"\x01" + bytes(9), "ends early"),
    "a length beyond the layer": (made.message(100, b"\x0a\x01a\x3a\x20" + bytes(9)) + BEHIND, "beyond the message"),
    "a fixed value beyond the layer": (made.message(100, b"\x0a\x01a\x25\x00") + BEHIND, "beyond the message"),
    "a layer that is a number": (made.message(1, b"n") + made.number(100, 7), "not a message"),
    "a blob that is a number": (made.message(100, made.message(1, b"a"), made.number(7, 1)), "not a message"),
    "a name that is a number": (made.message(100, made.number(1, 1)), "not a string"),
    "a name that is not UTF-8": (made.message(100, made.message(1, b"\xff")), "not UTF-8"),
    "a long name": (made.message(100, made.message(1, b"x" * 2000)), "a name of 2,000 bytes"),
    "a layer without a name": (made.message(100, made.message(7, made.blob(B))), "without a name"),
    "a layer of 65 blobs": (made.message(100, made.message(1, b"a"), made.message(7, b"") * 65), "more than 64 blobs"),
    "a blob of 33 axes": (made.new_layer("a", "x", made.floats(5, B) + sized(*[1] * 33)), "more than 32"),
    "a blob of a million axes": (made.new_layer("a", "x", made.floats(5, B) + ones(10**6)), "more than 33"),
    "a blob of many pieces": (
        made.new_layer("a", "x", (made.floats(5, B[:1]) + made.message(6, b"")) * 501), "more than 1,000 fields"
    ),
    "many layers": (made.message(100, b"") * 20_001, "more than 20,000 layers"),
    "many fields": (made.message(1, b"n") + b"\x18\x00" * 250_000, "more than 200,000 fields"),
    "no layers": (made.message(1, b"n") + made.message(3, b"data"), "holds no layers"),
    "no weights": (made.message(1, b"n") + made.new_layer("a", "ReLU"), "holds no weights"),
    "layers within layers": (made.message(2, made.message(1, made.message(50, made.blob_v1(B)))), "first format (V0)"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.timeout(20)
def test_damaged_files(tmp_path, case):
    content, expected = DAMAGED[case]
    assert expected in refusal(file_of(tmp_path, content))


def test_two_layers_of_one_name(tmp_path):
    content = made.new_layer("conv1", "x", made.blob(B)) + made.new_layer("conv1", "x", made.blob(B))
    assert refusal(file_of(tmp_path, content)).startswith(
        "has two layers of this name with weights (layer conv1)"
    )
    content = made.new_layer("data", "x") + made.new_layer("data", "x", made.blob(B))  # train's and test's
    same(*read(file_of(tmp_path, content)), {"data/0": B})


def test_terminal_codes_in_a_name(tmp_path):
    content = made.new_layer("\x1b[2Jx", "x", made.floats(5, B) + sized(3))
    assert "(blob \\x1b[2Jx/0)" in refusal(file_of(tmp_path, content))


# Files of other kinds


def onnx() -> bytes:
    """ir_version 1, producer_name 2, producer_version 3, graph 7, opset_import 8."""
    graph = made.message(7, made.message(2, b"g"))
    return (
        made.number(1, 4)
        + made.message(2, b"pytorch")
        + made.message(3, b"1.8")
        + graph
        + made.message(8, b"")
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (made.solverstate(FC), "is a Caffe solver state (.solverstate), not a model"),
        (made.solverstate(FC, iteration=4), "is a Caffe solver state (.solverstate), not a model"),
        (made.solverstate(FC)[:60], "is a Caffe solver state (.solverstate), not a model"),
        (made.blob_v10(W[:1]), "is a Caffe mean file (.binaryproto), not a model"),
        (made.blob_v1(IMAGE[:1]), "is a Caffe mean file (.binaryproto), not a model"),
        (
            b'name: "C3D"\nlayers {\n  name: "data"\n}\n',
            "is the description of a Caffe network or its training",
        ),
        (
            b'# C3D\n\nlayer {\n  name: "data"\n}\n',
            "is the description of a Caffe network or its training",
        ),
        (
            b'\n\nname: "C3D"\nlayer {\n}\n',
            "is the description of a Caffe network or its training",
        ),
        (
            b'\xef\xbb\xbf\r\nname: "C3D"\r\n',
            "is the description of a Caffe network or its training",
        ),
        (
            b'type: "SGD"\nbase_lr: 0.01\n',
            "is the description of a Caffe network or its training",
        ),
        (
            b'net: "train.prototxt"\nbase_lr: 0.01\n',
            "is the description of a Caffe network or its training",
        ),
        (b"name,layer\n1,2\n", "is a text file"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"PK\3\4" + bytes(60), "is a zip file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "is an HDF5 file"),
        (b"\x80\x02}q\x01.", "is a pickle"),
        (onnx(), "is a protocol buffer, but not one of Caffe's"),
        (b"\xf3\x91\x00\x84" * 40, "is not a known kind of file"),
    ],
)
def test_other_files(tmp_path, content, expected):
    assert refusal(file_of(tmp_path, content)).startswith(expected)


# Mean files


@pytest.mark.parametrize("packed", [True, False])
def test_mean_files(tmp_path, packed):
    cube = RANDOM.standard_normal((1, 3, 4, 5, 6)).astype(np.float32)
    path = file_of(tmp_path, made.blob_v10(cube, packed=packed))
    with SourceFile(path) as file:
        mean = read_mean(file)
        assert (mean.name, mean.shape, mean.tobytes()) == ("mean", (3, 4, 5, 6), cube.tobytes())
    image = IMAGE[:1]
    for content, values in (
        (made.blob_v1(image, packed=packed), image),
        (made.blob(image, packed=packed), image),
        (made.blob(image[0], packed=packed), image),  # as pycaffe makes one of an array
        (made.blob(image.astype(np.float64), packed=packed), image.astype(np.float64)),
    ):
        with SourceFile(file_of(tmp_path, content)) as file:
            assert message_kind(file) == "mean"
            assert (read_mean(file).shape, read_mean(file).tobytes()) == (image.shape[1:], values.tobytes())


def test_the_real_mean_s_layout(tmp_path):
    """C3D's cube has 17 bytes before the values, as in the file of the repository."""
    cube = np.zeros((1, 3, 16, 128, 171), np.float32)
    content = made.blob_v10(cube)
    assert len(content) - cube.nbytes == 17
    assert len(content) == 4_202_513
    with SourceFile(file_of(tmp_path, content)) as file:
        assert read_mean(file).shape == (3, 16, 128, 171)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (made.new_layer("a", "x", made.blob(B)), "is a Caffe model"),
        (made.solverstate(FC), "is a Caffe solver state"),
        (made.blob_v10(W), "2x3x3x3x3, which is not a mean"),
        (made.blob(FC), "6x10, which is not a mean"),
        (made.blob_v10(W[:1])[:-4], "ends early"),
        (made.number(1, 1) + made.number(2, 3) + made.floats(6, B), "it has no values"),
        (b"", "is empty"),
    ],
)
def test_other_files_given_as_a_mean(tmp_path, content, expected):
    text = refusal(file_of(tmp_path, content), read_mean)
    assert expected in text


# Damage


def small_files() -> dict[str, bytes]:
    return {
        "v1.0": v10(diffs=True),
        "unpacked": made.old_layer("conv1a", 30, made.blob_v10(B, packed=False), made.blob_v10(B)),
        "bvlc": made.message(1, b"n") + made.new_layer("fc", "x", made.blob(FC), made.blob(B, diff=B)),
        "v1": made.old_layer("conv1", 4, made.blob_v1(IMAGE[:1])),
    }


@pytest.mark.parametrize("kind", small_files())
def test_cut_at_every_byte(tmp_path, kind):
    """A file that ends early is refused, unless it ends after a whole layer: no count says how many there are."""
    content = small_files()[kind]
    whole, data = read(file_of(tmp_path, content))
    clean = 0
    for size in range(len(content)):
        path = file_of(tmp_path, content[:size])
        try:
            with SourceFile(path) as file:
                cut = read_caffemodel(file)
                part = {name: tensor.tobytes() for name, tensor in cut.tensors.items()}
        except BadInput:
            continue
        clean += 1
        assert cut.dialect == whole.dialect
        assert part == {name: data[name] for name in part}
        assert len(cut.layers) < len(whole.layers)
    assert clean <= len(whole.layers)


@examples(400)
@given(st.data())
def test_damage_is_refused_or_leaves_a_consistent_file(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(list(small_files().values()))))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(
            st.integers(0, 255) | st.sampled_from([0x0A, 0x12, 0x2A, 0x32, 0x3A, 0x80, 0xFF])
        )
    path = file_of(tmp_path, bytes(content))
    try:
        result, read_data = read(path)
    except BadInput:
        return
    for name, tensor in result.tensors.items():
        assert (
            len(read_data[name]) == tensor.nbytes == np.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        )
    assert sum(tensor.nbytes for tensor in result.tensors.values()) < len(content)


@pytest.mark.full
def test_every_bit_flipped(tmp_path):
    content = small_files()["bvlc"]
    for place in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path = file_of(tmp_path, bytes(flipped))
        try:
            _, data = read(path)
        except BadInput:
            continue
        assert sum(map(len, data.values())) <= len(content)


def huge(path: Path, head: bytes, size: int) -> Path:
    """A file of ``head`` and a hole."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def test_more_than_2_gib(tmp_path):
    """Protobuf itself reads no message so long; nothing here has such a limit."""
    count = (5 << 30) // 4
    sizes = b"".join(
        made.number(field, size) for field, size in enumerate((1, 1, 1, 1 << 15, count >> 15), 1)
    )
    blob = sizes + b"\x32" + made.varint(count * 4)
    layer = made.message(4, b"a") + made.number(5, 14) + b"\x32" + made.varint(len(blob) + count * 4) + blob
    head = b"\x12" + made.varint(len(layer) + count * 4) + layer
    path = huge(tmp_path / "a", head, len(head) + count * 4)
    with SourceFile(path) as file:
        tensor = read_caffemodel(file).tensors["a/0"]
        assert tensor.nbytes == 5 << 30
        assert bytes(next(iter(tensor.data.chunks()))) == bytes(CHUNK)
    cut = huge(tmp_path / "b", head, len(head) + count * 4 - 1)
    assert "ends early" in refusal(cut)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))
sys.path.insert(0, sys.argv[1])
from converters.errors import BadInput
from converters.formats.caffe.reader import read_caffemodel
from converters.files import SourceFile
try:
    with SourceFile(sys.argv[2]) as file:
        for tensor in read_caffemodel(file).tensors.values():
            for chunk in tensor.data.chunks():
                pass
except BadInput as error:
    sys.exit(f"refused: {error.what}")
"""

BOMBS = {
    "fields": made.message(1, b"n") + b"\x18\x00" * 3_000_000,
    "layers": made.message(100, b"") * 2_000_000,
    "blobs": made.message(100, made.message(1, b"a"), made.message(7, b"") * 2_000_000),
    "runs": made.message(
        100, made.message(1, b"a"), made.message(7, (b"\x2d" + bytes(4) + b"\x30\x00") * 500_000)
    ),
    "axes": made.new_layer("a", "x", made.floats(5, B) + ones(3_000_000)),
    "names": made.message(1, b"x" * 5_000_000),
    "nested layers": (lambda n: made.message(2, b"\x0a\x80\x80\x40" * n))(1_000_000),
    "deep": made.message(100, b"\x3a\xff\x01" * 1_000_000),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", selection.first_of(BOMBS))
def test_bombs_cost_little_memory(tmp_path, case):
    root = REPOSITORY
    path = file_of(tmp_path, BOMBS[case])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, root, path], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr.startswith("refused: "), done.stderr
    assert done.returncode == 1


def test_a_large_file_costs_little_memory(tmp_path):
    """320 MB read through under a limit on memory that the values alone would break."""
    count = (320 << 20) // 4
    blob = made.number(1, 1) + made.number(2, 1) + made.number(3, 1) + made.number(4, 1 << 10)
    blob += made.number(5, count >> 10) + b"\x32" + made.varint(count * 4)
    layer = made.message(4, b"a") + b"\x32" + made.varint(len(blob) + count * 4) + blob
    head = b"\x12" + made.varint(len(layer) + count * 4) + layer
    path = huge(tmp_path / "a", head, len(head) + count * 4)
    root = REPOSITORY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, root, path], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr


def test_reading_imports_neither_torch_nor_numpy(tmp_path):
    path = file_of(tmp_path, v10(packed=False))
    code = (
        "import sys; from converters.formats.caffe.reader import read_caffemodel\n"
        "from converters.files import SourceFile\n"
        "for tensor in read_caffemodel(SourceFile(sys.argv[1])).tensors.values(): tensor.tobytes()\n"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    root = REPOSITORY
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, check=False)
    assert done.returncode == 0


# HDF5


def hdf5(path: Path, fill) -> Path:
    h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def caffe_hdf5(file) -> None:
    """As C3D-v1.1 writes it: a group for each layer, empty for those without weights, and the diffs beside."""
    for group in ("data", "diff"):
        for layer, blobs in (
            ("data", ()),
            ("conv1a", (W, B.reshape(1, 1, 1, 1, 2))),
            ("relu1a", ()),
            ("fc6", (FC,)),
        ):
            made_group = file.create_group(f"{group}/{layer}")
            for index, array in enumerate(blobs):
                made_group[str(index)] = array


def test_hdf5(tmp_path):
    path = hdf5(tmp_path / "a.caffemodel.h5", caffe_hdf5)
    with SourceFile(path) as file:
        result = read_caffe_hdf5(file)
        data = {name: tensor.tobytes() for name, tensor in result.tensors.items()}
    same(result, data, {"conv1a/0": W, "conv1a/1": B.reshape(1, 1, 1, 1, 2), "fc6/0": FC})
    assert result.dialect == "hdf5"
    assert set(result.layers) == {
        Layer("data", "", 0), Layer("conv1a", "", 2), Layer("relu1a", "", 0), Layer("fc6", "", 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (lambda file: file.create_group("history"), "is a Caffe solver state (.solverstate), not a model"),
        (lambda file: file.create_group("model_weights"), "is an HDF5 file, but not one of Caffe's"),
        (lambda file: file.create_group("data/conv1"), "holds no weights"),
        (
            lambda file: file.create_dataset("data/conv1/weights", data=W),
            "not a blob of a layer (data/conv1/weights)",
        ),
        (lambda file: file.create_dataset("data/0", data=W), "not a blob of a layer (data/0)"),
    ],
)
def test_other_hdf5(tmp_path, fill, expected):
    assert expected in refusal(hdf5(tmp_path / "a", fill), read_caffe_hdf5)
