"""Files that grow in what only one format has, and tables of a user's own: see `growing_files`."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.helpers import caffe_files, mxnet_files, tensorflow_files
from tests.helpers.growing_files import ONE, entries, onnx_graph, safetensors, written

if TYPE_CHECKING:
    from collections.abc import Callable


def pth(folder: Path, instructions: bytes) -> Path:
    """A checkpoint with a tensor, and with what these instructions of a pickle leave beside it."""
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.zeros(2)}, "config": "here"}, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(folder / "a.pth", "w") as changed:
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename.endswith("data.pkl"):
                assert content.count(HERE) == 1
                content = content.replace(HERE, instructions)
            changed.writestr(info.filename, content)
    return folder / "a.pth"


HERE = b"X\x04\0\0\0here"


def shared_tuples(folder: Path, n: int) -> Path:
    """Tuples, each of the one before twice: 2**n values in 2 n bytes."""
    return pth(folder, b"K\x01" + b"2\x86" * n)


def shared_lists(folder: Path, n: int) -> Path:
    return pth(folder, b"]" + b"r\xff\xff\0\0](j\xff\xff\0\0j\xff\xff\0\0e" * n)


def shared_keys(folder: Path, n: int) -> Path:
    return pth(folder, b"}K\x01" + b"2\x86" * n + b"K\x01s")


def nested_lists(folder: Path, n: int) -> Path:
    return pth(folder, b"]" * n + b"a" * (n - 1))


def nested_tuples(folder: Path, n: int) -> Path:
    return pth(folder, b"K\x01" + b"\x85" * n)


def nested_dictionaries(folder: Path, n: int) -> Path:
    return pth(folder, b"}U\x01a" * n + b"K\x01" + b"s" * n)


def nested_state(folder: Path, n: int) -> Path:
    """A state dict in n dictionaries."""
    import torch

    state: Any = {"weight": torch.zeros(2)}
    for _ in range(n):
        state = {"model": state}
    torch.save(state, folder / "a.pth")
    return folder / "a.pth"


def other_values(folder: Path, n: int) -> Path:
    import torch

    content = {"state_dict": {"a.weight": torch.zeros(2)}, "config": {f"k{i}": [i, str(i)] for i in range(n)}}
    torch.save(content, folder / "a.pth")
    return folder / "a.pth"


def state_dicts(folder: Path, n: int) -> Path:
    import torch

    torch.save({f"model{i}": {"a.weight": torch.zeros(2)} for i in range(n)}, folder / "a.pth")
    return folder / "a.pth"


def one_list(folder: Path, n: int) -> Path:
    """One list of many appended values."""
    return pth(folder, b"](" + b"K\x01" * n + b"e")


def one_list_often(folder: Path, n: int) -> Path:
    """One list that is there n times."""
    return pth(folder, b"](" + b"K\x01" * n + b"er\xff\xff\0\0](" + b"j\xff\xff\0\0" * n + b"e\x86")


def long_text(folder: Path, n: int) -> Path:
    return pth(folder, b"X" + (1000 * n).to_bytes(4, "little") + b"a" * 1000 * n)


def long_number(folder: Path, n: int) -> Path:
    return pth(folder, b"\x8b" + (100 * n).to_bytes(4, "little") + b"\x01" * 100 * n)


def long_decimal(folder: Path, n: int) -> Path:
    return pth(folder, b"I" + b"7" * n + b"\n")


def memoised(folder: Path, n: int) -> Path:
    puts = b"".join(b"K\x01r" + (i * 1000).to_bytes(4, "little") + b"0" for i in range(n))
    return pth(folder, puts + b"N")


def axes_of_pth(folder: Path, n: int) -> Path:
    import torch

    torch.save({"a.weight": torch.zeros((1,) * min(n, 60)), "b": tuple(range(n))}, folder / "a.pth")
    return folder / "a.pth"


def zip_members(folder: Path, n: int) -> Path:
    with zipfile.ZipFile(pth(folder, b"N"), "a") as archive:
        for i in range(n):
            archive.writestr(f"archive/data/x{i}", b"1234")
    return folder / "a.pth"


def metadata(folder: Path, n: int) -> Path:
    return safetensors(folder, entries(8), {f"key{i}": f"v{i}" for i in range(n)})


def metadata_text(folder: Path, n: int) -> Path:
    return safetensors(folder, entries(8), {"format": "p" * n * 1000})


def record_nested(folder: Path, n: int) -> Path:
    text = '{"a":[' * n + "1" + "]}" * n
    return safetensors(folder, entries(8), {"provenance": text})


def record_rows(folder: Path, n: int) -> Path:
    """A record that says something of each tensor."""
    record = {
        "tool": {"name": "video-checkpoint-converters", "version": "0"},
        "source": {"name": "a", "container": "b"},
        "mapping": {"layout": "vmz"},
        "tensors": {name: {"crc32": "00000000", "from": name} for name in entries(n)},
        "notes": [f"note {i}" for i in range(n)],
    }
    return safetensors(folder, entries(8), {"provenance": json.dumps(record)})


def axes(folder: Path, n: int) -> Path:
    header = {
        f"a{i}.weight": {"dtype": "F32", "shape": [1] * n, "data_offsets": [4 * i, 4 * i + 4]}
        for i in range(9)
    }
    text = json.dumps(header).encode()
    return written(folder / "a.safetensors", len(text).to_bytes(8, "little") + text + bytes(36))


def shards(folder: Path, n: int) -> Path:
    names = {f"layer{i}.weight": ONE for i in range(n)}
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "a.safetensors")}
    safetensors(folder, names)
    return written(folder / "model.safetensors.index.json", json.dumps(index).encode())


# ONNX


def _initializers(n: int) -> list[TensorProto]:
    return [numpy_helper.from_array(ONE, f"w{i}") for i in range(n)]


def nodes(folder: Path, n: int) -> Path:
    made = [helper.make_node("Add", [f"x{i}" if i else "x", "w0"], [f"x{i + 1}"]) for i in range(n)]
    return onnx_graph(folder, made, _initializers(1))


def convolutions(folder: Path, n: int) -> Path:
    made = [
        helper.make_node("Conv", [f"x{i}" if i else "x", f"w{i}"], [f"x{i + 1}"], name=f"conv{i}")
        for i in range(n)
    ]
    kernels = [numpy_helper.from_array(np.ones((1, 1, 1, 1, 1), "f4"), f"w{i}") for i in range(n)]
    return onnx_graph(folder, made, kernels)


def norms(folder: Path, n: int) -> Path:
    made, weights = [], []
    for i in range(n):
        names = [f"bn{i}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        weights += [numpy_helper.from_array(ONE, name) for name in names]
        made.append(helper.make_node("BatchNormalization", [f"x{i}", *names], [f"x{i + 1}"], name=f"bn{i}"))
    return onnx_graph(folder, made, weights)


def identities(folder: Path, n: int) -> Path:
    """A weight under n names, one after the other."""
    made = [helper.make_node("Identity", [f"w{i}"], [f"w{i + 1}"]) for i in range(n)]
    made.append(helper.make_node("Add", ["x", f"w{n}"], ["y"]))
    return onnx_graph(folder, made, _initializers(1))


def cycle(folder: Path, n: int) -> Path:
    made = [helper.make_node("Identity", [f"v{i}"], [f"v{(i + 1) % n}"]) for i in range(n)]
    return onnx_graph(folder, made, _initializers(1))


def diamonds(folder: Path, n: int) -> Path:
    """2**n ways through n nodes."""
    made = [helper.make_node("Add", [f"x{i}"] * 2, [f"x{i + 1}"]) for i in range(n)]
    made += [helper.make_node("Add", [f"w{i}"] * 2, [f"w{i + 1}"]) for i in range(n)]
    return onnx_graph(folder, made, _initializers(1))


def constants(folder: Path, n: int) -> Path:
    made = [
        helper.make_node("Constant", [], [f"c{i}"], value=numpy_helper.from_array(ONE, "c")) for i in range(n)
    ]
    return onnx_graph(folder, made, _initializers(1))


def attributes(folder: Path, n: int) -> Path:
    made = [helper.make_node("Add", ["x", "w0"], ["y"], **{f"a{i}": i for i in range(n)})]
    return onnx_graph(folder, made, _initializers(1))


def inputs(folder: Path, n: int) -> Path:
    return onnx_graph(folder, [helper.make_node("Concat", ["w0"] * n, ["y"], axis=0)], _initializers(1))


def attribute_lists(folder: Path, n: int) -> Path:
    made = [helper.make_node("Constant", [], ["c"], value_ints=list(range(n)))]
    return onnx_graph(folder, made, _initializers(1))


def branches(folder: Path, n: int) -> Path:
    """Graphs in nodes, ten deep."""
    made = []
    for i in range(n // 10):
        inner = helper.make_graph([], "g", [], [], _initializers(1))
        for _ in range(10):
            node = helper.make_node("If", ["x"], [f"y{i}"], then_branch=inner)
            inner = helper.make_graph([node], "g", [], [], _initializers(1))
        made += inner.node
    return onnx_graph(folder, made, _initializers(1))


def functions(folder: Path, n: int) -> Path:
    """Functions, each of which calls the one before twice: 2**n calls."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    made = []
    for i in range(n):
        call = f"f{i - 1}" if i else "Identity"
        body = [helper.make_node(call, ["a"], [name], domain="f" if i else "") for name in ("b", "c")]
        made.append(helper.make_function("f", f"f{i}", ["a"], ["b"], body, opset))
    graph = helper.make_graph(
        [helper.make_node(f"f{n - 1}", ["w0"], ["y"], domain="f")], "g", [], [], _initializers(1)
    )
    model = helper.make_model(graph, functions=made, opset_imports=opset)
    return written(folder / "a.onnx", model.SerializeToString())


