"""What the real libraries read in a checkpoint: one line of JSON for each array, with its name and a hash of its bytes.

    python scripts/real_libraries.py KIND FILE

It runs in an environment that has the library and imports nothing of the project. Names are those of the library;
dictionaries within dictionaries are joined by dots. The kinds are those of ``real_files.toml``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Arrays = Iterator[tuple[str, np.ndarray]]


def torch_tensors(path: str) -> Arrays:
    """A file of `torch.save`."""
    import torch

    return _walked(torch.load(path, map_location="cpu", weights_only=True), "")


def torchscript_tensors(path: str) -> Arrays:
    """Parameters, buffers and other attributes of a TorchScript archive's modules. PyTorch lists the latter only in
    what it prints of a module."""
    import torch

    loaded = torch.jit.load(path, map_location="cpu")
    yield from _walked(dict(loaded.state_dict()), "")
    for prefix, module in loaded.named_modules():
        printed = module._c.dump_to_str(code=False, attrs=True, params=False).partition("  methods {")[0]
        for name in re.findall(r"^    (\w+) = \[ *\w+Type\{", printed, re.MULTILINE):
            yield from _walked(module._c.getattr(name), f"{prefix}.{name}" if prefix else name)


def _walked(value: Any, name: str) -> Arrays:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walked(item, f"{name}.{key}" if name else str(key))
    elif hasattr(value, "detach"):
        yield name, value.detach().contiguous().numpy()


def safetensors_tensors(path: str) -> Arrays:
    """A file of safetensors."""
    from safetensors.numpy import load_file

    yield from load_file(path).items()


def onnx_tensors(path: str) -> Arrays:
    """The initialisers of a model's graph."""
    import onnx
    from onnx import numpy_helper

    for tensor in onnx.load(path).graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)


def numpy_arrays(path: str) -> Arrays:
    """The members of an ``.npz``."""
    with np.load(path, allow_pickle=False) as members:
        yield from members.items()


def one_array(path: str) -> Arrays:
    """An ``.npy``."""
    yield "mean", np.load(path, allow_pickle=False)


def caffe_blobs(path: str) -> Arrays:
    """The blobs of every layer, as ``layer/number``, by Google's protobuf library."""
    net = _message("NetParameter", path)
    for layer in (*net.layers, *net.layer):
        for number, blob in enumerate(layer.blobs):
            yield f"{layer.name}/{number}", _blob(blob)


def caffe_mean(path: str) -> Arrays:
    """A mean file."""
    yield "mean", _blob(_message("BlobProto", path))


def _blob(blob: Any) -> np.ndarray:
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    return np.array(blob.data, np.float32).reshape(shape)


# The fields of Caffe's messages that hold weights: name, number, type, and how often.
_FIELDS = {
    "BlobShape": [("dim", 1, "int64", "packed")],
    "BlobProto": [
        ("num", 1, "int32", ""),
        ("channels", 2, "int32", ""),
        ("height", 3, "int32", ""),
        ("width", 4, "int32", ""),
        ("data", 5, "float", "packed"),
        ("shape", 7, "BlobShape", ""),
    ],
    "V1LayerParameter": [("name", 4, "string", ""), ("blobs", 6, "BlobProto", "repeated")],
    "LayerParameter": [("name", 1, "string", ""), ("blobs", 7, "BlobProto", "repeated")],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", "repeated"),
        ("layer", 100, "LayerParameter", "repeated"),
    ],
}


def _message(name: str, path: str) -> Any:
    """A file as one of Caffe's messages."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="weights.proto", package="caffe", syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for field, number, kind, label in fields:
            entry = described.field.add(name=field, number=number, label=3 if label else 1)
            if kind in _FIELDS:
                entry.type, entry.type_name = 11, f".caffe.{kind}"
            else:
                entry.type = {"float": 2, "int64": 3, "int32": 5, "string": 9}[kind]
            if label == "packed":
                entry.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))()
    with open(path, "rb") as opened:
        made.ParseFromString(opened.read())
    return made


def caffe2_blobs(path: str) -> Arrays:
    """The blobs that an init net fills, by Caffe2 itself, which is in PyTorch 1.8."""
    from caffe2.proto import caffe2_pb2
    from caffe2.python import workspace

    net = caffe2_pb2.NetDef()
    with open(path, "rb") as opened:
        net.ParseFromString(opened.read())
    workspace.RunNetOnce(net)
    for name in workspace.Blobs():
        yield name, workspace.FetchBlob(name)


def tensorflow_variables(path: str) -> Arrays:
    """A checkpoint of V1 by its file, one of V2 by its index, a SavedModel by its graph."""
    import tensorflow as tf

    path = re.sub(r"saved_model\.pb$", "variables/variables", path)
    reader = tf.train.load_checkpoint(path.removesuffix(".index"))
    for name in reader.get_variable_to_shape_map():
        yield name, reader.get_tensor(name)


READERS: dict[str, Callable[[str], Arrays]] = {
    "torch": torch_tensors,
    "torchscript": torchscript_tensors,
    "safetensors": safetensors_tensors,
    "onnx": onnx_tensors,
    "numpy": numpy_arrays,
    "array": one_array,
    "caffe": caffe_blobs,
    "caffe-mean": caffe_mean,
    "caffe2": caffe2_blobs,
    "tensorflow": tensorflow_variables,
}


def main() -> None:
    """Print what the library reads."""
    kind, path = sys.argv[1:3]
    for name, value in READERS[kind](path):
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            continue
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        print(json.dumps([name, array.dtype.name, list(array.shape), digest]))


if __name__ == "__main__":
    main()
