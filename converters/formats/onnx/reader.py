"""Reads ONNX models: their weights, which stay in the file or in files beside it, and their nodes.

Nothing is executed, and no files outside the model's folder are opened. Fields of ModelProto in onnx.proto:
ir_version 1, producer_name 2, graph 7, opset_import 8 (domain 1, version 2), metadata_props 14, training_info 20
(initialization 1, algorithm 2) and functions 25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.protobuf_reader import BYTES, VARINT, Field, Wire
from converters.record import Record
from converters.tensor import Tensor

from .graphs import GraphReader, weights
from .tensors import TensorReader, pair

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.graph import Node

    from .tensors import Stored

_VERSIONS = 64  # of the format itself; there have been fourteen
_FUNCTIONS = 10_000
_METADATA = 64 * 1024 * 1024


class OnnxModel(Record):
    """The contents of a model.

    ``tensors`` are its weights, in the file's order: initializers of floating types, or in a model without any the
    constants of several values. Those in the graph of a node have its first output and the attribute in front of their
    names. ``others`` are all other tensors: shapes, axes, quantised values. ``inputs`` are the inputs to feed
    (older exporters list initializers among them: these are left out). ``opset`` is the version of ONNX's own
    operators, 0 where the file has none; ``files`` are the open files of external data.
    """

    tensors: dict[str, Tensor]
    others: dict[str, Stored]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    producer: str
    metadata: dict[str, str]
    files: tuple[SourceFile, ...]


def is_onnx(file: SourceFile) -> bool:
    """Whether a protocol buffer is an ONNX model, even a damaged one: a small version number, then texts, a graph and
    opsets. Caffe's files start with a text, with two numbers, or with the large number of an iteration."""
    try:
        for field in Wire(file).fields(0, file.size):
            if field.number == 1:
                if field.wire != VARINT or not 0 < field.value <= _VERSIONS:
                    return False
            elif field.number in (7, 8):
                return field.wire == BYTES
            elif field.number != 5 and field.wire != BYTES:
                return False
    except BadInput:
        return file.size > 1 and file.read_at(0, 1) == b"\x08" and 0 < file.read_at(1, 1)[0] <= _VERSIONS
    return False


def read_onnx(file: SourceFile) -> OnnxModel:
    """Read the names, shapes and offsets of all weights.

    Raises `BadInput` for a damaged file, a name that occurs twice, values that do not fill their shape, sparse
    weights, and external data outside the model's folder.
    """
    tensors = TensorReader(Wire(file))
    try:
        return _model(file, tensors)
    except BaseException:
        for external in tensors.external.values():
            external.close()
        raise


def _model(file: SourceFile, tensors: TensorReader) -> OnnxModel:
    wire = tensors.wire
    graphs = GraphReader(wire, tensors)
    producer, opset = "", 0
    metadata: dict[str, str] = {}
    graph: Field | None = None
    functions: list[Field] = []
    training: list[Field] = []
    for field in wire.fields(0, file.size):
        if field.number == 2:
            producer = wire.text(field)
        elif field.number == 7:
            if graph is not None:
                raise wire.damaged("has two graphs", field.offset)
            graph = field
        elif field.number == 8:
            parts = {inner.number: inner for inner in wire.inside(field)}
            if 1 not in parts or not wire.text(parts[1]):  # ONNX's own domain
                opset = parts[2].value if 2 in parts else 0
        elif field.number == 14:
            key, value = pair(wire, field, _METADATA)
            metadata[key] = value
        elif field.number in (20, 25):
            if len(functions) + len(training) == _FUNCTIONS:
                raise wire.damaged(f"has more than {_FUNCTIONS:,} functions", field.offset)
            (functions if field.number == 25 else training).append(field)
    if graph is None:
        raise BadInput("is an ONNX model without a graph", path=file.path)
    graphs.graph(graph)
    for field in functions:
        graphs.function(field)
    for place, field in enumerate(training):
        for inner in wire.inside(field):
            if inner.number in (1, 2):
                graphs.graph(inner, f"training_info/{place}/{inner.number}/")
    found = graphs.found
    if not found.count:
        raise BadInput("holds no weights", path=file.path, hint="it describes a network only")
    named = weights(found)
    everything = {**found.initializers, **found.constants}
    return OnnxModel(
        tensors={
            name: Tensor(name, one.dtype, one.shape, one.data)
            for name, one in everything.items()
            if name in named and one.data is not None
        },
        others={name: one for name, one in everything.items() if name not in named},
        nodes=tuple(found.nodes),
        inputs=tuple(name for name in found.inputs if name not in found.initializers),
        outputs=tuple(found.outputs),
        opset=opset,
        producer=producer,
        metadata=metadata,
        files=tuple(tensors.external.values()),
    )
