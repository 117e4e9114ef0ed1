"""What the Caffe2 networks of video-nonlocal-net and PySlowFast share: operators and blob names.

They have bottlenecks in four stages, non-local blocks between them, and a classifier over windows of the last map.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .net import NetBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .net import Shape

EPSILON = 1e-5
"""The epsilon of every SpatialBN."""

STAGES = (2, 3, 4, 5)
"""The stages of residual blocks, as the papers number them."""

SLOWFAST_ONLY = ("conv1_xy_w", "t_conv1_w")
"""Blobs that only PySlowFast's networks have: X3D's stem and that of a fast pathway."""

_HEAD = re.compile(r"(gpu_\d+/|)pred_w")


def scope_of(blobs: Mapping[str, Shape]) -> str | None:
    """The prefix of these networks' blobs: a GPU's, or empty. None for blobs of other networks, which lack the
    classifier ``pred`` or the batch norm ``res_conv1_bn``."""
    match = next(filter(None, (_HEAD.fullmatch(name) for name in blobs)), None)
    return match[1] if match and f"{match[1]}res_conv1_bn_s" in blobs else None


class Bottlenecks(NetBuilder):
    """Builds these networks."""

    def conv(
        self, x: str, name: str, strides: Iterable[int] = (1, 1, 1), *, dilation: int = 1, group: int = 1
    ) -> str:
        """A convolution padded by half of its kernel, dilated in rows and columns."""
        kernel = self.shapes[f"{name}_w"][2:]
        weights = [f"{name}_w"] + [f"{name}_b"] * (f"{name}_b" in self.shapes)
        dilations = (1, dilation, dilation)
        pads = [size // 2 * by for size, by in zip(kernel, dilations, strict=True)] * 2
        more = {"dilations": dilations} if dilation > 1 else {}
        return self.op(
            "Conv", [x, *weights], name, kernels=kernel, strides=strides, pads=pads, group=group, **more
        )

    def norm(self, x: str, name: str) -> str:
        """Batch norm."""
        leaves = [f"{name}_{leaf}" for leaf in ("s", "b", "rm", "riv")]
        return self.op("SpatialBN", [x, *leaves], name, epsilon=EPSILON)

    def relu(self, x: str) -> str:
        """A ReLU in place."""
        return self.op("Relu", [x], x)

    def stage(
        self, x: str, number: int, step: int, *, path: str = "", label: str = "", dilation: int = 1
    ) -> str:
        """All blocks of one stage, the first with the stride ``step`` in rows and columns. Their blobs' names begin
        with ``path`` and their end points' with ``label``."""
        place = 0
        while f"{path}res{number}_{place}_branch2a_w" in self.shapes:
            x = self.residual(x, f"{path}res{number}_{place}", 1 if place else step, dilation)
            self.block(f"{label}layer{number - 1}.{place}", x)
            name = f"{path}nonlocal_conv{number}_{place}"
            if f"{name}_theta_w" in self.shapes:
                x = self.block(f"{label}layer{number - 1}.nonlocal{place}", self.nonlocal_block(x, name))
            place += 1
        return x

    def residual(self, x: str, name: str, step: int, dilation: int = 1) -> str:
        """A bottleneck; the stride is that of its middle and of the projection."""
        shortcut, strides = x, (1, step, step)
        out = self.relu(self.norm(self.conv(x, f"{name}_branch2a"), f"{name}_branch2a_bn"))
        out = self.middle(out, f"{name}_branch2b", strides, dilation)
        out = self.norm(self.conv(out, f"{name}_branch2c"), f"{name}_branch2c_bn")
        if f"{name}_branch1_w" in self.shapes:
            shortcut = self.norm(self.conv(x, f"{name}_branch1", strides), f"{name}_branch1_bn")
        return self.relu(self.op("Sum", [out, shortcut], out))

    def middle(self, x: str, name: str, strides: tuple[int, ...], dilation: int) -> str:
        """A bottleneck's 3x3 convolution and what follows it."""
        return self.relu(self.norm(self.conv(x, name, strides, dilation=dilation), f"{name}_bn"))

    def nonlocal_block(
        self, x: str, name: str, *, pool: tuple[int, ...] = (1, 2, 2), softmax: bool = True
    ) -> str:
        """A non-local block: every position attends to the pooled positions. Its weights are the softmax of the scaled
        affinities, or the affinities divided by their number."""
        inner = self.shapes[f"{name}_theta_w"][0]
        theta = self.conv(x, f"{name}_theta")
        pooled = self.op("MaxPool", [x], f"{name}_pool", kernels=pool, strides=pool)
        phi, g = self.conv(pooled, f"{name}_phi"), self.conv(pooled, f"{name}_g")
        for value in (theta, phi, g):
            self.op("Reshape", [value], value, f"{value}_shape5d", shape=(0, inner, -1))
        affinity = self.op("BatchMatMul", [theta, phi], f"{name}_affinity", trans_a=1)
        if softmax:
            self.op("Scale", [affinity], affinity, scale=inner**-0.5)
            likely = self.op("Softmax", [affinity], f"{name}_affinity_prob", axis=2)
        else:
            count = self.op("Shape", [affinity], f"{name}_count", axes=(2,))
            count = self.op("Cast", [count], f"{name}_count_float", to="float")
            likely = self.op("Div", [affinity, count], f"{name}_affinity_mean")
        y = self.op("BatchMatMul", [g, likely], f"{name}_y", trans_b=1)
        self.op("Reshape", [y, f"{theta}_shape5d"], y, f"{name}_y_shape3d")
        out = self.conv(y, f"{name}_out")
        if f"{name}_bn_s" in self.shapes:
            out = self.norm(out, f"{name}_bn")
        return self.op("Sum", [x, out], f"{name}_sum")

    def windows(self, x: str, name: str, window: int) -> str:
        """The means over all frames of every window of ``window`` rows and columns."""
        x = self.op(
            "AveragePool", [x], f"{name}_{window}x{window}", kernels=(1, window, window), strides=(1, 1, 1)
        )
        return self.op("ReduceMean", [x], name, axes=(2,), keepdims=1)
