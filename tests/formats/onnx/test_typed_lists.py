"""ONNX's lists of values: every element type in every list that may hold it, as onnx itself reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from converters.errors import BadInput
from converters.files import CHUNK, SourceFile
from converters.formats.io.protobuf_reader import Wire
from converters.formats.onnx.integers import integers
from converters.formats.onnx.reader import read_onnx
from converters.formats.onnx.tensors import _TYPES, TensorReader
from tests.helpers.budgets import examples
from tests.helpers.caffe_files import message, number, varint

if TYPE_CHECKING:
    from pathlib import Path


def stored(path: Path, tensor: TensorProto | bytes):
    """A tensor as it is read, and its bytes."""
    raw = tensor if isinstance(tensor, bytes) else tensor.SerializeToString()
    path.write_bytes(message(5, raw))
    with SourceFile(path) as file:
        wire = Wire(file)
        (field,) = wire.fields(0, file.size)
        found = TensorReader(wire).read(field)
        return found, b"".join(map(bytes, found.data.chunks())) if found.data else b""


@pytest.mark.parametrize("kind", sorted(_TYPES))
def test_every_element_type_in_its_list_and_as_raw_bytes(kind: int, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    values = np.array([0, 1, 1, 0, 1, 0], "u1").astype(dtype).reshape(2, 3)
    raw = numpy_helper.from_array(values, "w")
    assert raw.raw_data
    in_list = helper.make_tensor("w", kind, (2, 3), values.ravel())
    assert not in_list.HasField("raw_data")
    for tensor in (raw, in_list):
        found, data = stored(tmp_path / "t", tensor)
        assert (found.shape, data) == ((2, 3), raw.raw_data)
        assert found.dtype.replace("_", "") == TensorProto.DataType.Name(kind).lower().replace(
            "_", ""
        ).replace("float", "float32" if kind == 1 else "float").replace("double", "float64")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_by_their_bits(dtype: str, tmp_path: Path) -> None:
    """Also negative ones, NaN, and those that a writer took for signed numbers."""
    bits = np.array([0x0000, 0x8000, 0x3C00, 0xBC00, 0x7F80, 0x7FC1, 0xFFFF, 0x0001], "<u2")
    kind = getattr(TensorProto, dtype.upper())
    proto = TensorProto(name="w", data_type=kind, dims=[8], int32_data=bits.astype(int))
    found, data = stored(tmp_path / "t", proto)
    assert (found.dtype, data) == (dtype, bits.tobytes())
    signed = TensorProto(name="w", data_type=kind, dims=[8], int32_data=bits.view("<i2").astype(int))
    assert stored(tmp_path / "t", signed)[1] == bits.tobytes()
    assert np.array_equal(numpy_helper.to_array(proto).view("u2"), bits)
    one_each = number(1, 8) + number(2, kind) + b"".join(number(5, int(value)) for value in bits)
    assert stored(tmp_path / "t", one_each)[1] == bits.tobytes()
    halves = (bits[:3], bits[3:])
    pieces = b"".join(message(5, b"".join(varint(int(value)) for value in half)) for half in halves)
    assert stored(tmp_path / "t", number(1, 8) + number(2, kind) + pieces)[1] == bits.tobytes()


def test_floats_in_several_pieces(tmp_path: Path) -> None:
    values = np.arange(7, dtype="<f4")
    pieces = (
        message(4, values[:2].tobytes()) + b"\x25" + values[2:3].tobytes() + message(4, values[3:].tobytes())
    )
    assert stored(tmp_path / "t", number(1, 7) + number(2, 1) + pieces)[1] == values.tobytes()


def test_a_list_longer_than_a_chunk(tmp_path: Path) -> None:
    bits = np.random.default_rng(1).integers(0, 1 << 16, CHUNK).astype("<u2")
    proto = TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=bits.shape, int32_data=bits.astype(int))
    assert stored(tmp_path / "t", proto)[1] == bits.tobytes()


@examples(60)
@given(
    values=st.lists(st.integers(-(1 << 63), (1 << 64) - 1), max_size=40),
    itemsize=st.sampled_from([1, 2, 4, 8]),
)
def test_integers_of_any_length(tmp_path_factory, values: list[int], itemsize: int) -> None:
    path = tmp_path_factory.getbasetemp() / "integers"
    path.write_bytes(message(5, b"".join(varint(value % (1 << 64)) for value in values)))
    with SourceFile(path) as file:
        wire = Wire(file)
        found = integers(wire, list(wire.fields(0, file.size)), itemsize)
        data = b"".join(map(bytes, found.chunks()))
    assert found.nbytes == len(data) == itemsize * len(values)
    assert data == b"".join((value % (1 << 8 * itemsize)).to_bytes(itemsize, "little") for value in values)


def test_a_number_of_eleven_bytes_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(message(5, b"\x80" * 10 + b"\1"))
    with SourceFile(path) as file:
        wire = Wire(file)
        with pytest.raises(BadInput, match="more than 64 bits"):
            list(integers(wire, list(wire.fields(0, file.size)), 2).chunks())


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("form", ["raw", "list", "external"])
def test_tensors_without_elements(shape: tuple[int, ...], form: str, tmp_path: Path) -> None:
    """As `roi` and `scales` of Resize are."""
    tensor = TensorProto(name="roi", data_type=TensorProto.FLOAT, dims=shape)
    if form == "raw":
        tensor.raw_data = b""
    elif form == "external":
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
        (tmp_path / "w.bin").write_bytes(b"")
    path = tmp_path / "m.onnx"
    graph = helper.make_graph([], "g", [], [], [tensor, numpy_helper.from_array(np.ones(2, np.float32), "w")])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with SourceFile(path) as file:
        found = read_onnx(file)
        assert (found.tensors["roi"].shape, found.tensors["roi"].tobytes()) == (shape, b"")
        assert list(found.tensors) == ["roi", "w"]
        for one in found.files:
            one.close()


def test_types_of_the_installed_onnx_are_all_known() -> None:
    from converters.formats.onnx.tensors import _OTHER_TYPES

    assert {*TensorProto.DataType.values()} <= {*_TYPES, *_OTHER_TYPES, 0}
    assert onnx.__version__
