"""Residual 2D networks over the frames of a clip.

Settings: ``blocks`` and ``spatial_strides`` of stages 1..4, ``block``, ``"simple"`` or ``"bottleneck"``, and
``stride_1x1``: the stride is in a bottleneck's first convolution (MSRA's ResNets), not in its 3x3 one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import FrameNetwork, Unit
from converters.networks.record import NetworkRecord
from converters.networks.resnet import UNITS, ResNet, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings


class FrameResNet(FrameNetwork, ResNet):
    """Frames [N, C, T, H, W], T of one video, to logits, averaged over them; blocks see [N * T, C, H, W]."""

    def frame_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        return ResNet.steps(self, x)

    def enter(self, x: Tensor) -> Tensor:
        return F.relu_(self.stem(x))

    def pool(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def build(shapes: ModuleShapes, settings: Settings) -> FrameResNet:
    """The 2D network."""
    rows = zip(settings.integers("blocks", 4), settings.integers("spatial_strides", 4), strict=True)
    units = settings.choice("block", UNITS)
    stages = {
        f"layer{number}": Stage(blocks, (stride, stride), units)
        for number, (blocks, stride) in enumerate(rows, 1)
    }
    channels, eps = shapes["stem.conv.weight"][1], settings.bn_eps
    stem = Unit(shapes.under("stem"), channels, eps, (2, 2))
    pool1, early = nn.MaxPool2d(3, stride=2, padding=1), settings.flag("stride_1x1")
    model = FrameResNet(shapes, eps, stem, stages, pool1=pool1, early=early)
    model.channels = channels
    return model


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 1, 63, 50))
