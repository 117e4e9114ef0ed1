"""TSN's BN-Inception as a list of Caffe's layers, by its prototxts (yjxiong/temporal-segment-networks 2c5e5e7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-5
"""The fork's default ``bn_param.eps``, which its nets leave as it is."""

_BLOCKS = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_STRIDED = ("3c", "4e")
_MAX_POOLED = (*_STRIDED, "5b")
_LAST = ("fc-action", "fc")
"""The classifier; the second is ImageNet's."""


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test net over ``blobs`` (``conv1/7x7_s2/0`` ... to shape), for images ``[N, C, H, W]``, or None if they are
    not BN-Inception's: no layer is called ``conv1/7x7_s2``. Without a classifier it ends in ``global_pool``. With the
    setting ``inverse_std`` the batch norms have inverse standard deviations."""
    if "conv1/7x7_s2/0" not in blobs:
        return None
    build = _Builder(blobs, inverse_std=bool(settings.get("inverse_std")))
    x = build.unit("data", "conv1/7x7_s2", stride=2, pad=3)
    build.block("conv1/7x7_s2")
    build.block(x)
    x = build.block(build.pool(x, "pool1/3x3_s2", "MAX", 2, 0))
    x = build.block(build.unit(x, "conv2/3x3_reduce"))
    x = build.block(build.unit(x, "conv2/3x3", pad=1))
    x = build.block(build.pool(x, "pool2/3x3_s2", "MAX", 2, 0))
    for name in _BLOCKS:
        x = build.block(build.inception(x, name))
    x = build.block(build.op("Pooling", [x], "global_pool", pool="AVE", global_pooling=True))
    for last in _LAST:
        if f"{last}/0" in blobs:
            build.block("logits", build.op("InnerProduct", [x, f"{last}/0", f"{last}/1"], last))
    inputs = {"data": ("N", blobs["conv1/7x7_s2/0"][1], "H", "W")}
    return build.net("bn_inception", "Caffe", inputs, axes="frames")


class _Builder(NetBuilder):
    def __init__(self, blobs: Mapping[str, Shape], *, inverse_std: bool) -> None:
        super().__init__(blobs)
        self.norm = {"eps": EPSILON, **({"inverse_std": True} if inverse_std else {})}

    def unit(self, x: str, name: str, *, stride: int = 1, pad: int = 0) -> str:
        """A convolution, its norm and, in place, its ReLU."""
        x = self.op(
            "Convolution", [x, f"{name}/0", f"{name}/1"], name, stride=(stride, stride), pad=(pad, pad)
        )
        norm = f"{name}_bn"
        x = self.op("BN", [x, *(f"{norm}/{index}" for index in range(4))], norm, **self.norm)
        return self.op("ReLU", [x], norm)

    def pool(self, x: str, name: str, pool: str, stride: int, pad: int) -> str:
        return self.op(
            "Pooling", [x], name, pool=pool, kernel=(3, 3), stride=(stride, stride), pad=(pad, pad)
        )

    def inception(self, x: str, block: str) -> str:
        """Parallel branches, concatenated. A strided block has no 1x1 branch and no projection after its pool."""
        name, strided = f"inception_{block}", block in _STRIDED
        stride = 2 if strided else 1
        outs = [] if strided else [self.unit(x, f"{name}/1x1")]
        reduced = self.unit(x, f"{name}/3x3_reduce")
        outs.append(self.unit(reduced, f"{name}/3x3", stride=stride, pad=1))
        reduced = self.unit(x, f"{name}/double_3x3_reduce")
        inner = self.unit(reduced, f"{name}/double_3x3_1", pad=1)
        outs.append(self.unit(inner, f"{name}/double_3x3_2", stride=stride, pad=1))
        pooled = self.pool(
            x, f"{name}/pool", "MAX" if block in _MAX_POOLED else "AVE", stride, 0 if strided else 1
        )
        outs.append(pooled if strided else self.unit(pooled, f"{name}/pool_proj"))
        return self.op("Concat", outs, f"{name}/output")


SOURCE = SourceRecord(layouts=("tsn",), recognise=recognise)