def dimensions(folder: Path, n: int) -> Path:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1] * n, [1.0])
    return onnx_graph(folder, [], [tensor])


def typed_values(folder: Path, n: int) -> Path:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [n], [1.0] * n)
    return onnx_graph(folder, [], [tensor])


# Caffe, MXNet, TensorFlow, Caffe2


def caffe_blobs(folder: Path, n: int) -> Path:
    layer = caffe_files.new_layer("conv", "Convolution", *[caffe_files.blob(ONE)] * n)
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + layer)


def caffe_unpacked(folder: Path, n: int) -> Path:
    array = np.ones(n, "f4")
    layer = caffe_files.new_layer("conv", "Convolution", caffe_files.blob(array, packed=False))
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + layer)


def caffe_twins(folder: Path, n: int) -> Path:
    """Layers of one name."""
    layer = caffe_files.new_layer("conv", "Convolution", caffe_files.blob(ONE))
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + layer * n)


def caffe_norms(folder: Path, n: int) -> Path:
    layers = b"".join(
        caffe_files.new_layer(f"bn{i}", "BatchNorm", *[caffe_files.blob(ONE)] * 2, caffe_files.blob(ONE[:1]))
        for i in range(n)
    )
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + layers)


def mxnet_unnamed(folder: Path, n: int) -> Path:
    return written(folder / "a.params", mxnet_files.listed([mxnet_files.array(ONE)] * n, []))


