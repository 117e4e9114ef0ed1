"""The networks of facebookresearch/video-nonlocal-net as lists of Caffe2's operators, by its builders (c253ed5).

Names and shapes do not tell its models apart: the name of the model is a setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.bottlenecks import SLOWFAST_ONLY, STAGES, Bottlenecks, scope_of
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

MODELS = {"8x8": 1, "32x4": 1, "32x2": 2, "128x1": 2}
"""The releases, with the stride in time of the stem and of the pool after it."""

_IMAGE = 4
"""Axes of a convolution over single frames."""

_GROUP = 4
"""Frames that a non-local block of res3 takes at a time in the affine nets."""


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test net over ``blobs`` (name to shape; solver state is left alone), or None if they are not
    video-nonlocal-net's: they have no classifier ``pred`` or no norm ``res_conv1_bn``, they are of a network
    over single frames, or of one that only PySlowFast has, or the setting ``model`` is not a key of `MODELS`
    (PySlowFast has the same names). Raises `Refused` without a model, and if a blob is missing.
    """
    scope = scope_of(blobs)
    model = settings.get("model", "")
    if scope is None or (model and model not in MODELS):
        return None
    if any(f"{scope}{name}" in blobs for name in SLOWFAST_ONLY):
        return None
    if len(blobs.get(f"{scope}conv1_w", ())) == _IMAGE:  # ImageNet's network, which training begins with
        return None
    if not model:
        raise Refused(
            "the blobs are those of several models of video-nonlocal-net",
            where=", ".join(MODELS),
            hint="say which with --variant",
        )
    try:
        return _Builder(blobs, scope).network(MODELS[model])
    except KeyError as error:
        raise Refused(f"is not a network of video-nonlocal-net: it has no blob {error}") from None


class _Builder(Bottlenecks):
    def __init__(self, blobs: Mapping[str, Shape], scope: str) -> None:
        super().__init__(blobs, scope)
        self.affine = "res_conv1_bn_riv" not in self.shapes

    def norm(self, x: str, name: str) -> str:
        """Batch norm; in the affine nets only its scale and shift."""
        if self.affine:
            return self.op("AffineNd", [x, f"{name}_s", f"{name}_b"], name)
        return super().norm(x, name)

    def pool(self, x: str, name: str, kernels: tuple[int, ...], strides: tuple[int, ...]) -> str:
        return self.block(name, self.op("MaxPool", [x], name, kernels=kernels, strides=strides))

    def network(self, step: int) -> SourceNet:
        """The whole network; ``step`` is the stride in time of the stem, and of the pool after it."""
        x = self.relu(self.norm(self.conv("data", "conv1", (step, 2, 2)), "res_conv1_bn"))
        x = self.pool(self.block("stem", x), "pool1", (step, 3, 3), (step, 2, 2))
        for number in STAGES:
            x = self.stage(x, number, 2 if number > 2 else 1)
            if number == 2:
                x = self.pool(x, "pool2", (2, 1, 1), (2, 1, 1))
        x = self.block("pool", self.windows(x, "pool5", 7))
        whole = len(self.shapes["pred_w"]) == 2
        x = self.op("FC", [x, "pred_w", "pred_b"], "pred") if whole else self.conv(x, "pred")
        self.blocks |= {"window_logits": x, "logits": x}
        inputs = {"data": ("N", self.shapes["conv1_w"][1], "T", "H", "W")}
        return self.net("video_nonlocal", "Caffe2", inputs)

    def nonlocal_block(self, x: str, name: str, **args: Any) -> str:
        """A non-local block. In res3 of the affine nets every group of frames is computed separately."""
        if not (self.affine and name.startswith("nonlocal_conv3_")):
            return super().nonlocal_block(x, name, **args)
        x = self.op("Transpose", [x], f"{x}_trans", axes=(0, 2, 1, 3, 4))
        whole = f"{x}_shape5d"
        self.op("Reshape", [x], x, whole, shape=(-1, _GROUP, 0, 0, 0))
        x = self.op("Transpose", [x], f"{x}_trans", axes=(0, 2, 1, 3, 4))
        out = super().nonlocal_block(x, name, **args)
        out = self.op("Transpose", [out], f"{out}_trans", axes=(0, 2, 1, 3, 4))
        self.op("Reshape", [out, whole], out, f"{out}_shape5d")
        return self.op("Transpose", [out], f"{out}_trans", axes=(0, 2, 1, 3, 4))


SOURCE = SourceRecord(
    layouts=("nonlocal", "nonlocal-affine"),
    recognise=recognise,
    test_clips={"resnet_i3d": (1, 3, 32, 209, 212)},
)
