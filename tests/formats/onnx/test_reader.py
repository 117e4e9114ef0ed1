"""Reading ONNX models: every form that weights have, and files that lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from converters import diff
from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.onnx.reader import OnnxModel, is_onnx, read_onnx
from converters.formats.open import open_checkpoint
from tests.helpers.budgets import examples
from tests.helpers.caffe_files import message, number

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


def model(*tensors: TensorProto, nodes=(), **extra) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], list(tensors), **extra)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("x", 3)])


def read(path: Path, content: onnx.ModelProto | bytes) -> OnnxModel:
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with SourceFile(path) as file:
        assert is_onnx(file)
        found = read_onnx(file)
        for tensor in found.tensors.values():
            assert len(tensor.tobytes()) == tensor.nbytes
        return found


def read_raw(path: Path, *fields: bytes) -> OnnxModel:
    """A model whose graph has these fields."""
    return read(path, number(1, 8) + message(7, *fields))


def test_every_form_of_values(tmp_path: Path) -> None:
    raw = numpy_helper.from_array(ARRAY, "raw")
    packed = helper.make_tensor("packed", TensorProto.FLOAT, ARRAY.shape, ARRAY.ravel())
    double = helper.make_tensor("double", TensorProto.DOUBLE, (3,), [1.5, 2.5, -3])
    half = numpy_helper.from_array(ARRAY.astype(np.float16), "half")
    shape = numpy_helper.from_array(np.array([0, -1]), "shape")
    scalar = numpy_helper.from_array(np.float32(3.5), "scalar")
    path = tmp_path / "m.onnx"
    path.write_bytes(model(raw, packed, double, half, shape, scalar).SerializeToString())
    with SourceFile(path) as file:
        found = read_onnx(file)
        values = {
            name: np.frombuffer(one.tobytes(), one.dtype).reshape(one.shape)
            for name, one in found.tensors.items()
        }
    assert list(values) == ["raw", "packed", "double", "half", "scalar"]
    assert np.array_equal(values["raw"], ARRAY)
    assert np.array_equal(values["packed"], ARRAY)
    assert values["double"].tolist() == [1.5, 2.5, -3]
    assert np.array_equal(values["half"], ARRAY.astype(np.float16))
    assert (found.tensors["half"].dtype, found.tensors["scalar"].shape) == ("float16", ())
    assert found.opset == 17


def test_values_that_are_not_packed(tmp_path: Path) -> None:
    """As writers of proto2 did."""
    values = b"".join(b"\x25" + ARRAY.ravel()[place : place + 1].tobytes() for place in range(24))
    fields = number(1, 2) + number(1, 3) + number(1, 4) + number(2, 1) + values + message(8, b"w")
    path = tmp_path / "m.onnx"
    path.write_bytes(number(1, 8) + message(7, message(5, fields)))
    with SourceFile(path) as file:
        tensor = read_onnx(file).tensors["w"]
        assert (tensor.shape, tensor.tobytes()) == ((2, 3, 4), ARRAY.tobytes())


def test_nodes_and_inputs(tmp_path: Path) -> None:
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=[1, 2], pads=[-1, 0], group=3, auto_pad="VALID"
    )
    norm = helper.make_node("BatchNormalization", ["y"], ["z"], epsilon=1e-3)
    graph = model(numpy_helper.from_array(ARRAY, "w"), nodes=[node, norm])
    for name in ("x", "w"):
        graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]))
    graph.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    helper.set_model_props(graph, {"a": "b"})
    found = read(tmp_path / "m.onnx", graph)
    assert (found.inputs, found.outputs, found.metadata) == (("x",), ("z",), {"a": "b"})
    assert [(one.kind, one.inputs, one.outputs) for one in found.nodes] == [
        ("Conv", ("x", "w"), ("y",)),
        ("BatchNormalization", ("y",), ("z",)),
    ]
    assert found.nodes[0].attributes == {
        "strides": (1, 2),
        "pads": (-1, 0),
        "group": 3,
        "auto_pad": "",
    }
    assert found.nodes[1].attributes == {"epsilon": pytest.approx(1e-3, rel=1e-7)}


# External data


def external(location: str, **entries: int | str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=ARRAY.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize("location", ["w.bin", "inner/w.bin", "./w.bin"])
def test_external_data_in_the_own_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / location).write_bytes(bytes(16) + ARRAY.tobytes() + bytes(5))
    path = tmp_path / "m.onnx"
    path.write_bytes(model(external(location, offset=16, length=96)).SerializeToString())
    with SourceFile(path) as file:
        found = read_onnx(file)
        assert found.tensors["w"].tobytes() == ARRAY.tobytes()
        assert [os.path.basename(one.path) for one in found.files] == ["w.bin"]
        for one in found.files:
            one.close()


@pytest.mark.parametrize(
    "location", ["../w.bin", "inner/../../w.bin", "/etc/passwd", "link/w.bin", "link.bin", "", "a\0b"]
)
def test_external_data_elsewhere_are_never_opened(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "w.bin").write_bytes(ARRAY.tobytes())
    (folder / "link").symlink_to(tmp_path)
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(
        BadInput, match=r"which is not in its own folder \(w\): only files beside the model are read"
    ):
        read(folder / "m.onnx", model(external(location)))


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"offset": 90}, "ends early: 96 bytes needed at offset 90"),
        ({"length": 92}, "has 92 bytes of values where the shape needs 96"),
        ({"offset": "-4"}, "has external data without a valid place"),
        ({"offset": "4" * 30}, "has external data without a valid place"),
    ],
)
def test_external_data_that_are_not_there(entries: dict, text: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(ARRAY.tobytes())
    with pytest.raises(BadInput, match=text):
        read(tmp_path / "m.onnx", model(external("w.bin", **entries)))


def in_the_file_too(tensor: TensorProto) -> None:
    tensor.raw_data = ARRAY.tobytes()


def in_a_list_too(tensor: TensorProto) -> None:
    tensor.float_data.extend(ARRAY.ravel())


def said_to_be_in_the_file(tensor: TensorProto) -> None:
    tensor.ClearField("data_location")


def nowhere(tensor: TensorProto) -> None:
    del tensor.external_data[:]


def inside_and_said_to_be_outside(tensor: TensorProto) -> None:
    nowhere(tensor)
    in_the_file_too(tensor)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (in_the_file_too, "has values both in the file and in another one"),
        (in_a_list_too, "has values both in the file and in another one"),
        (said_to_be_in_the_file, "says that its values are in the file, and names another one"),
        (nowhere, "says that its values are in another file, and names none"),
        (inside_and_said_to_be_outside, "says that its values are in another file, and names none"),
    ],
)
def test_values_are_in_one_place_and_where_the_model_says(change, text: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(ARRAY.tobytes())
    tensor = external("w.bin")
    change(tensor)
    with pytest.raises(BadInput, match=text):
        read(tmp_path / "m.onnx", model(tensor))


def test_a_sparse_initializer_is_shown_and_spoils_nothing(tmp_path: Path) -> None:
    sparse = onnx.helper.make_sparse_tensor(
        numpy_helper.from_array(np.float32([5]), "s"), numpy_helper.from_array(np.int64([1])), [4]
    )
    whole = model(numpy_helper.from_array(ARRAY, "w"))
    whole.graph.sparse_initializer.append(sparse)
    (tmp_path / "m.onnx").write_bytes(whole.SerializeToString())
    with open_checkpoint(str(tmp_path / "m.onnx")) as checkpoint:
        assert [*checkpoint.tensors] == ["w"]
        other = checkpoint.other_values["s"]
        assert (other.kind, other.shape) == ("sparse tensor", (4,))
    sparse.values.raw_data = np.float32([6]).tobytes()
    whole.graph.sparse_initializer[0].CopyFrom(sparse)
    (tmp_path / "n.onnx").write_bytes(whole.SerializeToString())
    assert not diff(tmp_path / "m.onnx", tmp_path / "n.onnx").same


def test_external_data_may_be_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(BadInput, match="is a pipe or a device"):
        read(tmp_path / "m.onnx", model(external("w.bin")))


# Files that lie


def tensor(*fields: bytes) -> bytes:
    return message(5, number(1, 2), number(2, 1), message(8, b"w"), *fields)


def half(*fields: bytes) -> bytes:
    return message(5, number(1, 2), number(2, 10), message(8, b"w"), *fields)


def constant(*, tensor_value: bytes) -> bytes:
    value = message(5, number(1, 2) + number(2, 1) + tensor_value)
    return message(1, message(2, b"w"), message(4, b"Constant"), message(5, message(1, b"value") + value))


def branches(depth: int) -> bytes:
    """A graph's field: a node with a graph with a node, and so on."""
    inner = tensor(message(9, bytes(8)))
    for _ in range(depth):
        inner = message(
            1, message(2, b"y"), message(4, b"If"), message(5, message(1, b"b"), message(6, inner))
        )
    return inner


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([tensor(message(9, bytes(8))), tensor(message(9, bytes(8)))], "has the initializer w twice"),
        ([tensor(message(9, bytes(7)))], "has 7 bytes of values where the shape needs 8"),
        ([tensor()], "has 0 bytes of values where the shape needs 8"),
        ([tensor(message(5, b"\1\2"))], "has values in the list of another type"),
        ([tensor(message(4, bytes(4)))], "has 4 bytes of values where the shape needs 8"),
        ([half(message(5, b"\1"))], "has 2 bytes of values where the shape needs 4"),
        ([half(message(5, b"\1\x80"))], "has a number that does not end"),
        ([half(message(4, bytes(8)))], "has values in the list of another type"),
        ([tensor(number(1, 1 << 40), message(9, bytes(8)))], "has an impossible shape"),
        ([tensor(number(1, (1 << 64) - 1), message(9, bytes(8)))], "has an impossible shape"),
        ([tensor(*(number(1, 1) for _ in range(40)), message(9, bytes(8)))], "more than 32 axes"),
        ([message(15, *(number(3, 1) for _ in range(40)))], "more than 32 axes"),
        ([message(1, message(1, b"x"))], "holds no weights"),
        ([number(5, 3)], "has a field 5 that is not a message"),
        ([message(5, message(8, b"n" * 2000))], "has a name of 2,000 bytes"),
        ([branches(17)], "nests its graphs too deeply"),
        ([constant(tensor_value=message(9, bytes(7)))], "has 7 bytes of values where the shape needs 8"),
        ([constant(tensor_value=message(9, bytes(8)))] * 2, "has the initializer w twice"),
    ],
)  # fmt: skip
def test_damaged_models(fields: list[bytes], text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=text):
        read_raw(tmp_path / "m.onnx", *fields)


