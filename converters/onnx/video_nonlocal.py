"""The networks of facebookresearch/video-nonlocal-net as lists of Caffe2's operators, by its builders (c253ed5).

Names and shapes leave open which of its models it is: that has to be said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .graph import SourceNet, SourceOp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Shape = tuple[int, ...]

EPSILON = 1e-5
"""Of every SpatialBN."""

MODELS = {"8x8": 1, "32x4": 1, "32x2": 2, "128x1": 2}
"""The releases, and what their stem and the pool behind it do in time: nothing, or halve it each."""

_HEAD = re.compile(r"(gpu_\d+/|)pred_w")
_IMAGE = 4
"""Axes of a convolution over single frames."""

_GROUP = 4
"""Frames that a non-local block of res3 takes at a time in the affine nets."""


def network(blobs: Mapping[str, Shape], *, model: str = "") -> SourceNet | None:
    """The test net over ``blobs`` (name to shape; solver state is left alone), or None if they are not
    video-nonlocal-net's: they have no classifier ``pred`` or no norm ``res_conv1_bn``, they are of a network
    over single frames, or ``model`` is another project's (PySlowFast has the same names).

    ``model`` is a key of `MODELS`. Raises `Refused` without one, and if a blob is missing.
    """
    found = next(filter(None, (_HEAD.fullmatch(name) for name in blobs)), None)
    if found is None or f"{found[1]}res_conv1_bn_s" not in blobs:
        return None
    if model and model not in MODELS:  # another project's, with the same names
        return None
    if len(blobs.get(f"{found[1]}conv1_w", ())) == _IMAGE:  # ImageNet's network, which training begins with
        return None
    if not model:
        raise Refused(
            "the blobs are those of several models of video-nonlocal-net",
            where=", ".join(MODELS),
            hint="say which with --variant",
        )
    scope = found[1]
    build = _Builder({name.removeprefix(scope): shape for name, shape in blobs.items()}, scope)
    try:
        return build.net(MODELS[model])
    except KeyError as error:
        raise Refused(f"is no network of video-nonlocal-net: it has no blob {error}") from None


class _Builder:
    def __init__(self, blobs: Mapping[str, Shape], scope: str) -> None:
        self.blobs = blobs
        self.scope = scope
        self.affine = "res_conv1_bn_riv" not in blobs
        self.ops: list[SourceOp] = []
        self.blocks: dict[str, str] = {}

    def op(self, kind: str, inputs: Iterable[str], *outputs: str, **args: Any) -> str:
        read = tuple(self.scope + name if name in self.blobs else name for name in inputs)
        self.ops.append(SourceOp(kind, read, outputs, args))
        return outputs[0]

    def conv(self, x: str, name: str, strides: tuple[int, ...] = (1, 1, 1)) -> str:
        """A convolution padded by half of its kernel."""
        kernel = self.blobs[f"{name}_w"][2:]
        weights = [f"{name}_w"] + [f"{name}_b"] * (f"{name}_b" in self.blobs)
        pads = [size // 2 for size in kernel] * 2
        return self.op("Conv", [x, *weights], name, kernels=kernel, strides=strides, pads=pads)

    def norm(self, x: str, name: str) -> str:
        """Batch norm, or in the affine nets what is left of it."""
        if self.affine:
            return self.op("AffineNd", [x, f"{name}_s", f"{name}_b"], name)
        leaves = [f"{name}_{leaf}" for leaf in ("s", "b", "rm", "riv")]
        return self.op("SpatialBN", [x, *leaves], name, epsilon=EPSILON)

    def relu(self, x: str) -> str:
        return self.op("Relu", [x], x)

    def pool(self, x: str, name: str, kernels: tuple[int, ...], strides: tuple[int, ...]) -> str:
        return self.op("MaxPool", [x], name, kernels=kernels, strides=strides)

    def net(self, step: int) -> SourceNet:
        """All of it; ``step`` is the stride in time of the stem, and again of the pool behind it."""
        x = self.relu(self.norm(self.conv("data", "conv1", (step, 2, 2)), "res_conv1_bn"))
        self.blocks["stem"] = x
        x = self.blocks["pool1"] = self.pool(x, "pool1", (step, 3, 3), (step, 2, 2))
        for stage in (2, 3, 4, 5):
            number = 0
            while f"res{stage}_{number}_branch2a_w" in self.blobs:
                x = self.residual(x, f"res{stage}_{number}", 2 if stage > 2 and number == 0 else 1)
                self.blocks[f"layer{stage - 1}.{number}"] = x
                if f"nonlocal_conv{stage}_{number}_theta_w" in self.blobs:
                    x = self.nonlocal_block(x, f"nonlocal_conv{stage}_{number}", self.affine and stage == 3)
                    self.blocks[f"layer{stage - 1}.nonlocal{number}"] = x
                number += 1
            if stage == 2:
                x = self.blocks["pool2"] = self.pool(x, "pool2", (2, 1, 1), (2, 1, 1))
        # pool5 is as long as what is left of the clip.
        x = self.op("AveragePool", [x], "pool5_7x7", kernels=(1, 7, 7), strides=(1, 1, 1))
        x = self.blocks["pool"] = self.op("ReduceMean", [x], "pool5", axes=(2,), keepdims=1)
        whole = len(self.blobs["pred_w"]) == 2
        x = self.op("FC", [x, "pred_w", "pred_b"], "pred") if whole else self.conv(x, "pred")
        self.blocks |= {"window_logits": x, "logits": x}
        inputs = {"data": ("N", self.blobs["conv1_w"][1], "T", "H", "W")}
        return SourceNet("video_nonlocal", "Caffe2", tuple(self.ops), inputs, self.blocks)

    def residual(self, x: str, name: str, step: int) -> str:
        """A bottleneck; the stride is the 3x3's and the projection's."""
        shortcut, strides = x, (1, step, step)
        out = self.relu(self.norm(self.conv(x, f"{name}_branch2a"), f"{name}_branch2a_bn"))
        out = self.relu(self.norm(self.conv(out, f"{name}_branch2b", strides), f"{name}_branch2b_bn"))
        out = self.norm(self.conv(out, f"{name}_branch2c"), f"{name}_branch2c_bn")
        if f"{name}_branch1_w" in self.blobs:
            shortcut = self.norm(self.conv(x, f"{name}_branch1", strides), f"{name}_branch1_bn")
        return self.relu(self.op("Sum", [out, shortcut], out))

    def nonlocal_block(self, x: str, name: str, grouped: bool) -> str:
        """Every position looks at those that a pool left, in its own group of frames or in all of the clip."""
        if grouped:
            x = self.op("Transpose", [x], f"{x}_trans", axes=(0, 2, 1, 3, 4))
            whole = f"{x}_shape5d"
            self.op("Reshape", [x], x, whole, shape=(-1, _GROUP, 0, 0, 0))
            x = self.op("Transpose", [x], f"{x}_trans", axes=(0, 2, 1, 3, 4))
        inner = self.blobs[f"{name}_theta_w"][0]
        theta = self.conv(x, f"{name}_theta")
        pooled = self.pool(x, f"{name}_pool", (1, 2, 2), (1, 2, 2))
        phi, g = self.conv(pooled, f"{name}_phi"), self.conv(pooled, f"{name}_g")
        for value in (theta, phi, g):
            self.op("Reshape", [value], value, f"{value}_shape5d", shape=(0, inner, -1))
        affinity = self.op("BatchMatMul", [theta, phi], f"{name}_affinity", trans_a=1)
        self.op("Scale", [affinity], affinity, scale=inner**-0.5)
        likely = self.op("Softmax", [affinity], f"{name}_affinity_prob", axis=2)
        y = self.op("BatchMatMul", [g, likely], f"{name}_y", trans_b=1)
        self.op("Reshape", [y, f"{theta}_shape5d"], y, f"{name}_y_shape3d")
        out = self.conv(y, f"{name}_out")
        if f"{name}_bn_s" in self.blobs:
            out = self.norm(out, f"{name}_bn")
        out = self.op("Sum", [x, out], f"{name}_sum")
        if grouped:
            out = self.op("Transpose", [out], f"{out}_trans", axes=(0, 2, 1, 3, 4))
            self.op("Reshape", [out, whole], out, f"{out}_shape5d")
            out = self.op("Transpose", [out], f"{out}_trans", axes=(0, 2, 1, 3, 4))
        return out
