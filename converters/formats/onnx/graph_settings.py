"""A network's settings that an ONNX graph declares and no tensor shows: batch-norm eps, the stem's stride and pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.graph import Node
    from converters.tensor import Tensor


def declared_settings(
    nodes: Sequence[Node], inputs: Sequence[str], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """``bn_eps``, where all batch norms have the same; ``pool1`` and ``stem_stride``, read off the chain of nodes
    from a clip to where the graph first branches."""
    declared: dict[str, Any] = {}
    eps = {node.attributes.get("epsilon", 1e-5) for node in nodes if node.kind == "BatchNormalization"}
    if len(eps) == 1:
        # Stored as float32: the shortest decimal that is the same there is what was meant.
        declared["bn_eps"] = float(f"{eps.pop():.6g}")
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for name in inputs:
        declared |= _stem_settings(name, readers, tensors)
    return declared


def _stem_settings(
    name: str, readers: Mapping[str, Sequence[Node]], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The stem's settings on the way from the input ``name``; empty if no convolution there is 3D."""
    stride, pool, is_clip = 1, False, False
    seen: set[str] = set()  # a damaged graph may lead in a circle
    while len(readers.get(name, ())) == 1 and name not in seen:
        seen.add(name)
        (node,) = readers[name]
        weight = node.inputs[1] if len(node.inputs) > 1 else ""
        if node.kind == "Conv" and weight in tensors:
            is_clip = is_clip or len(tensors[weight].shape) == 5
            strides = node.attributes.get("strides")
            stride *= int(strides[0]) if isinstance(strides, (tuple, list)) else 1
        pool = pool or node.kind == "MaxPool"
        if not node.outputs:
            break
        name = node.outputs[0]
    return {"pool1": pool, "stem_stride": stride} if is_clip else {}
