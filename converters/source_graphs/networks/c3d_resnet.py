"""C3D-v1.1's ResNet as a list of Caffe's layers, by its prototxts (facebookarchive/C3D 71336a2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-5
"""Caffe's default ``batch_norm_param.eps``."""


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test net over ``blobs`` (``conv1/0``, ``bn_conv1/0`` ... to shape), or None if they are not its own: no
    layer is called ``res2a_branch2a``. Blocks are res2a, res2b, ... of stages 2 to 5, a projection where there is a
    ``branch1``."""
    if "res2a_branch2a/0" not in blobs:
        return None
    build = _Builder(blobs)
    x = build.block("stem", build.relu(build.norm(build.conv("data", "conv1", (1, 2, 2)), "_conv1")))
    for stage in (2, 3, 4, 5):
        letters = [letter for letter in "abcdefghij" if f"res{stage}{letter}_branch2a/0" in blobs]
        for place, letter in enumerate(letters):
            x = build.residual(x, f"{stage}{letter}", 2 if stage > 2 and place == 0 else 1)
            build.block(f"layer{stage - 1}.{place}", x)
    x = build.block("pool", build.op("Pooling", [x], "pool5", pool="AVE", global_pooling=True))
    build.block("logits", build.op("InnerProduct", [x, "fc8/0", "fc8/1"], "fc8"))
    inputs = {"data": ("N", blobs["conv1/0"][1], "T", "H", "W")}
    return build.net("c3d_resnet", "Caffe", inputs)


class _Builder(NetBuilder):
    def relu(self, x: str) -> str:
        return self.op("ReLU", [x], x)

    def conv(self, x: str, name: str, stride: tuple[int, ...]) -> str:
        """A convolution without bias, padded by half of its kernel."""
        pad = tuple(size // 2 for size in self.shapes[f"{name}/0"][2:])
        return self.op("Convolution", [x, f"{name}/0"], name, stride=stride, pad=pad)

    def norm(self, x: str, suffix: str) -> str:
        """A BatchNorm and the Scale after it, both in place."""
        self.op("BatchNorm", [x, *(f"bn{suffix}/{index}" for index in range(3))], x, eps=EPSILON)
        return self.op("Scale", [x, f"scale{suffix}/0", f"scale{suffix}/1"], x, axes=3)

    def residual(self, x: str, name: str, step: int) -> str:
        """Two convolutions, the first with the stride, and the sum with the block's input or its projection."""
        stride = (step,) * 3
        shortcut = x
        if f"res{name}_branch1/0" in self.shapes:
            shortcut = self.norm(self.conv(x, f"res{name}_branch1", stride), f"{name}_branch1")
        out = self.relu(self.norm(self.conv(x, f"res{name}_branch2a", stride), f"{name}_branch2a"))
        out = self.norm(self.conv(out, f"res{name}_branch2b", (1, 1, 1)), f"{name}_branch2b")
        return self.relu(self.op("Eltwise", [shortcut, out], f"res{name}"))


SOURCE = SourceRecord(layouts=("c3d",), recognise=recognise)
