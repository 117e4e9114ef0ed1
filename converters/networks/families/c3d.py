"""C3D: convolutions with bias, five pools, three linear layers.

Two families. Their pools differ, and so does the input of ``fc6``:

- ``c3d_bn``, VMZ's: a batch norm after every convolution, pools that round down. 16x112x112 leaves 1x3x3;
- ``c3d``, the published net, in Caffe and Chainer: no norms, pools that round up (all of a pool's last window
  but its first row may lie outside). 16x112x112 leaves 1x4x4. Ports of it pad the last pool instead, which
  leaves as much but shifts its windows by one.

Settings of ``c3d``: ``pools``, ``"ceil"`` (default) or ``"padded"``, and ``segments_before_fc6``: whether a clip may
be several segments of 16 frames, over which what ``fc6`` takes is averaged (GluonCV). End points have the names of
the layers and pools. The order of layers is fixed; the shapes say their sizes and whether the second convolutions
``conv3b`` .. ``conv5b`` are there (C3D-v1.1's small net for UCF101 has none).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.networks.spec import ModuleShapes, Settings

_STAGES = (("conv1a",), ("conv2a",), ("conv3a", "conv3b"), ("conv4a", "conv4b"), ("conv5a", "conv5b"))
_OPTIONAL = ("conv3b", "conv4b", "conv5b")

_SEGMENT = 16
"""Frames of a segment."""

_POOLED = (4, 5, 5)
"""The number of pools that halve time, height and width."""


class C3D(Network):
    """Clips [N, C, T, H, W] to logits.

    ``fc6`` takes one size of the last map only, ValueError for others: 16 to 31 frames of 96 to 127 pixels where
    pools round down, padded or not; 1 to 16 frames of 97 to 128 pixels where they round up. With ``segments`` the
    frames may be a multiple of 16 too: each 16 are a clip of their own as far as ``pool5``. ``steps`` and
    ``end_points`` end with ``pool5`` there, as the convolutions take any size. Without ``fc6`` among the shapes the
    output is the last pool's, without a head that of ``fc7``.
    """

    def __init__(
        self, shapes: ModuleShapes, eps: float, pools: str = "floor", *, segments: bool = False
    ) -> None:
        """``pools`` round down (``floor``), up (``ceil``), or down with pool5 padded by 0, 1, 1 (``padded``)."""
        super().__init__()
        self.pools = pools
        self.segments = segments
        _, channels, *_ = shapes["conv1a.conv.weight"]
        self.in_channels = channels
        self.stages = tuple(
            tuple(name for name in stage if name not in _OPTIONAL or f"{name}.conv.weight" in shapes)
            for stage in _STAGES
        )
        for stage in self.stages:
            for name in stage:
                unit = Unit(shapes.under(name), channels, eps, (1, 1, 1))
                self.add_module(name, unit)
                channels = unit.out_channels
        self.channels = channels
        self.dense = "fc6.weight" in shapes
        if self.dense:
            self.fc6 = linear(shapes, shapes["fc6.weight"][1], "fc6")
            self.fc7 = linear(shapes, self.fc6.out_features, "fc7")
            self.head = linear(shapes, self.fc7.out_features, "head") if "head.weight" in shapes else None
            self.dropout = nn.Dropout(0.5)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The last of `steps`. ValueError for a clip of a size that ``fc6`` does not take."""
        (clip,) = inputs
        if not self._fits(clip):
            raise self._wrong_size(clip)
        return super().forward(clip)

    def steps(self, clip: Tensor) -> Iterator[tuple[str, Tensor]]:
        fits = self._fits(clip)
        segments = self._segments(clip)
        x = torch.cat(clip.chunk(segments, dim=2)) if segments > 1 else clip
        for number, stage in enumerate(self.stages, 1):
            for name in stage:
                x = F.relu_(self.get_submodule(name)(x))
                yield name, x
            x = F.max_pool3d(
                x,
                (1 if number == 1 else 2, 2, 2),
                padding=(0, 1, 1) if self.pools == "padded" and number == 5 else 0,
                ceil_mode=self.pools == "ceil",
            )
            yield f"pool{number}", x
        if not self.dense or not fits:
            return
        x = x.flatten(1)
        if segments > 1:
            x = x.reshape(segments, -1, x.shape[1]).mean(dim=0)
        x = F.relu_(self.fc6(x))
        yield "fc6", x
        x = F.relu_(self.fc7(self.dropout(x)))
        yield "fc7", x
        if self.head is not None:
            yield "logits", self.head(self.dropout(x))

    def _fits(self, clip: Tensor) -> bool:
        """Whether the pools leave exactly the size that ``fc6`` was trained on. ValueError if they leave nothing."""
        check_input(clip, "NCTHW", self.in_channels)
        frames, *space = clip.shape[2:]
        positions = prod(self._all_left((frames // self._segments(clip), *space)))
        if not positions:
            raise self._wrong_size(clip)
        return not self.dense or positions == self.fc6.in_features // self.channels

    def _segments(self, clip: Tensor) -> int:
        """How many clips a clip is made of."""
        frames = clip.shape[2]
        return frames // _SEGMENT if self.segments and frames % _SEGMENT == 0 else 1

    def _wrong_size(self, clip: Tensor) -> ValueError:
        takes = f"fc6 takes {self.fc6.in_features // self.channels}" if self.dense else "pool5 takes 1"
        given, leaves, usually = (
            "x".join(map(str, sizes))
            for sizes in (clip.shape[2:], self._all_left(clip.shape[2:]), self._all_left((16, 112, 112)))
        )
        return ValueError(
            f"a clip of {given} leaves {leaves} positions and {takes}; 16x112x112 leaves {usually}"
        )

    def _all_left(self, sizes: Sequence[int]) -> list[int]:
        """How many positions of time, height and width are left after all pools."""
        return [self._left(size, pools) for size, pools in zip(sizes, _POOLED, strict=True)]

    def _left(self, size: int, pools: int) -> int:
        """How many positions of one axis are left after the pools."""
        for number in range(1, pools + 1):
            padding = {"floor": 0, "ceil": 1, "padded": 2 if number == 5 else 0}[self.pools]
            size = (size + padding) // 2
        return size


def build(shapes: ModuleShapes, settings: Settings) -> C3D:
    """The published network."""
    settings = settings.or_else(pools="ceil", segments_before_fc6=False)
    pools = settings.choice("pools", {"ceil": "ceil", "padded": "padded"})
    return C3D(shapes, 0.0, pools, segments=settings.flag("segments_before_fc6"))


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 9, 97, 110))
