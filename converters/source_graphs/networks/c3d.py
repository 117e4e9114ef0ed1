"""C3D as a list of Caffe's layers, by its prototxts (facebookarchive/C3D 71336a2, both forks), over Caffe's blobs or
Chainer's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

_FRAMEWORKS = {("0", "1"): "Caffe", ("W", "b"): "Chainer"}
"""Each framework by its words for weight and bias."""


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test net over ``blobs`` (``conv1a/0`` or ``SCOPE/conv1a/W`` ... to shape), with the second convolutions
    of the later stages where they are there. The Sports-1M net's last layers are ``fc6-1`` ... .
    None if the blobs are not C3D's: no layer is called ``conv1a``.
    """
    for (weight, bias), framework in _FRAMEWORKS.items():
        for name in blobs:
            if name.endswith(f"conv1a/{weight}"):
                build = _Builder(blobs, name.removesuffix(f"conv1a/{weight}"))
                return build.c3d(weight, bias, framework)
    return None


class _Builder(NetBuilder):
    def c3d(self, weight: str, bias: str, framework: str) -> SourceNet:
        """The whole network; ``weight`` and ``bias`` are the framework's words for a layer's tensors."""
        x = "data"
        for stage, letters in enumerate(("a", "a", "ab", "ab", "ab"), 1):
            for letter in letters:
                name = f"conv{stage}{letter}"
                if letter == "a" or f"{name}/{weight}" in self.shapes:
                    read = [x, f"{name}/{weight}", f"{name}/{bias}"]
                    x = self.block(name, self.relu(self.op("Convolution", read, name, pad=(1, 1, 1))))
            window = (1 if stage == 1 else 2, 2, 2)
            x = self.block(self.op("Pooling", [x], f"pool{stage}", pool="MAX", kernel=window, stride=window))
        for label in ("fc6", "fc7", "fc8"):
            for name in (label, f"{label}-1"):
                if f"{name}/{weight}" in self.shapes:  # the file may hold only the convolutions
                    x = self.op("InnerProduct", [x, f"{name}/{weight}", f"{name}/{bias}"], name)
                    x = self.block("logits", x) if label == "fc8" else self.block(label, self.relu(x))
        channels = self.shapes[f"conv1a/{weight}"][1]
        return self.net("c3d", framework, {"data": ("N", channels, "T", "H", "W")})

    def relu(self, x: str) -> str:
        """In place."""
        return self.op("ReLU", [x], x)


SOURCE = SourceRecord(layouts=("c3d", "c3d-chainer"), recognise=recognise)
