"""Writes ONNX files: the graph through the package onnx, then the weights, streamed in chunks.

Fields of onnx.proto: ModelProto has graph 7 and metadata_props 14 (key 1, value 2); GraphProto has initializer 5;
TensorProto has dims 1, data_type 2, name 8 and raw_data 9. A message's fields may come in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.errors import Refused
from converters.formats.graph import IR_VERSION, OPSET
from converters.formats.io.crc32 import crc32_function
from converters.formats.io.protobuf_writer import head, message, number

from .runtime import require_onnx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.format import Content
    from converters.formats.graph import Graph
    from converters.formats.io.crc32 import Crc32
    from converters.formats.io.output_stream import Output, Sink
    from converters.tensor import Tensor

_LIMIT = (1 << 31) - 1
"""Bytes: protobuf reads no more."""

_TYPES = {"float32": 1, "int64": 7}


def write_onnx(
    out: Sink,
    graph: Graph,
    *,
    crc: Crc32 | None = None,
    metadata: Callable[[Sequence[int]], Mapping[str, str]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a graph with its weights as one file, opset 18.

    ``metadata`` gives texts to add at the end, from the CRC-32 of each weight's bytes, in order.

    Raises `Refused` for a weight that is not float32 and a file of 2 GiB or more, `ConverterError` where the package
    onnx is not installed.
    """
    model, body = _messages(graph)
    parts: list[bytes | Tensor] = []
    for tensor in graph.weights.values():
        start = b"".join(number(1, size) for size in tensor.shape) + number(2, _type(tensor))
        start += message(8, tensor.name.encode()) + head(9, tensor.nbytes)
        parts += [head(5, len(start) + tensor.nbytes) + start, tensor]
    size = len(body) + sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    if size + len(model) > _LIMIT:
        raise Refused(
            f"an ONNX file of {size:,} bytes could not be read: protobuf takes less than 2 GiB",
            hint="write another format",
        )
    out.write(model + head(7, size) + body)
    sums = []
    for part in parts:
        if isinstance(part, bytes):
            out.write(part)
            continue
        value = 0
        for chunk in part.data.chunks():
            out.write(chunk)
            if crc is not None:
                value = crc(chunk, value)
            if progress is not None:
                progress(len(chunk))
        sums.append(value)
    for key, text in (metadata(sums) if metadata else {}).items():
        out.write(message(14, message(1, key.encode()) + message(2, text.encode())))


def _type(tensor: Tensor) -> int:
    if tensor.dtype not in _TYPES:
        raise Refused(
            f"an ONNX file is written in float32, not {tensor.dtype}",
            where=tensor.name,
            hint="cast it, as with --dtype float32",
        )
    return _TYPES[tensor.dtype]


def _messages(graph: Graph) -> tuple[bytes, bytes]:
    """The model without its graph, and the graph without its weights, as onnx's full check accepts them. The check
    needs only names and shapes of the weights, so they are not loaded."""
    onnx = require_onnx()
    helper = onnx.helper
    nodes = [
        helper.make_node(node.kind, node.inputs, node.outputs, **node.attributes) for node in graph.nodes
    ]
    # As nodes, so that all initializers are the source's.
    constants = [
        helper.make_node(
            "Constant",
            [],
            [tensor.name],
            value=helper.make_tensor(
                tensor.name, _TYPES[tensor.dtype], tensor.shape, tensor.tobytes(), raw=True
            ),
        )
        for tensor in graph.constants.values()
    ]

    def values(shapes: Mapping[str, Sequence[int | str]]) -> list[Any]:
        floats = _TYPES["float32"]
        return [helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()]

    def model(body: Any) -> Any:
        return helper.make_model(
            body,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="video-checkpoint-converters",
            producer_version=__version__,
        )

    inputs = values(graph.inputs)
    # What an output's shape is, onnx says; the weights stand in as inputs, by their shapes.
    weights = values({tensor.name: tensor.shape for tensor in graph.weights.values()})
    unknown = [helper.make_empty_tensor_value_info(name) for name in graph.outputs]
    draft = model(helper.make_graph(constants + nodes, graph.name, inputs + weights, unknown))
    draft = onnx.shape_inference.infer_shapes(draft, strict_mode=True, data_prop=True)
    onnx.checker.check_model(draft, full_check=True)
    outputs = draft.graph.output
    body = helper.make_graph(constants + nodes, graph.name, inputs, outputs)
    bare = model(body)
    bare.ClearField("graph")
    return bare.SerializeToString(deterministic=True), body.SerializeToString(deterministic=True)


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a model with the provenance in its metadata."""
    (out,) = outputs
    graph = content.graph()
    places = {name: place for place, name in enumerate(graph.weights)}
    names = [tensor.name for tensor in content.tensors]
    write_onnx(
        out,
        graph,
        crc=crc32_function(),
        progress=content.progress,
        metadata=lambda crcs: {"provenance": content.provenance([crcs[places[name]] for name in names])},
    )
