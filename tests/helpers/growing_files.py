"""Files of every format whose size is a number, and which grow in one direction: entries, depth, names, axes."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.helpers import caffe_files, mxnet_files, tensorflow_files
from tests.helpers.paddle_files import NAME_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = Mapping[str, np.ndarray]

ONE = np.arange(2, dtype=np.float32)


# The names of n arrays, or of a few whose names have n parts or letters.


def entries(n: int) -> Arrays:
    return {f"layer{index // 8}.block{index % 8}.weight": ONE for index in range(n)}


def numbered(n: int) -> Arrays:
    """Names without any part in common."""
    return {f"{index:x}": ONE for index in range(n)}


def branching(n: int) -> Arrays:
    """Names with as many different beginnings as they have parts."""
    return {".".join(f"{index}{part}" for part in "abcdefgh"): ONE for index in range(n // 8)}


def parts(n: int) -> Arrays:
    """Names of n parts, as far as all formats take them."""
    return {".".join("a" * (n // 2)) + end: ONE for end in (".weight", ".bias", ".b.weight")}


def letters(n: int) -> Arrays:
    return {"a" * n + end: ONE for end in (".weight", ".bias", ".b.weight")}


def digits(n: int) -> Arrays:
    return {"1" * n + end: ONE for end in (".weight", ".bias", ".b.weight")}


NAMES: dict[str, Callable[[int], Arrays]] = {
    "entries": entries,
    "numbered": numbered,
    "branching": branching,
    "parts": parts,
    "letters": letters,
    "digits": digits,
}


# Files of arrays by name, one function for each format


def safetensors(folder: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> Path:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    return written(
        folder / "a.safetensors",
        struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()),
    )


def pytorch(folder: Path, arrays: Arrays) -> Path:
    import torch

    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, folder / "a.pth")
    return folder / "a.pth"


def pytorch_legacy(folder: Path, arrays: Arrays) -> Path:
    import torch

    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save(state, folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


def pytorch_pickled(folder: Path, arrays: Arrays) -> Path:
    """A zip archive with arrays of numpy in it."""
    import torch

    torch.save({"model": dict(arrays), "epoch": 3}, folder / "a.pth")
    return folder / "a.pth"


def tensorflow(folder: Path, arrays: Arrays) -> Path:
    entries, data = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        entries[name.replace(".", "/").encode()] = tensorflow_files.entry(array.shape, len(data), raw)
        data += raw
    tensorflow_files.write_v2(folder, entries, data)
    return folder / "m.index"


def tensorflow_v1(folder: Path, arrays: Arrays) -> Path:
    whole = tensorflow_files.extents(None)
    meta = tensorflow_files.v1_meta(*((name, 1, array.shape, [whole]) for name, array in arrays.items()))
    slices = (
        tensorflow_files.v1_values(
            name,
            whole,
            tensorflow_files.number(1, 1),
            tensorflow_files.message(2, tensorflow_files.shape_proto(array.shape)),
            tensorflow_files.message(5, array.tobytes()),
        )
        for name, array in arrays.items()
    )
    return Path(tensorflow_files.write_v1(folder, meta, *slices))


def onnx(folder: Path, arrays: Arrays) -> Path:
    return onnx_graph(folder, [], [numpy_helper.from_array(array, name) for name, array in arrays.items()])


def onnx_graph(folder: Path, nodes: list[Any], initializers: list[Any]) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "g", [value], [value], initializers)
    return written(folder / "a.onnx", helper.make_model(graph).SerializeToString())


def paddle(folder: Path, arrays: Arrays) -> Path:
    content = {**arrays, NAME_TABLE: {name: name for name in arrays}}
    return written(folder / "a.pdparams", pickle.dumps(content, 4))


def caffe2(folder: Path, arrays: Arrays) -> Path:
    return written(folder / "a.pkl", pickle.dumps({"blobs": dict(arrays)}, 2))


def caffe(folder: Path, arrays: Arrays) -> Path:
    layers = (caffe_files.new_layer(name, "Scale", caffe_files.blob(array)) for name, array in arrays.items())
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + b"".join(layers))


def caffe_old(folder: Path, arrays: Arrays) -> Path:
    layers = (caffe_files.old_layer(name, 4, caffe_files.blob_v1(array)) for name, array in arrays.items())
    return written(folder / "a.caffemodel", caffe_files.message(1, b"net") + b"".join(layers))


def mxnet(folder: Path, arrays: Arrays) -> Path:
    return written(
        folder / "a.params", mxnet_files.params({f"arg:{name}": array for name, array in arrays.items()})
    )


def npz(folder: Path, arrays: Arrays) -> Path:
    np.savez(folder / "a.npz", **{name.replace(".", "/"): array for name, array in arrays.items()})
    return folder / "a.npz"


def hdf5(folder: Path, arrays: Arrays) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[name.replace(".", "/")] = array
    return folder / "a.h5"


def msgpack(folder: Path, arrays: Arrays) -> Path:
    import msgpack as packer

    def packed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: packed(inner) for key, inner in value.items()}
        return packer.ExtType(1, packer.packb((value.shape, value.dtype.name, value.tobytes())))

    return written(
        folder / "a.msgpack", packer.packb({name: packed(array) for name, array in arrays.items()})
    )


def nested_pickle(folder: Path, arrays: Arrays) -> Path:
    return written(folder / "a.pkl", pickle.dumps(({"params": dict(arrays)}, None), 4))


FORMATS: dict[str, Callable[[Path, Arrays], Path]] = {
    "safetensors": safetensors,
    "pth": pytorch,
    "pth-legacy": pytorch_legacy,
    "pth-pickled": pytorch_pickled,
    "tensorflow": tensorflow,
    "tensorflow-v1": tensorflow_v1,
    "onnx": onnx,
    "pdparams": paddle,
    "pickle": caffe2,
    "caffe": caffe,
    "caffe-old": caffe_old,
    "mxnet": mxnet,
    "npz": npz,
    "hdf5": hdf5,
    "flax-msgpack": msgpack,
    "nested-pickle": nested_pickle,
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