def test_a_long_list_of_an_attribute_is_left_out(tmp_path: Path) -> None:
    node = message(
        1, message(5, message(1, b"k"), message(8, bytes(65))), message(5, message(1, b"l") + number(8, 2))
    )
    found = read_raw(tmp_path / "m.onnx", node, tensor(message(9, bytes(8))))
    assert found.nodes[0].attributes == {"l": (2,)}


def test_models_cut_short(tmp_path: Path) -> None:
    whole = model(numpy_helper.from_array(ARRAY, "w")).SerializeToString()
    cut = tmp_path / "m.onnx"
    for size in range(2, whole.index(ARRAY.tobytes()) + ARRAY.nbytes):
        cut.write_bytes(whole[:size])
        with SourceFile(cut) as file:
            assert is_onnx(file) or size == 2
            with pytest.raises(BadInput, match=r"ends early|without a graph"):
                read_onnx(file)


def test_other_protocol_buffers_are_none(tmp_path: Path) -> None:
    caffe = message(1, b"net") + message(100, message(1, b"conv"), message(7, message(5, bytes(8))))
    solver = number(1, 20000) + message(2, b"x.caffemodel") + message(3, message(5, bytes(8)))
    for content in (caffe, solver, b"\x08\x01", b"\xff\xff"):
        (tmp_path / "f").write_bytes(content)
        with SourceFile(tmp_path / "f") as file:
            assert not is_onnx(file)


@examples(150)
@given(data=st.data())
def test_changed_bytes_never_do_worse_than_an_error(tmp_path_factory, data) -> None:
    """And a weight that is given has as many bytes as its shape says."""
    content = bytearray(model(numpy_helper.from_array(ARRAY, "w"), external("w.bin")).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(content)
    with SourceFile(path) as file:
        if not is_onnx(file):
            return
        try:
            found = read_onnx(file)
        except BadInput:
            return
        for one in found.tensors.values():
            assert len(one.tobytes()) == one.nbytes
