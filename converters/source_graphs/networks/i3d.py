"""DeepMind's kinetics-i3d as a list of TensorFlow's operators (``i3d.py`` at 0667e88)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-3
"""The epsilon of every batch norm: Sonnet's default."""

_LAYERS = (
    ("conv", "Conv3d_1a_7x7", (2, 2, 2)),
    ("pool", "MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2)),
    ("conv", "Conv3d_2b_1x1", (1, 1, 1)),
    ("conv", "Conv3d_2c_3x3", (1, 1, 1)),
    ("pool", "MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2)),
    ("mixed", "Mixed_3b"),
    ("mixed", "Mixed_3c"),
    ("pool", "MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2)),
    ("mixed", "Mixed_4b"),
    ("mixed", "Mixed_4c"),
    ("mixed", "Mixed_4d"),
    ("mixed", "Mixed_4e"),
    ("mixed", "Mixed_4f"),
    ("pool", "MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2)),
    ("mixed", "Mixed_5b"),
    ("mixed", "Mixed_5c"),
)
"""The end points in order: a convolution with its strides, a pool with its window and strides, or a block."""

_BRANCHES = (
    ("Branch_0/Conv3d_0a_1x1",),
    ("Branch_1/Conv3d_0a_1x1", "Branch_1/Conv3d_0b_3x3"),
    ("Branch_2/Conv3d_0a_1x1", "Branch_2/Conv3d_0b_3x3"),
    ("Branch_3/Conv3d_0b_1x1",),
)
_MISNAMED = {"Mixed_5b/Branch_2/Conv3d_0b_3x3": "Mixed_5b/Branch_2/Conv3d_0a_3x3"}
_SCOPES = ("RGB/inception_i3d/", "Flow/inception_i3d/", "inception_i3d/", "")
_HEAD = "Logits/Conv3d_0c_1x1/conv_3d"


def recognise(variables: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test graph over ``variables`` (name to shape; optimiser slots are left alone), or None if they are not
    those of kinetics-i3d: they have no classifier ``Logits/Conv3d_0c_1x1``."""
    scope = next((scope for scope in _SCOPES if f"{scope}{_HEAD}/w" in variables), None)
    if scope is None:
        return None
    build = _Builder(variables, scope)
    x = build.op("Placeholder", ["inputs"], "Placeholder")
    for kind, name, *rest in _LAYERS:
        if kind == "conv":
            x = build.unit(x, name, rest[0])
        elif kind == "pool":
            x = build.op("MaxPool3D", [x], name, ksize=rest[0], strides=rest[1], padding="SAME")
        else:
            x = build.mixed(x, name)
        build.block(name, x)
    x = build.op("AvgPool3D", [x], "Logits/avg_pool3d", ksize=(2, 7, 7), strides=(1, 1, 1), padding="VALID")
    build.block("features", x)
    x = build.op("Conv3D", [x, f"{_HEAD}/w"], _HEAD, strides=(1, 1, 1), padding="SAME")
    x = build.op("BiasAdd", [x, f"{_HEAD}/b"], f"{_HEAD}/BiasAdd")
    x = build.block("frame_logits", build.op("Squeeze", [x], "SpatialSqueeze", axis=(2, 3)))
    build.block("logits", build.op("Mean", [x], "Logits", axis=1))
    channels = variables[f"{scope}Conv3d_1a_7x7/conv_3d/w"][3]
    return build.net("i3d", "TensorFlow", {"inputs": ("N", "T", "H", "W", channels)}, axes="NTHWC")


class _Builder(NetBuilder):
    def unit(self, x: str, name: str, strides: tuple[int, ...]) -> str:
        """A convolution without bias, its batch norm and its ReLU."""
        x = self.op("Conv3D", [x, f"{name}/conv_3d/w"], f"{name}/conv_3d", strides=strides, padding="SAME")
        vectors = [f"{name}/batch_norm/{leaf}" for leaf in ("moving_mean", "moving_variance", "beta")]
        x = self.op("BatchNorm", [x, *vectors], f"{name}/batch_norm", variance_epsilon=EPSILON)
        return self.op("Relu", [x], name)

    def mixed(self, x: str, name: str) -> str:
        """Four branches, the last after a pool."""
        outs = []
        for branch in _BRANCHES:
            out = x
            if branch is _BRANCHES[-1]:
                pool = f"{name}/Branch_3/MaxPool3d_0a_3x3"
                out = self.op("MaxPool3D", [x], pool, ksize=(3, 3, 3), strides=(1, 1, 1), padding="SAME")
            for unit in branch:
                full = f"{name}/{unit}"
                out = self.unit(out, _MISNAMED.get(full, full), (1, 1, 1))
            outs.append(out)
        return self.op("ConcatV2", outs, name, axis=4)


SOURCE = SourceRecord(layouts=("i3d",), recognise=recognise)
