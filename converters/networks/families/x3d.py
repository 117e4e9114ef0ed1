"""X3D: depthwise bottlenecks with squeeze and excitation.

Modules: ``stem`` (``space``, then ``conv`` and ``bn``), ``layer1`` .. ``layer4`` of blocks with ``conv1``, ``conv2``,
perhaps ``squeeze``, ``conv3`` and perhaps ``shortcut``, then ``conv5``, ``lin5`` and ``head``. Settings:
``blocks`` and ``spatial_strides`` of the stages, and ``window``, the rows and columns of the last map that are averaged
together where ``head`` is ``"windows"``; ``"global"`` averages all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings


def _plain(shapes: ModuleShapes, name: str) -> nn.Conv3d:
    outputs, inputs, *_ = shapes[f"{name}.weight"]
    return nn.Conv3d(inputs, outputs, 1, bias=f"{name}.bias" in shapes, device="meta")


class Squeeze(nn.Module):
    """Squeeze and excitation: every channel is scaled by a gate that the means of all channels decide."""

    def __init__(self, shapes: ModuleShapes) -> None:
        super().__init__()
        self.fc1, self.fc2 = _plain(shapes, "fc1"), _plain(shapes, "fc2")

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to the same."""
        weights: Tensor = self.fc2(F.relu_(self.fc1(x.mean(dim=(2, 3, 4), keepdim=True))))
        return x * weights.sigmoid()


class X3DBlock(nn.Module):
    """A residual block; the stride is the depthwise convolution's."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = Unit(shapes.under("conv1"), channels, eps, (1, 1, 1))
        self.conv2 = Unit(shapes.under("conv2"), self.conv1.out_channels, eps, stride)
        self.squeeze = Squeeze(shapes.under("squeeze")) if "squeeze.fc1.weight" in shapes else None
        self.conv3 = Unit(shapes.under("conv3"), self.conv2.out_channels, eps, (1, 1, 1))
        self.shortcut: Unit | None = None
        if "shortcut.conv.weight" in shapes:
            self.shortcut = Unit(shapes.under("shortcut"), channels, eps, stride)
        self.out_channels = self.conv3.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, T, H, W] -> [N, out_channels, T, H', W'], after the last ReLU."""
        out = self.conv2(F.relu_(self.conv1(x)))
        if self.squeeze is not None:
            out = self.squeeze(out)
        out = self.conv3(F.silu(out))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


class Stem(nn.Module):
    """A spatial convolution, then a depthwise temporal one with a batch norm."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float) -> None:
        super().__init__()
        self.space = Unit(shapes.under("space"), channels, eps, (1, 2, 2))
        unit = Unit(shapes, self.space.out_channels, eps, (1, 1, 1))
        self.conv, self.bn = unit.conv, unit.bn
        self.out_channels = unit.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, channels, T, H', W'], after the ReLU."""
        x = self.conv(self.space(x))
        return F.relu_(x if self.bn is None else self.bn(x))


class X3D(Network):
    """Clips [N, C, T, H, W] to logits [N, classes], the means of those of every window of the last map.

    `steps` gives ``"conv5"``, ``"pool"``, ``"lin5"`` and ``"window_logits"`` [N, classes, 1, h, w] before them.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem.space.conv.weight"][1]
        whole = settings.choice("head", {"windows": False, "global": True})
        self.window = None if whole else settings.integer("window")
        self.stem = Stem(shapes.under("stem"), self.channels, eps)
        channels = self.stem.out_channels
        rows = zip(settings.integers("blocks", 4), settings.integers("spatial_strides", 4), strict=True)
        for number, (blocks, step) in enumerate(rows, 1):
            layer = nn.Sequential()
            for index in range(blocks):
                stride = (1, 1, 1) if index else (1, step, step)
                block = X3DBlock(shapes.under(f"layer{number}.{index}"), channels, eps, stride)
                layer.append(block)
                channels = block.out_channels
            self.add_module(f"layer{number}", layer)
        self.conv5 = Unit(shapes.under("conv5"), channels, eps, (1, 1, 1))
        self.lin5 = _plain(shapes, "lin5")
        self.head = linear(shapes, self.lin5.out_channels, "head")

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        check_input(x, "NCTHW", self.channels)
        x = self.stem(x)
        yield "stem", x
        for number in range(1, 5):
            for index, block in self.get_submodule(f"layer{number}").named_children():
                x = block(x)
                yield f"layer{number}.{index}", x
        x = F.relu_(self.conv5(x))
        yield "conv5", x
        frames, *space = x.shape[2:]
        x = F.avg_pool3d(x, (frames, *(min(size, self.window or size) for size in space)), stride=1)
        yield "pool", x
        x = F.relu_(self.lin5(x))
        yield "lin5", x
        x = self.head(x.movedim(1, 4)).movedim(4, 1)
        yield "window_logits", x
        yield "logits", x.mean(dim=(2, 3, 4))


NETWORK = NetworkRecord(build=X3D, test_clip=(1, 3, 4, 65, 70))
