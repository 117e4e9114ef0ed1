"""Turn a file's own Caffe2 net (its ``predict_net``) into a source network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.formats.onnx.graph_settings import declared_settings
from converters.source_graphs.networks import vmz
from converters.source_graphs.operators import caffe2

from .net import SourceNet, SourceOp
from .translation import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.graph import Caffe2Net, Graph, Node
    from converters.tensor import Tensor


def described_net(predict_net: Caffe2Net, tensors: Mapping[str, Tensor]) -> SourceNet:
    """A ``predict_net`` over the blobs that its init net fills. Blocks have the labels of VMZ's networks where its
    blobs have their names.

    Raises `Refused` for a net of which an input goes into no convolution, so that its shape is not known.
    """
    ops = tuple(SourceOp(op.kind, op.inputs, op.outputs, op.args) for op in predict_net.ops)
    made = {name for op in ops for name in op.outputs}
    inputs: dict[str, tuple[int | str, ...]] = {}
    for name in predict_net.inputs:
        if name in tensors or name in inputs:
            continue
        weight = next((op.inputs[1] for op in ops if op.kind == "Conv" and op.inputs[:1] == (name,)), "")
        if weight not in tensors:
            raise Refused("the net takes an input of no known shape", where=name)
        _, channels, *kernel = tensors[weight].shape
        inputs[name] = ("N", channels, *("T", "H", "W")[-len(kernel) :])
    if not predict_net.outputs or predict_net.outputs[-1] not in made:
        raise Refused("the net computes no output")
    vmz_net = vmz.recognise({name: tensor.shape for name, tensor in tensors.items()}, {})
    blocks = {label: name for label, name in (vmz_net.blocks if vmz_net else {}).items() if name in made}
    blocks.pop("logits", None)
    return SourceNet(
        name=predict_net.name or "net",
        framework="Caffe2",
        ops=ops,
        inputs=inputs,
        blocks={**blocks, "logits": predict_net.outputs[-1]},
    )


def declared_by(predict_net: Caffe2Net, tensors: Mapping[str, Tensor], path: str) -> dict[str, Any]:
    """The settings that a ``predict_net`` declares (`declared_settings`); none if it has operators that cannot be
    translated to ONNX. Raises `Refused` as `described_net` does, and `BadInput` as `declared_settings` does."""
    graph = _graph(predict_net, tensors)
    return declared_settings(graph.nodes, tuple(graph.inputs), tensors, path) if graph else {}


def nodes_of(predict_net: Caffe2Net, tensors: Mapping[str, Tensor]) -> Sequence[Node]:
    """The operators of a ``predict_net`` as ONNX has them; none if there are some that ONNX has not."""
    graph = _graph(predict_net, tensors)
    return graph.nodes if graph else ()


def _graph(predict_net: Caffe2Net, tensors: Mapping[str, Tensor]) -> Graph | None:
    net = described_net(predict_net, tensors)
    try:
        return translate(net, caffe2.VOCABULARY, tensors)
    except Refused:
        return None
