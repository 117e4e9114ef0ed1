"""C3D as a list of Caffe's layers, by its prototxts (facebookarchive/C3D 71336a2, both forks), over Caffe's blobs or
Chainer's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.graph import SourceNet, SourceOp

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shape = tuple[int, ...]

_LEAVES = (("0", "1"), ("W", "b"))
"""What weight and bias are called in Caffe and in Chainer."""


def network(blobs: Mapping[str, Shape]) -> SourceNet | None:
    """The test net over ``blobs`` (``conv1a/0`` or ``SCOPE/conv1a/W`` ... to shape), with the second convolutions
    of the later stages where they are there. The Sports-1M net's last layers are ``fc6-1`` ... .
    None if the blobs are not C3D's: no layer is called ``conv1a``.
    """
    for weight, bias in _LEAVES:
        for name in blobs:
            if name.endswith(f"conv1a/{weight}"):
                return _network(blobs, name.removesuffix(f"conv1a/{weight}"), weight, bias)
    return None


def _network(blobs: Mapping[str, Shape], scope: str, weight: str, bias: str) -> SourceNet:
    ops: list[SourceOp] = []
    blocks: dict[str, str] = {}

    def layer(kind: str, x: str, name: str, leaves: tuple[str, ...] = (), **args: Any) -> str:
        read = tuple(f"{scope}{name}/{leaf}" for leaf in leaves)
        ops.append(SourceOp(kind, (x, *read), (name,), args))
        return name

    def relu(name: str) -> str:
        ops.append(SourceOp("ReLU", (name,), (name,), {}))
        return name

    own = (weight, bias)
    x = "data"
    for stage, letters in enumerate(("a", "a", "ab", "ab", "ab"), 1):
        for letter in letters:
            name = f"conv{stage}{letter}"
            if letter == "a" or f"{scope}{name}/{weight}" in blobs:
                x = blocks[name] = relu(layer("Convolution", x, name, own, pad=(1, 1, 1)))
        window = (1 if stage == 1 else 2, 2, 2)
        x = blocks[f"pool{stage}"] = layer(
            "Pooling", x, f"pool{stage}", pool="MAX", kernel=window, stride=window
        )
    for label in ("fc6", "fc7", "fc8"):
        for name in (label, f"{label}-1"):
            if f"{scope}{name}/{weight}" in blobs:  # else there are convolutions only
                x = layer("InnerProduct", x, name, own)
                blocks["logits" if label == "fc8" else label] = x if label == "fc8" else relu(x)
    channels = blobs[f"{scope}conv1a/{weight}"][1]
    framework = "Caffe" if weight == "0" else "Chainer"
    return SourceNet("c3d", framework, tuple(ops), {"data": ("N", channels, "T", "H", "W")}, blocks)
