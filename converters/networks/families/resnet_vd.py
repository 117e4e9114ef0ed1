"""Residual 2D networks over the frames of a clip with a deep stem and pools in the shortcuts: PP-TSN and PP-TSM.

Modules: ``stem1``, ``stem2`` and ``stem``, ``layer1`` .. ``layer4`` of bottlenecks, ``head``. Settings: ``blocks`` and
``spatial_strides`` of stages 1..4, and those that ``mappings/networks/resnet_vd.toml`` describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord
from converters.networks.shift import SEGMENTS, frames_of, shifted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings


LEAK = 0.01
"""The slope of a leaky ReLU below zero."""


class Bottleneck(nn.Module):
    """A bottleneck with its stride in conv2. In the shortcut the mean of 2x2 positions, fewer at an odd end, comes
    before the convolution where the block halves the size."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, step: int, slope: float) -> None:
        super().__init__()
        self.step, self.slope = step, slope
        self.conv1 = Unit(shapes.under("conv1"), channels, eps, (1, 1))
        self.conv2 = Unit(shapes.under("conv2"), self.conv1.out_channels, eps, (step, step))
        self.conv3 = Unit(shapes.under("conv3"), self.conv2.out_channels, eps, (1, 1))
        self.out_channels = self.conv3.out_channels
        has_shortcut = "shortcut.conv.weight" in shapes
        self.shortcut = Unit(shapes.under("shortcut"), channels, eps, (1, 1)) if has_shortcut else None

    def forward(self, x: Tensor, shifted_x: Tensor) -> Tensor:
        """[N, C, H, W], and the same with shifted channels, which the residual branch sees."""
        out = F.leaky_relu(self.conv1(shifted_x), self.slope)
        out = self.conv3(F.leaky_relu(self.conv2(out), self.slope))
        if self.shortcut is not None:
            x = self.shortcut(F.avg_pool2d(x, 2, 2, ceil_mode=True) if self.step > 1 else x)
        return F.leaky_relu(out + x, self.slope)


class ResNetVD(Network):
    """Frames [N, C, T, H, W] to logits, averaged over them; blocks see [N * T, C, H, W].

    Where ``shift_div`` is not 0, one of so many parts of a block's channels is that of the frame before, and the next
    that of the next frame; ``segments`` frames in a row are one video, all T where it is 0.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem1.conv.weight"][1]
        self.segments = settings.choice("segments", SEGMENTS)
        self.shift_div = settings.choice("shift_div", SEGMENTS)
        self.slope = LEAK if settings.flag("leaky_relu") else 0.0
        channels = self.channels
        for name, step in (("stem1", 2), ("stem2", 1), ("stem", 1)):
            unit = Unit(shapes.under(name), channels, eps, (step, step))
            self.add_module(name, unit)
            channels = unit.out_channels
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        rows = zip(settings.integers("blocks", 4), settings.integers("spatial_strides", 4), strict=True)
        for number, (blocks, step) in enumerate(rows, 1):
            layer = nn.Sequential()
            for index in range(blocks):
                under = shapes.under(f"layer{number}.{index}")
                block = Bottleneck(under, channels, eps, 1 if index else step, self.slope)
                layer.append(block)
                channels = block.out_channels
            self.add_module(f"layer{number}", layer)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        clips, frames = x.shape[0], frames_of(x.shape[2], self.segments)
        x = x.transpose(1, 2).flatten(0, 1)
        for name in ("stem1", "stem2", "stem"):
            x = F.leaky_relu(self.get_submodule(name)(x), self.slope)
            yield name, x
        x = self.pool1(x)
        yield "pool1", x
        for number in range(1, 5):
            for index, block in self.get_submodule(f"layer{number}").named_children():
                x = block(x, self._shifted(x, frames))
                yield f"layer{number}.{index}", x
        x = x.mean(dim=(2, 3))
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(x).reshape(clips, -1, self.head.out_features).mean(dim=1)

    def _shifted(self, x: Tensor, frames: int) -> Tensor:
        if not self.shift_div:
            return x
        return shifted(x, frames, x.shape[1] // self.shift_div, next_first=False)


NETWORK = NetworkRecord(build=ResNetVD, test_clip=(1, 3, 8, 63, 50))
