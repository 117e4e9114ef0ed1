"""`convert diff` never calls two files equal that another reader tells apart: random files of every format, changed.

The other readers are those of the formats' own libraries (torch, numpy, h5py, onnx, safetensors). For Caffe, Caffe2,
TensorFlow, MXNet, Paddle and Flax's msgpack they are the bytes themselves, or what the file was made from.
"""

from __future__ import annotations

import argparse
import datetime
import io
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from converters import diff
from converters.errors import ConverterError, Refused
from tests.helpers import caffe_files, mxnet_files, paddle_files, tensorflow_files
from tests.helpers.budgets import examples
from tests.helpers.forked_library import fork_libraries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = st.sampled_from(["w", "a.weight", "a.bias", "n", "epoch", "config", "0"])
NUMPY_DTYPES = [
    "f2",
    "f4",
    "f8",
    "i1",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "?",
    "c8",
    "c16",
    ">f4",
    "U3",
    "S2",
]
NUMBERS = (int, float, np.number)
TORCH_DTYPES = (
    *("float32", "float16", "bfloat16", "int64", "int8", "bool", "uint16", "uint32", "complex64"),
    *("float8_e4m3fn", "float8_e5m2"),
)
SAFETENSORS_DTYPES = tuple(name for name in TORCH_DTYPES if name != "complex128")


def _raw(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@st.composite
def torch_tensors(draw: Any, dtypes: tuple[str, ...] = TORCH_DTYPES) -> torch.Tensor:
    dtype = getattr(torch, draw(st.sampled_from(dtypes)))
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    size = int(np.prod(shape)) * torch.empty((), dtype=dtype).element_size()
    raw = draw(_raw(size))
    if dtype is torch.bool:
        raw = bytes(byte & 1 for byte in raw)
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.zeros(0, dtype=dtype)
    return flat.reshape(shape)


@st.composite
def arrays(draw: Any) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(NUMPY_DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    raw = draw(_raw(int(np.prod(shape)) * dtype.itemsize))
    if dtype.kind in "?US":
        raw = bytes(byte & 1 if at % 4 == 0 or dtype.kind != "U" else 0 for at, byte in enumerate(raw))
    order = draw(st.sampled_from("CF"))
    return np.frombuffer(raw, dtype).reshape(shape).copy(order)


def _odd_tensors() -> st.SearchStrategy[Any]:
    values = st.lists(st.integers(0, 3).map(float), min_size=4, max_size=4).map(torch.tensor)
    return values.flatmap(
        lambda tensor: st.sampled_from(
            [
                tensor.reshape(2, 2).to_sparse(),
                torch.quantize_per_tensor(tensor, 0.5, 0, torch.quint8),
                torch.quantize_per_tensor(tensor, 0.25, 0, torch.qint8),
                torch.nn.Parameter(tensor),
            ]
        )
    )


@pytest.fixture(autouse=True)
def unknown_network(monkeypatch):
    """No random file is a known network: to find that out would take most of the time."""

    def refuse(*_: object, **__: object) -> None:
        raise Refused("is not a known network")

    monkeypatch.setattr("converters.inspection.diff.recognize", refuse)


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.sampled_from(["x" * 300, "x" * 299 + "y", "é" * 300, b"x" * 300]),
    st.sampled_from(
        [1 + 2j, 1 + 3j, np.float32(0.5), np.float64(0.5), np.int64(3), torch.float16, torch.device("cpu")]
    ),
    st.sampled_from(
        [torch.Size([1]), torch.Size([2]), slice(1, 2), slice(1, 3), {1, 2}, {1, 3}, frozenset({1})]
    ),
    st.sampled_from([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2), datetime.timedelta(1)]),
)
LEAVES = st.one_of(PLAIN, torch_tensors(), arrays(), _odd_tensors())
KEYS = st.one_of(NAMES, st.integers(0, 2), st.sampled_from([None, 1.5, (1, "a")]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(KEYS, inner, max_size=2),
        st.dictionaries(NAMES, inner, max_size=2).map(OrderedDict),
        st.dictionaries(st.sampled_from(["lr", "name"]), inner, max_size=2).map(
            lambda d: argparse.Namespace(**d)
        ),
    ),
    max_leaves=4,
)


