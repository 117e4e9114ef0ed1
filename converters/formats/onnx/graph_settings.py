"""What a graph tells of its network that no tensor does: batch-norm eps, the stem's stride in time, its pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.onnx.graph import Node
    from converters.tensor import Tensor

    from .reader import OnnxNode


def told_by(
    nodes: Sequence[OnnxNode | Node], inputs: Sequence[str], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """``bn_eps``, where all batch norms have the same; ``pool1`` and ``stem_stride``, read off the chain of nodes
    from a clip to where the graph first branches."""
    found: dict[str, Any] = {}
    eps = {node.attributes.get("epsilon", 1e-5) for node in nodes if node.kind == "BatchNormalization"}
    if len(eps) == 1:
        # Stored as float32: the shortest decimal that is the same there is what was meant.
        found["bn_eps"] = float(f"{eps.pop():.6g}")
    readers: dict[str, list[OnnxNode | Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for name in inputs:
        stride, pool, clip = 1, False, False
        while len(readers.get(name, ())) == 1:
            (node,) = readers[name]
            if node.kind == "Conv" and node.inputs[1] in tensors:
                clip = clip or len(tensors[node.inputs[1]].shape) == 5
                strides = node.attributes.get("strides")
                stride *= int(strides[0]) if isinstance(strides, (tuple, list)) else 1
            pool = pool or node.kind == "MaxPool"
            name = node.outputs[0]
        if clip:
            found |= {"pool1": pool, "stem_stride": stride}
    return found
