"""A network's settings that an ONNX graph declares and no tensor shows: batch-norm eps, the stem's stride and pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.graph import Node
    from converters.tensor import Tensor

LARGEST_EPS = 1.0
"""Of a batch norm. Larger ones hide the variance; the largest in use is 0.001 (TensorFlow)."""

LARGEST_STRIDE = 1024
"""Of a convolution or a pool: no clip is longer than that many strides."""

_WITH_STRIDES = {
    "Conv": "convolution",
    "ConvTranspose": "convolution",
    "MaxPool": "pool",
    "AveragePool": "pool",
}


def declared_settings(
    nodes: Sequence[Node], inputs: Sequence[str], tensors: Mapping[str, Tensor], path: str
) -> dict[str, Any]:
    """``bn_eps``, where all batch norms have the same; ``pool1`` and ``stem_stride``, read off the chain of nodes
    from a clip to where the graph first branches. Raises `BadInput` for values that no network can have."""
    _check_strides(nodes, path)
    declared: dict[str, Any] = {}
    eps = set(norm_eps(nodes, path).values())
    if len(eps) == 1:
        declared["bn_eps"] = eps.pop()
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for name in inputs:
        declared |= _stem_settings(name, readers, tensors, path)
    return declared


def _check_strides(nodes: Sequence[Node], path: str) -> None:
    for node in nodes:
        strides = node.attributes.get("strides") if node.kind in _WITH_STRIDES else None
        fits = isinstance(strides, (tuple, list)) and all(0 < size <= LARGEST_STRIDE for size in strides)
        if strides is not None and not fits:
            text = (
                ", ".join(map(str, strides[:3]))
                if isinstance(strides, (tuple, list))
                else "that are not a list"
            )
            raise BadInput(
                f"has a {_WITH_STRIDES[node.kind]} with strides {text}",
                path=path,
                where=short_name(_name(node)),
            )


def _name(node: Node) -> str:
    return node.outputs[0] if node.outputs else ""


def norm_eps(nodes: Sequence[Node], path: str) -> dict[str, float]:
    """The eps of every batch norm, by its node's first output. Raises `BadInput` for one that no norm can have."""
    found = {}
    for node in nodes:
        if node.kind == "BatchNormalization":
            name = _name(node)
            eps = node.attributes.get("epsilon", 1e-5)
            if not isinstance(eps, float) or not 0 <= eps <= LARGEST_EPS:
                value = eps if isinstance(eps, (int, float)) else "that is not a number"
                raise BadInput(f"has a batch norm with eps {value}", path=path, where=short_name(name))
            # Stored as float32: the shortest decimal that is the same there is what was meant.
            found[name] = float(f"{eps:.6g}")
    return found


def refuse_different_eps(nodes: Sequence[Node], path: str) -> None:
    """Raise `Refused` for a network whose batch norms differ in eps: those that others are converted to have one."""
    eps = norm_eps(nodes, path)
    values = list(eps.values())
    usual = max(set(values), key=values.count, default=0.0)
    for name, value in eps.items():
        if value != usual:
            raise Refused(
                f"has a batch norm with eps {value:g} where most have {usual:g}; a network here has one eps",
                path=path,
                where=short_name(name),
                hint="convert it with a mapping file of your own, and build its norms with these eps",
            )


def _stem_settings(
    name: str, readers: Mapping[str, Sequence[Node]], tensors: Mapping[str, Tensor], path: str
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
            if isinstance(strides, (tuple, list)) and strides:
                stride *= int(strides[0])
        pool = pool or node.kind == "MaxPool"
        if not node.outputs:
            break
        name = node.outputs[0]
    return {"pool1": pool, "stem_stride": stride} if is_clip else {}
