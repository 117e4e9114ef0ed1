"""Residual networks whose blocks begin with 1x1x1 or 3x1x1 convolutions: C2D, I3D, SlowOnly, with non-local blocks.

Modules are those of the residual networks in `resnet`; ``layer2.nonlocal1`` is the non-local block behind
``layer2.1``. Config: ``blocks`` and ``spatial_strides`` of stages 1..4, and the settings that
``mappings/networks/resnet_i3d.toml`` describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Block, Network, Unit, check_input, linear
from .regions import Regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec import Config, Shapes

MOMENTUM = 0.1
_FRAMES = {number: number for number in range(65)}
WINDOW = 7
"""Rows and columns of the last map that are classified together."""


class NonLocal(nn.Module):
    """x plus what every position sees of all others (Wang et al., CVPR 2018).

    ``theta``, ``phi`` (x itself where there are none) and ``g`` are 1x1x1 convolutions, the last two with a 1x2x2 or
    2x2x2 max pool in front of them or behind; ``out`` leads back to x's channels, through a norm ``bn``.
    ``frames`` at a time look at each other; 0: all.
    """

    def __init__(self, shapes: Shapes, channels: int, eps: float, config: Config, *, frames: int = 0) -> None:
        super().__init__()
        self.softmax = config.choice("nonlocal_weights", {"softmax": True, "mean": False})
        self.scale = config.flag("nonlocal_scale")
        self.pool = (config.integer("nonlocal_pool_frames"), 2, 2)
        self.pool_first = config.choice("nonlocal_pool", {"before": True, "after": False})
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
        if self.pool_first:
            out: Tensor = convolution(F.max_pool3d(x, self.pool))
            return out
        return F.max_pool3d(convolution(x), self.pool)


def _pointwise(shapes: Shapes, name: str, channels: int) -> nn.Conv3d:
    outputs, inputs, *kernel = shapes[f"{name}.weight"]
    if inputs != channels or kernel != [1, 1, 1]:
        raise ValueError(f"{shapes.prefix}{name}.weight is no 1x1x1 convolution of {channels} channels")
    return nn.Conv3d(channels, outputs, 1, bias=f"{name}.bias" in shapes, device="meta")


def stage(
    shapes: Shapes,
    channels: int,
    eps: float,
    config: Config,
    blocks: int,
    stride: tuple[int, int, int],
    *,
    frames: int = 0,
    dilation: int = 1,
) -> tuple[nn.Sequential, int]:
    """Bottleneck blocks ``0``, ``1`` ... with non-local ones between them, and the channels of the last."""
    layer = nn.Sequential()
    early = config.flag("stride_1x1")
    for index in range(blocks):
        step = (1, 1, 1) if index else stride
        block = Block(shapes.under(str(index)), channels, eps, step, units=3, dilation=dilation, early=early)
        layer.add_module(str(index), block)
        channels = block.out_channels
        if f"nonlocal{index}.g.weight" in shapes:
            inner = shapes.under(f"nonlocal{index}")
            layer.add_module(f"nonlocal{index}", NonLocal(inner, channels, eps, config, frames=frames))
    return layer, channels


def asked_for(rois: Tensor | None) -> Tensor:
    """The regions; ValueError where there are none."""
    if rois is None:
        raise ValueError(
            "a detector takes regions too: model(clip, rois), [K, 5] of (clip, x1, y1, x2, y2) in pixels"
        )
    return rois


def window_means(x: Tensor, windows: bool) -> Tensor:
    """The means over all frames of every window of rows and columns, [N, C, 1, h, w]; of all of them without
    ``windows``."""
    frames, *space = x.shape[2:]
    window = [min(size, WINDOW) for size in space] if windows else space
    return F.avg_pool3d(x, (frames, *window), stride=1)


class ResNetI3D(Network):
    """Clips [N, C, T, H, W] to logits [N, classes]; a detector takes regions too (`Regions`), and gives [K, classes].

    ``"windows"`` as head classifies every 7x7 window of the last map, over all its frames, and averages the
    logits (the projects average probabilities over the windows of larger crops; at 224x224 there is one);
    smaller maps are one window. ``"global"`` averages the map. `steps` gives ``"pool"`` [N, channels, 1, h, w],
    ``"window_logits"`` [N, classes, 1, h, w] and ``"logits"`` last.
    """

    def __init__(self, shapes: Shapes, config: Config, eps: float) -> None:
        super().__init__()
        self.channels = shapes["stem.conv.weight"][1]
        self.stem = Unit(shapes.under("stem"), self.channels, eps, (config.integer("stem_stride"), 2, 2))
        kernel, stride = (config.integer(key) for key in ("pool1_kernel", "pool1_stride"))
        padding = config.choice("pool1_padding", {0: 0, 1: 1})
        self.pool1 = nn.MaxPool3d((kernel, 3, 3), (stride, 2, 2), (0, padding, padding))
        self.pool2_stride = config.integer("pool2_stride")
        self.regions = Regions(config) if "roi_head.weight" in shapes else None
        self.windows = self.regions is None and config.choice("head", {"windows": True, "global": False})
        dilation = 1 if self.regions is None else config.integer("roi_dilation")
        blocks, strides = config.integers("blocks", 4), config.integers("spatial_strides", 4)
        channels = self.stem.out_channels
        for number, (count, step) in enumerate(zip(blocks, strides, strict=True), 1):
            under, frames = shapes.under(f"layer{number}"), 0
            if number == 2 and "nonlocal_frames" in config.values:
                frames = config.choice("nonlocal_frames", _FRAMES)
            layer, channels = stage(
                under,
                channels,
                eps,
                config,
                count,
                (1, step, step),
                frames=frames,
                dilation=dilation if number == 4 else 1,
            )
            self.add_module(f"layer{number}", layer)
        name = "head" if self.regions is None else "roi_head"
        self.add_module(name, linear(shapes, channels, name))

    def steps(self, x: Tensor, rois: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        x = F.relu_(self.stem(x))
        yield "stem", x
        x = self.pool1(x)
        yield "pool1", x
        for stage in range(1, 5):
            for index, block in self.get_submodule(f"layer{stage}").named_children():
                x = block(x)
                yield f"layer{stage}.{index}", x
            if stage == 1 and self.pool2_stride > 1:
                x = F.max_pool3d(x, (self.pool2_stride, 1, 1))
                yield "pool2", x
            if self.regions is not None and self.regions.stage == stage:
                x = self.regions(x, asked_for(rois))
                yield "regions", x
        if self.regions is not None:
            x = x.amax(dim=(2, 3, 4))
            yield "pool", x
            yield "logits", self.get_submodule("roi_head")(x)
            return
        x = window_means(x, self.windows)
        yield "pool", x
        x = self.get_submodule("head")(x.movedim(1, -1)).movedim(-1, 1)
        yield "window_logits", x
        yield "logits", x.mean(dim=(2, 3, 4))
