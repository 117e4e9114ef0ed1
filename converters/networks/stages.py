"""Stages of bottleneck blocks with non-local blocks between them, and the windows of the last map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import MOMENTUM, Block

if TYPE_CHECKING:
    from .spec import ModuleShapes, Settings

WINDOW = 7
"""Rows and columns of the last map that are classified together."""


class NonLocal(nn.Module):
    """A non-local block: x plus what every position sees of all others (Wang et al., CVPR 2018).

    ``theta``, ``phi`` (x itself where there are none) and ``g`` are 1x1x1 convolutions, the last two with a 1x2x2 or
    2x2x2 max pool before or after them, or none; ``out`` restores x's channels, through a batch norm ``bn``. ``frames``
    at a time see each other; 0: all.
    """

    def __init__(
        self, shapes: ModuleShapes, channels: int, eps: float, settings: Settings, *, frames: int = 0
    ) -> None:
        super().__init__()
        self.softmax = settings.choice("nonlocal_weights", {"softmax": True, "mean": False})
        self.scale = settings.flag("nonlocal_scale")
        self.pool = (settings.integer("nonlocal_pool_frames"), 2, 2)
        self.pools = settings.choice("nonlocal_pool", {word: word for word in ("before", "after", "none")})
        self.frames = frames
        paired = "theta.weight" in shapes
        self.theta = _pointwise(shapes, "theta", channels) if paired else nn.Identity()
        self.phi = _pointwise(shapes, "phi", channels) if paired else nn.Identity()
        self.g = _pointwise(shapes, "g", channels)
        self.out = _pointwise(shapes, "out", self.g.out_channels)
        self.bn = nn.BatchNorm3d(channels, eps=eps, momentum=MOMENTUM, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, T, H, W] to the same; T must be a multiple of ``frames``."""
        if not self.frames:
            return self._look(x)
        n, channels, frames, *space = x.shape
        if frames % self.frames:
            raise ValueError(f"{frames} frames reach a non-local block that takes {self.frames} at a time")
        groups = x.reshape(n, channels, -1, self.frames, *space).transpose(1, 2)
        seen = self._look(groups.reshape(-1, channels, self.frames, *space))
        return seen.reshape(n, -1, channels, self.frames, *space).transpose(1, 2).reshape(x.shape)

    def _look(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2)
        phi, g = (self._pooled(x, half).flatten(2) for half in (self.phi, self.g))
        affinity = theta.transpose(1, 2) @ phi
        if self.scale:
            affinity = affinity * phi.shape[1] ** -0.5
        weights = affinity.softmax(dim=2) if self.softmax else affinity / affinity.shape[2]
        y = (g @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = x + self.bn(self.out(y))
        return out

    def _pooled(self, x: Tensor, convolution: nn.Module) -> Tensor:
        if self.pools == "before":
            x = F.max_pool3d(x, self.pool)
        out: Tensor = convolution(x)
        return F.max_pool3d(out, self.pool) if self.pools == "after" else out


def _pointwise(shapes: ModuleShapes, name: str, channels: int) -> nn.Conv3d:
    outputs, inputs, *kernel = shapes[f"{name}.weight"]
    if inputs != channels or kernel != [1, 1, 1]:
        raise ValueError(f"{shapes.prefix}{name}.weight is not a 1x1x1 convolution of {channels} channels")
    return nn.Conv3d(channels, outputs, 1, bias=f"{name}.bias" in shapes, device="meta")


def stage(
    shapes: ModuleShapes,
    channels: int,
    eps: float,
    settings: Settings,
    blocks: int,
    stride: tuple[int, int, int],
    *,
    frames: int = 0,
    dilation: int = 1,
) -> tuple[nn.Sequential, int]:
    """Bottleneck blocks ``0``, ``1`` ... with non-local ones between them, and the channels of the last."""
    layer = nn.Sequential()
    early = settings.flag("stride_1x1")
    for index in range(blocks):
        step = (1, 1, 1) if index else stride
        block = Block(shapes.under(str(index)), channels, eps, step, units=3, dilation=dilation, early=early)
        layer.add_module(str(index), block)
        channels = block.out_channels
        if f"nonlocal{index}.g.weight" in shapes:
            inner = shapes.under(f"nonlocal{index}")
            layer.add_module(f"nonlocal{index}", NonLocal(inner, channels, eps, settings, frames=frames))
    return layer, channels


def window_means(x: Tensor, windows: bool) -> Tensor:
    """The means over all frames of every window of rows and columns, [N, C, 1, h, w]; of all of them without
    ``windows``."""
    frames, *space = x.shape[2:]
    window = [min(size, WINDOW) for size in space] if windows else space
    return F.avg_pool3d(x, (frames, *window), stride=1)
