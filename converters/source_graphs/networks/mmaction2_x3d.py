"""X3D as mmaction2 (1.2.0) computes it: the whole last map is averaged before the two linear layers."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPS = 1e-5
"""Of every batch norm: PyTorch's default."""

STEM = "backbone.conv1_s.conv.weight"
"""The tensor that only this network has."""


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape), or None if they are not mmaction2's X3D."""
    scope = next((name.removesuffix(STEM) for name in tensors if name.endswith(STEM)), None)
    return None if scope is None else _X3D(tensors, scope).network()


class _X3D(NetBuilder):
    def network(self) -> SourceNet:
        """The whole network."""
        x = self.conv("data", "backbone.conv1_s.conv", 2)
        x = self.block("stem", self.relu(self.unit(x, "backbone.conv1_t")))
        for stage in range(1, 5):
            blocks = (f"backbone.layer{stage}.{place}" for place in count())
            for name in takewhile(lambda name: f"{name}.conv1.conv.weight" in self.shapes, blocks):
                x = self.block(name.removeprefix("backbone."), self.residual(x, name))
        x = self.block("conv5", self.relu(self.unit(x, "backbone.conv5")))
        x = self.block("pool", self.op("average", [x], "cls_head/pool"))
        x = self.op("linear", [x, "cls_head.fc1.weight"], "cls_head/fc1")
        x = self.block("lin5", self.relu(x))
        x = self.op("linear", [x, "cls_head.fc2.weight", "cls_head.fc2.bias"], "cls_head/fc2")
        self.blocks |= {"window_logits": x, "logits": x}
        channels = self.shapes[STEM][1]
        return self.net("mmaction2_x3d", "PyTorch", {"data": ("N", channels, "T", "H", "W")})

    def residual(self, x: str, name: str) -> str:
        """A bottleneck around a depthwise convolution; the first of a stage has the stride."""
        stride = 2 if name.endswith(".0") else 1
        out = self.unit(self.relu(self.unit(x, f"{name}.conv1")), f"{name}.conv2", stride)
        if f"{name}.se_module.fc1.weight" in self.shapes:
            out = self.squeezed(out, f"{name}.se_module")
        swish = self.op("mul", [out, self.op("sigmoid", [out], f"{out}/sigmoid")], f"{out}/swish")
        out = self.unit(swish, f"{name}.conv3")
        if f"{name}.downsample.conv.weight" in self.shapes:
            x = self.unit(x, f"{name}.downsample", stride)
        return self.relu(self.op("add", [out, x], f"{name}/sum"))

    def squeezed(self, x: str, name: str) -> str:
        """Every channel times a gate that the means of all channels decide."""
        gate = self.relu(self.conv(self.op("average_map", [x], f"{name}/pool"), f"{name}.fc1"))
        gate = self.op("sigmoid", [self.conv(gate, f"{name}.fc2")], f"{name}/gate")
        return self.op("mul", [x, gate], f"{name}/out")

    def unit(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution and its norm."""
        leaves = [f"{name}.bn.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        return self.op("batch_norm", [self.conv(x, f"{name}.conv", stride), *leaves], f"{name}/out", eps=EPS)

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution padded by half of its kernel, with a stride over rows and columns; a depthwise one has one
        input channel."""
        outputs, inputs, *kernel = self.shapes[f"{name}.weight"]
        groups = outputs if inputs == 1 < outputs and name != "backbone.conv1_s.conv" else 1
        read = [x, f"{name}.weight"] + [f"{name}.bias"] * (f"{name}.bias" in self.shapes)
        sizes = {"stride": (1, stride, stride), "padding": [size // 2 for size in kernel], "groups": groups}
        return self.op("conv", read, f"{name}/map", **sizes)

    def relu(self, x: str) -> str:
        return self.op("relu", [x], f"{x}/relu")


SOURCE = SourceRecord(layouts=("mmaction2",), recognise=recognise)