def same(a: Any, b: Any) -> bool:
    """Whether two values are alike to the last bit, types included."""
    if isinstance(a, NUMBERS) and isinstance(b, NUMBERS):
        return bool(a == b) or (a != a and b != b)  # of whatever width: NaN is unequal to itself
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return _same_tensors(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, argparse.Namespace):
        return same(vars(a), vars(b))
    return repr(a) == repr(b)


def _same_tensors(a: torch.Tensor, b: torch.Tensor) -> bool:
    if (a.dtype, a.shape, a.layout, a.is_quantized) != (b.dtype, b.shape, b.layout, b.is_quantized):
        return False
    if a.is_sparse:
        a, b = a.coalesce(), b.coalesce()
        return _same_tensors(a.values(), b.values()) and _same_tensors(a.indices(), b.indices())
    if a.is_quantized:
        return (a.q_scale(), a.q_zero_point()) == (b.q_scale(), b.q_zero_point()) and _same_tensors(
            a.int_repr(), b.int_repr()
        )
    raw = [x.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for x in (a, b)]
    return raw[0] == raw[1]


def changed(draw: Any, entries: dict[str, Any], values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """The entries with one of them changed, added, removed or renamed; sometimes as they were."""
    entries = dict(entries)
    how = draw(st.sampled_from(["change", "add", "remove", "rename", "nothing"]))
    name = draw(st.sampled_from(sorted(entries))) if entries else "w"
    if how == "change":
        entries[name] = draw(values)
    elif how == "add":
        entries[draw(NAMES)] = draw(values)
    elif how == "remove":
        entries.pop(name, None)
    elif how == "rename" and entries:
        entries[name + "_"] = entries.pop(name)
    return entries


def check(a: Path, b: Path, alike: bool) -> None:
    """Where the other reader sees a difference, it is seen; where files have the same bytes, none is; and files of
    other bytes are only equal if something is named as not compared."""
    try:
        found = diff(a, b)
    except ConverterError:
        return
    assert alike or not found.same
    if a.is_file():
        identical = a.read_bytes() == b.read_bytes()
        assert not found.same or identical != any(found.not_compared)
        assert found.same or not identical


def flipped(draw: Any, path: Path, to: Path) -> None:
    """A copy with one byte changed."""
    data = bytearray(path.read_bytes())
    at = draw(st.integers(0, len(data) - 1))
    data[at] ^= draw(st.integers(1, 255))
    to.write_bytes(data)


def torch_load(path: Path) -> Any:
    return torch.load(path, weights_only=False)


@examples(400)
@given(data=st.data(), legacy=st.booleans(), protocol=st.sampled_from([2, 4]))
def test_pytorch_files(tmp_path, data, legacy, protocol):
    state = data.draw(st.dictionaries(NAMES, LEAVES, max_size=3)) | {"kept": torch.ones(2)}
    beside = data.draw(st.dictionaries(NAMES, VALUES, max_size=2))
    mutated = [state, beside]
    which = data.draw(st.integers(0, 1))
    mutated[which] = changed(data.draw, mutated[which], VALUES if which else LEAVES)
    mutated[0] |= {"kept": torch.ones(2)}
    paths = tmp_path / "a.pth", tmp_path / "b.pth"
    values = [
        {"state_dict": inner, **outer} if beside or which else inner
        for inner, outer in ((state, beside), mutated)
    ]
    for path, value in zip(paths, values, strict=True):
        torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    try:
        read = [torch_load(path) for path in paths]
    except AttributeError:  # PyTorch cannot read the unsigned integers that it wrote in its old format
        read = values
    check(*paths, same(*read))


@examples(200)
@given(data=st.data(), legacy=st.booleans())
def test_bytes_of_pytorch_files(tmp_path, data, legacy):
    path, other = tmp_path / "a.pth", tmp_path / "b.pth"
    value = {"state_dict": {"w": torch.arange(4.0), "n": torch.tensor(3)}, "epoch": 7, "config": {"lr": 0.1}}
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    flipped(data.draw, path, other)
    try:
        alike = same(torch_load(path), torch.load(other, weights_only=True))
    except Exception:  # whatever a damaged file makes of PyTorch
        return
    check(path, other, alike)


@examples(200)
@given(data=st.data())
def test_safetensors_files(tmp_path, data):
    tensors = torch_tensors(SAFETENSORS_DTYPES)
    a = data.draw(st.dictionaries(NAMES, tensors, max_size=3))
    texts = st.dictionaries(st.sampled_from(["format", "note"]), st.text(max_size=2), max_size=2)
    notes = data.draw(texts), data.draw(texts)
    b = changed(data.draw, a, tensors)
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    read = []
    for path, entries, note in zip(paths, (a, b), notes, strict=True):
        entries = {name: tensor.clone() for name, tensor in entries.items()}
        safetensors.torch.save_file(entries, path, note or None)
        with safetensors.safe_open(path, "pt") as file:
            read.append((safetensors.torch.load_file(path), dict(file.metadata() or {})))
    check(*paths, same(*read))


@examples(200)
@given(data=st.data(), deflated=st.booleans())
def test_npz_files(tmp_path, data, deflated):
    objects = st.sampled_from([np.array([1, "a"], object), np.array([2, "a"], object)])
    structures = st.sampled_from([np.zeros(2, "f4,i4"), np.zeros(2, "i4,f4"), np.ones(2, "f4,i4")])
    values = st.one_of(arrays(), structures, objects)
    a = data.draw(st.dictionaries(NAMES, values, max_size=3))
    b = changed(data.draw, a, values)
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    read = []
    for path, entries in zip(paths, (a, b), strict=True):
        (np.savez_compressed if deflated else np.savez)(path, w0=np.ones(2, "f4"), **entries)
        with np.load(path, allow_pickle=True) as file:
            read.append({name: file[name] for name in file.files})
    check(*paths, _same_arrays(*read))


def _same_arrays(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        (a[name].dtype, a[name].shape, a[name].tolist()) == (b[name].dtype, b[name].shape, b[name].tolist())
        or same(a[name], b[name])
        for name in a
    )


@pytest.fixture
def _forked(monkeypatch):
    fork_libraries(monkeypatch)


@pytest.mark.usefixtures("_forked")
@examples(80)
@given(data=st.data())
def test_hdf5_files(tmp_path, data):
    texts = st.sampled_from(["a", "b"])
    values = st.one_of(arrays().filter(lambda array: array.dtype.kind != "U"), texts)
    attributes = st.dictionaries(
        st.sampled_from(["lr", "b"]), st.one_of(st.integers(0, 2), texts), max_size=2
    )
    a = data.draw(st.dictionaries(NAMES, values, max_size=3))
    b = changed(data.draw, a, values)
    notes = data.draw(attributes), data.draw(attributes)
    paths = tmp_path / "a.h5", tmp_path / "b.h5"
    read = []
    for path, entries, note in zip(paths, (a, b), notes, strict=True):
        with h5py.File(path, "w") as file:
            file["l/W"] = np.ones(2, "f4")
            for name, value in entries.items():
                file[f"l/{name}"] = value
            file["l"].attrs.update(note)
        with h5py.File(path) as file:
            arrays_of = {name: np.asarray(file["l"][name][()]) for name in file["l"]}
            read.append((arrays_of, dict(file["l"].attrs)))
    alike = _same_arrays(read[0][0], read[1][0]) and repr(read[0][1]) == repr(read[1][1])
    check(*paths, alike)


ONNX_DTYPES = ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u2", "u8", "?", "c8"]


@st.composite
def initializers(draw: Any) -> onnx.TensorProto:
    dtype = np.dtype(draw(st.sampled_from(ONNX_DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    raw = draw(_raw(int(np.prod(shape)) * dtype.itemsize))
    array = np.frombuffer(bytes(byte & 1 for byte in raw) if dtype.kind == "b" else raw, dtype).reshape(shape)
    if draw(st.booleans()):
        return numpy_helper.from_array(array, "x")
    return helper.make_tensor("x", helper.np_dtype_to_tensor_dtype(dtype), shape, array.flatten().tolist())


@examples(200)
@given(data=st.data())
def test_onnx_files(tmp_path, data):
    one = st.one_of(
        initializers(), st.sampled_from([helper.make_tensor("x", 8, (1,), [text]) for text in (b"a", b"b")])
    )
    a = data.draw(st.dictionaries(NAMES, st.tuples(st.booleans(), one), max_size=3))
    b = changed(data.draw, a, st.tuples(st.booleans(), one))
    opsets = data.draw(st.sampled_from([(13, 13), (13, 14)]))
    paths = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path, entries, opset in zip(paths, (a, b), opsets, strict=True):
        inside = [
            helper.make_node("Constant", [], [name], value=tensor)
            for name, (node, tensor) in entries.items()
            if node
        ]
        outside = [_named(name, tensor) for name, (node, tensor) in entries.items() if not node]
        kept = numpy_helper.from_array(np.ones(2, "f4"), "kept")
        graph = helper.make_graph(inside, "g", [], [], [kept, *outside])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        path.write_bytes(model.SerializeToString())
    check(*paths, _meant(onnx.load(paths[0])) == _meant(onnx.load(paths[1])))


def _meant(model: onnx.ModelProto) -> list[bytes]:
    """A model with all values in one form."""

    def plain(tensor: onnx.TensorProto) -> None:
        array = numpy_helper.to_array(tensor)
        values = numpy_helper.from_array(array, tensor.name)
        tensor.CopyFrom(values)

    for tensor in model.graph.initializer:
        plain(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            plain(attribute.t)
    tensors = sorted(tensor.SerializeToString() for tensor in model.graph.initializer)
    del model.graph.initializer[:]
    return [*tensors, model.SerializeToString(deterministic=True)]


def _named(name: str, tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _bytes_matter(tmp_path: Path, data: Any, content: bytes, suffix: str) -> None:
    """Any byte of a protocol buffer that is changed makes another file."""
    path, other = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    path.write_bytes(content)
    flipped(data.draw, path, other)
    check(path, other, False)


@examples(200)
@given(data=st.data(), new=st.booleans())
def test_bytes_of_caffe_files(tmp_path, data, new):
    array = np.arange(4, dtype="f4").reshape(2, 2)
    diffs = data.draw(st.sampled_from([None, array + 1]))
    blob = caffe_files.blob(array, diff=diffs)
    layers = [
        message
        for name in ("conv1", "fc")
        for message in [
            caffe_files.new_layer(name, "Convolution", blob)
            if new
            else caffe_files.old_layer(name, 4, caffe_files.blob_v1(array, diff=diffs))
        ]
    ]
    _bytes_matter(tmp_path, data, caffe_files.message(1, b"net") + b"".join(layers), ".caffemodel")


@examples(200)
@given(data=st.data())
def test_bytes_of_onnx_files(tmp_path, data):
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(2, "f4"), "c"))
    weights = [numpy_helper.from_array(np.ones(2, dtype), dtype) for dtype in ("f4", "i1")]
    model = helper.make_model(helper.make_graph([node], "g", [], [], weights), producer_name="x")
    path, other = tmp_path / "a.onnx", tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    flipped(data.draw, path, other)
    try:
        models = [onnx.load(one).SerializeToString(deterministic=True) for one in (path, other)]
    except Exception:  # no protocol buffer any more
        return
    check(path, other, models[0] == models[1])


def _fill(name: str, kind: str, shape: tuple[int, ...], *values: bytes) -> bytes:
    m, n = caffe_files.message, caffe_files.number
    sizes = m(5, m(1, b"shape"), *(n(6, size) for size in shape))
    return m(2, m(2, name.encode()), m(4, kind.encode()), sizes, m(5, m(1, b"values"), *values))


@examples(200)
@given(data=st.data())
def test_bytes_of_caffe2_nets(tmp_path, data):
    weights = _fill("w", "GivenTensorFill", (2,), caffe_files.floats(5, np.ones(2, "f4")))
    shape = _fill("s", "GivenTensorInt64Fill", (2,), caffe_files.number(6, 3), caffe_files.number(6, 4))
    quantised = _fill("q", "Int8GivenTensorFill", (2,), caffe_files.message(4, b"\1\2"))
    net = caffe_files.message(1, b"net") + weights + shape + quantised
    _bytes_matter(tmp_path, data, net, ".pb")


@examples(200)
@given(data=st.data())
def test_pickles_of_blobs(tmp_path, data):
    blobs = st.one_of(arrays(), st.integers(0, 3), st.floats(), st.text(max_size=2))
    a = data.draw(st.dictionaries(NAMES, blobs, max_size=3))
    b = changed(data.draw, a, blobs)
    paths = tmp_path / "a.pkl", tmp_path / "b.pkl"
    for path, entries in zip(paths, (a, b), strict=True):
        path.write_bytes(pickle.dumps({"blobs": {**entries, "kept": np.ones(2, "f4")}, "note": 1}, 2))
    alike = same(*(pickle.loads(path.read_bytes()) for path in paths))
    check(*paths, alike)


TENSORFLOW = {1: 4, 3: 4, 4: 1, 9: 8, 10: 1, 8: 8, 17: 2, 22: 4, 24: 1}
"""Bytes of an element of some of TensorFlow's dtypes, by number: among them complex64, uint16, uint32 and float8."""


@st.composite
def variables(draw: Any) -> tuple[int, tuple[int, ...], bytes]:
    dtype = draw(st.sampled_from(sorted(TENSORFLOW)))
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    raw = draw(_raw(int(np.prod(shape)) * TENSORFLOW[dtype]))
    return dtype, shape, bytes(byte & 1 for byte in raw) if dtype == 10 else raw


@examples(100)
@given(data=st.data())
def test_tensorflow_bundles(tmp_path, data):
    a = data.draw(st.dictionaries(NAMES, variables(), max_size=3))
    b = changed(data.draw, a, variables())
    prefixes = []
    for folder, entries in (("a", a), ("b", b)):
        (tmp_path / folder).mkdir(exist_ok=True)
        content, places = b"", {}
        for name, (dtype, shape, raw) in sorted({**entries, "kept": (1, (2,), bytes(8))}.items()):
            places[name.encode()] = tensorflow_files.entry(shape, len(content), raw, dtype=dtype)
            content += raw
        prefixes.append(tensorflow_files.write_v2(tmp_path / folder, places, content))
    check(*map(type(tmp_path), prefixes), a == b)


V1_FIELDS: dict[int, Callable[[bytes], bytes]] = {
    1: lambda raw: tensorflow_files.message(5, raw),
    9: lambda raw: tensorflow_files.message(10, b"".join(map(tensorflow_files.varint, raw[::8]))),
    8: lambda raw: tensorflow_files.message(9, raw),
}
"""How a TensorProto holds values of float32, int64 and complex64."""


@examples(100)
@given(data=st.data())
def test_tensorflow_tables(tmp_path, data):
    one = variables().filter(lambda variable: variable[0] in V1_FIELDS)
    a = data.draw(st.dictionaries(NAMES, one, max_size=3))
    b = changed(data.draw, a, one)
    paths = []
    for folder, entries in (("a", a), ("b", b)):
        (tmp_path / folder).mkdir(exist_ok=True)
        entries = {**entries, "kept": (1, (2,), bytes(8))}
        whole = {
            name: tensorflow_files.extents(*[None] * len(shape)) for name, (_, shape, _) in entries.items()
        }
        meta = tensorflow_files.v1_meta(
            *((name, dtype, shape, [whole[name]]) for name, (dtype, shape, _) in entries.items())
        )
        slices = [
            tensorflow_files.v1_values(name, whole[name], V1_FIELDS[dtype](raw))
            for name, (dtype, _, raw) in sorted(entries.items())
        ]
        paths.append(tensorflow_files.write_v1(tmp_path / folder, meta, *slices))
    kept = [
        {
            name: (dtype, shape, raw[::8] if dtype == 9 else raw)
            for name, (dtype, shape, raw) in entries.items()
        }
        for entries in (a, b)
    ]
    check(*map(type(tmp_path), paths), kept[0] == kept[1])


@st.composite
def mxnet_arrays(draw: Any) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(mxnet_files.FLAGS)))
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    raw = draw(_raw(int(np.prod(shape)) * dtype.itemsize))
    return np.frombuffer(bytes(byte & 1 for byte in raw) if dtype.kind == "b" else raw, dtype).reshape(shape)


@examples(100)
@given(data=st.data(), version=st.integers(0, 3))
def test_mxnet_files(tmp_path, data, version):
    a = data.draw(st.dictionaries(NAMES, mxnet_arrays(), max_size=3))
    b = changed(data.draw, a, mxnet_arrays())
    paths = tmp_path / "a.params", tmp_path / "b.params"
    for path, entries in zip(paths, (a, b), strict=True):
        path.write_bytes(mxnet_files.params({**entries, "kept": np.ones(2, "f4")}, version))
    check(*paths, same(a, b))


@examples(100)
@given(data=st.data(), protocol=st.sampled_from([2, 4]))
def test_paddle_files(tmp_path, data, protocol):
    values = st.one_of(arrays(), st.integers(0, 3), st.floats(), st.text(max_size=2))
    a = data.draw(st.dictionaries(NAMES, values, max_size=3))
    b = changed(data.draw, a, values)
    tables = data.draw(st.sampled_from([("w_0", "w_0"), ("w_0", "w_1")]))
    paths = tmp_path / "a.pdparams", tmp_path / "b.pdparams"
    for path, entries, known in zip(paths, (a, b), tables, strict=True):
        whole = {**entries, "kept": np.ones(2, "f4"), paddle_files.NAME_TABLE: {"kept": known}}
        path.write_bytes(pickle.dumps(whole, protocol))
    check(*paths, same(*(pickle.loads(path.read_bytes()) for path in paths)))


def _packed(value: Any) -> bytes:
    """What Flax's ``msgpack_serialize`` writes, of the kinds that are drawn here."""
    if isinstance(value, dict):
        pairs = b"".join(_packed(one) for pair in value.items() for one in pair)
        return bytes([0x80 | len(value)]) + pairs
    if isinstance(value, tuple):
        return bytes([0x90 | len(value)]) + b"".join(map(_packed, value))
    if isinstance(value, np.ndarray):
        content = _packed((value.shape, value.dtype.name, value.tobytes()))
        return b"\xc9" + len(content).to_bytes(4, "big") + b"\1" + content
    if isinstance(value, int):
        return b"\xd3" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, str):
        return bytes([0xA0 | len(value.encode())]) + value.encode()
    return b"\xc6" + len(value).to_bytes(4, "big") + value


@examples(100)
@given(data=st.data())
def test_flax_files(tmp_path, data):
    flax = arrays().filter(lambda array: array.dtype.kind not in "US" and array.dtype.isnative)
    values = st.one_of(flax, st.integers(-3, 3), st.text(max_size=2), st.binary(max_size=2))
    a = data.draw(st.dictionaries(NAMES, values, max_size=3))
    b = changed(data.draw, a, values)
    paths = tmp_path / "a.msgpack", tmp_path / "b.msgpack"
    for path, entries in zip(paths, (a, b), strict=True):
        path.write_bytes(_packed({"params": {**entries, "kept": np.ones(2, "f4")}}))
    check(*paths, same(a, b))


def _tree(entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "params": {"Dense_0": {**entries, "kept": np.ones(2, "f4")}, "Dense_1": {"kernel": np.ones(1, "f4")}}
    }


@examples(100)
@given(data=st.data(), protocol=st.sampled_from([2, 4, 5]))
def test_nested_pickles(tmp_path, data, protocol):
    values = st.one_of(arrays(), st.integers(-3, 3), st.floats(), st.text(max_size=2), st.none())
    a = data.draw(st.dictionaries(NAMES, values, max_size=3))
    b = changed(data.draw, a, values)
    paths = tmp_path / "a.pkl", tmp_path / "b.pkl"
    for path, entries in zip(paths, (a, b), strict=True):
        path.write_bytes(pickle.dumps(_tree(entries), protocol))
    check(*paths, same(*(pickle.loads(path.read_bytes()) for path in paths)))


@examples(100)
@given(data=st.data(), protocol=st.sampled_from([2, 4, 5]))
def test_bytes_of_nested_pickles(tmp_path, data, protocol):
    tree = _tree({"kernel": np.arange(4, dtype="f4").reshape(2, 2), "step": 3, "note": "x"})
    path, other = tmp_path / "a.pkl", tmp_path / "b.pkl"
    path.write_bytes(pickle.dumps(tree, protocol))
    flipped(data.draw, path, other)
    try:
        alike = same(tree, pickle.loads(other.read_bytes()))
    except Exception:  # whatever a damaged pickle makes of Python
        return
    check(path, other, alike)


@examples(100)
@given(data=st.data(), deflated=st.booleans(), join=st.sampled_from("/."))
def test_nested_npz_files(tmp_path, data, deflated, join):
    a = data.draw(st.dictionaries(NAMES, arrays(), max_size=3))
    b = changed(data.draw, a, arrays())
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for path, entries in zip(paths, (a, b), strict=True):
        names = {f"params{join}Dense_0{join}{name}": value for name, value in entries.items()}
        names[f"params{join}Dense_0{join}kept"] = np.ones(2, "f4")
        (np.savez_compressed if deflated else np.savez)(path, **names)
    check(*paths, _same_arrays(a, b))


@examples(100)
@given(data=st.data(), deflated=st.booleans())
def test_bytes_of_nested_npz_files(tmp_path, data, deflated):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    names = {"params/Dense_0/kernel": np.ones((2, 2), "f4"), "params/Dense_0/step": np.array(3)}
    (np.savez_compressed if deflated else np.savez)(path, **names)
    flipped(data.draw, path, other)
    try:
        with np.load(other) as file:
            read = {name: file[name] for name in file.files}
    except Exception:  # whatever a damaged file makes of NumPy
        return
    check(path, other, _same_arrays(names, read))


class _Scripted(torch.nn.Module):
    def __init__(self, weight: torch.Tensor, number: int, text: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.number = number
        self.text = text

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.number


class _Other(_Scripted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight - self.number


@pytest.mark.parametrize("change", ["weight", "number", "text", "code", "nothing"])
def test_torchscript_files(tmp_path, change):
    a = _Scripted(torch.ones(2), 1, "a")
    b = (_Other if change == "code" else _Scripted)(
        torch.ones(2) + (change == "weight"), 1 + (change == "number"), "b" if change == "text" else "a"
    )
    paths = tmp_path / "a.pt", tmp_path / "b.pt"
    for path, module in zip(paths, (a, b), strict=True):
        out = io.BytesIO()
        torch.jit.save(torch.jit.script(module), out)
        path.write_bytes(out.getvalue())
    found = diff(*paths)
    assert found.same == (change == "nothing")
    assert len(found.rows) == 1
