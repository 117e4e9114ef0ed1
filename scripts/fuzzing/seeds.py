"""Small right files of every format: the tests' fixtures, and a few that are written here."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from tests.helpers.caffe_files import blob, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST = 200_000
"""Bytes of a seed: what is larger takes long, and has no further kinds of bytes."""

MANIFEST = """\
[defaults]
output = "out/{to}/{stem}.pth"
[[convert]]
source = "vmz"
input = "*.pkl"
to = ["vmz-pt", "mmaction2"]
settings = { pool1 = false }
check = true
"""
MAPPING = """\
[from]
format = "caffe2-pickle"
drop = ["*_momentum", "lr"]
[to]
format = "pytorch"
[index.block]
n = "0-3"
s = "1*2 2*2"
b = "0-1 0-1"
[tensors]
"comp_{n}_w" = "layer{s}.{b}.weight"
"last_w" = { to = "fc.weight", axes = "O (H W C) -> O (C H W)", sizes = { H = 7, W = 7 } }
[to.constants]
"bn.weight" = { value = 1.0, like = "bn.bias" }
"""


class Seed(NamedTuple):
    """A file: ``kind`` is its format's folder, ``files`` are its parts by name, of which the first is opened and
    mutated most."""

    kind: str
    files: dict[str, bytes]


def seeds(fixtures: Path) -> Iterator[Seed]:
    """All seeds, in a fixed order."""
    for path in sorted(fixtures.rglob("*")):
        if not path.is_file() or path.name.endswith((".md", ".json")):
            continue
        kind = path.relative_to(fixtures).parts[0]
        if kind == "tensorflow":
            if path.name.endswith(".index"):
                shards = path.parent.glob(f"{path.stem}.data-*")
                yield Seed(
                    kind, {path.name: path.read_bytes()} | {p.name: p.read_bytes() for p in sorted(shards)}
                )
            elif path.name.endswith("_v1.ckpt"):
                yield Seed(kind, {path.name: path.read_bytes()})
        elif path.name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist())[::8]:
                    yield Seed(kind, {name.rpartition("/")[2]: archive.read(name)})
        else:
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            if len(content) <= LARGEST:
                kind = "hdf5" if path.suffix == ".h5" else kind
                yield Seed(kind, {path.name.removesuffix(".gz"): content})
    yield from _written()


def _written() -> Iterator[Seed]:
    import numpy as np

    yield Seed("manifest", {"zoo.toml": MANIFEST.encode()})
    yield Seed("mapping", {"mine.toml": MAPPING.encode()})
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    buffer = io.BytesIO()
    np.savez(buffer, a=array, b=array.T, c=np.int64(3))
    yield Seed("arrays", {"arrays.npz": buffer.getvalue()})
    yield Seed("safetensors", {"a.safetensors": _safetensors(array)})
    yield Seed("caffe", {"a.caffemodel": _caffe(array)})
    yield Seed("onnx", {"a.onnx": _onnx(array)})


def networks() -> Iterator[Seed]:
    """A whole network, 12 MB: what only happens once a file is known."""
    from converters.mapping.layout_tables import load_layout
    from tests.helpers import layout_weights
    from tests.helpers.tensorflow_files import HEADER, entry, table

    variant = layout_weights.variant("movinet-a0-base")
    data, rows = bytearray(), {b"": HEADER}
    for name, tensor in layout_weights.seeded(load_layout("movinet"), variant).items():
        content = tensor.tobytes()
        dtype = 1 if tensor.dtype == "float32" else 9
        rows[name.encode()] = entry(tensor.shape, len(data), content, dtype=dtype)
        data += content
    yield Seed(
        "tensorflow",
        {"movinet.index": table(sorted(rows.items())), "movinet.data-00000-of-00001": bytes(data)},
    )


def _safetensors(array) -> bytes:  # noqa: ANN001 - numpy is imported late
    import json

    header = {
        "__metadata__": {"format": "pt", "provenance": json.dumps({"tool": "x", "source": {"name": "a"}})},
        "conv.weight": {"dtype": "F32", "shape": [2, 3, 4], "data_offsets": [0, array.nbytes]},
        "conv.bias": {"dtype": "F32", "shape": [6], "data_offsets": [array.nbytes, array.nbytes + 24]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + array.tobytes() + bytes(24)


def _caffe(array) -> bytes:  # noqa: ANN001
    stored = message(7, blob(array))
    layer = message(1, b"conv1") + message(2, b"Convolution") + stored * 2
    norm = message(1, b"bn1") + message(2, b"BatchNorm") + stored * 3
    return message(1, b"net") + message(100, layer) + message(100, norm)


def _onnx(array) -> bytes:  # noqa: ANN001
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(array, "w"), helper.make_tensor("s", TensorProto.FLOAT16, [2], [1, 2])]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["y"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array[0], "c")),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 4])
    graph = helper.make_graph(nodes, "g", [value], [out], weights)
    return bytes(onnx.ModelProto.SerializeToString(helper.make_model(graph)))