def tensorflow_slices(folder: Path, n: int) -> Path:
    """A variable that is stored in n pieces."""
    pieces = [tensorflow_files.extents((i, 1)) for i in range(n)]
    meta = tensorflow_files.v1_meta(("w", 1, (n,), pieces))
    slices = (
        tensorflow_files.v1_values(
            "w",
            piece,
            tensorflow_files.number(1, 1),
            tensorflow_files.message(2, tensorflow_files.shape_proto((1,))),
            tensorflow_files.message(5, bytes(4)),
        )
        for piece in pieces
    )
    return Path(tensorflow_files.write_v1(folder, meta, *slices))


def averages(folder: Path, n: int) -> Path:
    names = [f"l{i}/w{end}".encode() for i in range(n // 2) for end in ("", "/ExponentialMovingAverage")]
    rows = {name: tensorflow_files.entry((2,), 8 * i, bytes(8)) for i, name in enumerate(names)}
    tensorflow_files.write_v2(folder, rows, bytes(8 * len(names)))
    return folder / "m.index"


# NumPy, Flax, pickles of other frameworks


def npy_header(folder: Path, n: int) -> Path:
    """The header of an array with many axes."""
    shape = "(" + "1," * (n + 100) + ")"
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-len(head) % 64) + b"\n"
    data = b"\x93NUMPY\x02\x00" + len(head).to_bytes(4, "little") + head + bytes(4)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", data)
    return written(folder / "a.npz", buffer.getvalue())


def npy_fields(folder: Path, n: int) -> Path:
    array = np.zeros(1, [(f"f{i}", "<f4") for i in range(n)])
    np.savez(folder / "a.npz", a=array)
    return folder / "a.npz"


def msgpack_nested(folder: Path, n: int) -> Path:
    return written(folder / "a.msgpack", b"\x81\xa1a" * n + b"\x01")


def msgpack_lists(folder: Path, n: int) -> Path:
    return written(folder / "a.msgpack", b"\x81\xa1a" + b"\x91" * n + b"\x01")


def msgpack_chunks(folder: Path, n: int) -> Path:
    import msgpack

    piece = msgpack.ExtType(1, msgpack.packb(((1,), "float32", bytes(4))))
    chunked = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": n},
        "chunks": {str(i): piece for i in range(n)},
    }
    return written(folder / "a.msgpack", msgpack.packb({"params": {"a": chunked}}))


def deep_pickle(folder: Path, n: int) -> Path:
    """An array in n dictionaries."""
    inner = pickle.dumps(ONE, 2)[2:-1]
    return written(folder / "a.pkl", b"\x80\x02" + b"}U\x01a" * n + inner + b"s" * n + b".")


FILES: dict[str, Callable[[Path, int], Path]] = {
    name: function
    for name, function in list(globals().items())
    if getattr(function, "__module__", "") == __name__ and not name.startswith("_") and name != "pth"
}
