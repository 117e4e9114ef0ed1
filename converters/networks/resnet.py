"""Residual networks over clips and over log-mels: VMZ's R2D, fR2D, MCx, rMCx, R3D, R(2+1)D, CSN and a_resnet.

Config of ``resnet3d``:

- ``blocks``: residual blocks in stages 1..4, ``[3, 8, 36, 3]``;
- ``temporal_strides``, ``spatial_strides``: of the first block of each stage, ``[1, 2, 2, 2]``;
- ``block``: ``"simple"`` or ``"bottleneck"``;
- ``factorised``: whether a convolution in two halves is a spatial and a temporal one (R(2+1)D);
- ``middle_relu``: whether a ReLU lies between two halves (not in ip-CSN);
- ``stem_padding_t``: ``"same"``, or 0 where the stem takes the whole clip at once (R2D);
- ``pool1``: whether a 1x3x3 max pool with stride 1x2x2 follows the stem, by default not;
- ``stem_stride``: the stem's stride in time, by default 1;

and, optional, for networks that one project alone builds:

- ``time_first``: the temporal half comes first (pytorchvideo);
- ``middle_eps``: the eps of norms between two halves where it is another (mmaction2's R(2+1)D), 0 where not;
- ``pool_window``: the last pool averages windows of at most this size, at stride 1, and those averages
  (pytorchvideo): another mean than the plain one where the last map is larger.

Config of ``resnet2d``: ``blocks`` and ``spatial_strides`` of stages 1..4, and ``stride_1x1``: the stride is in a
block's first convolution (MSRA's ResNets), not in its 3x3 one.

Config of ``resnet2d_audio``: ``blocks`` and ``spatial_strides`` of stages 0..4, and ``block``, the kind of
stages 1..4; stage 0 is always simple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Block, Network, Unit, check_input, linear
from .spec import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .spec import Shapes

_OPTIONAL = {"pool1": False, "stem_stride": 1, "time_first": False, "middle_eps": 0.0, "pool_window": []}

_UNITS = {"simple": 2, "bottleneck": 3}


class Stage(NamedTuple):
    """``blocks`` residual blocks of ``units`` units; ``stride`` is that of the first."""

    blocks: int
    stride: tuple[int, ...]
    units: int


class ResNet(Network):
    """Stem, stages of residual blocks, pool, and a head where the shapes have one; without, the output is the
    pooled [N, channels]. Subclasses say how an input enters and how the last map is pooled."""

    def __init__(
        self,
        shapes: Shapes,
        eps: float,
        stem: Unit,
        stages: Mapping[str, Stage],
        *,
        pool1: nn.Module | None = None,
        factorised: str = "",
        middle_relu: bool = True,
        early: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.pool1 = pool1
        self.stages = tuple(stages)
        channels = stem.out_channels
        for name, stage in stages.items():
            blocks = nn.Sequential()
            for index in range(stage.blocks):
                block = Block(
                    shapes.under(f"{name}.{index}"),
                    channels,
                    eps,
                    stage.stride if index == 0 else (1,) * len(stage.stride),
                    units=stage.units,
                    factorised=factorised,
                    middle_relu=middle_relu,
                    early=early,
                )
                blocks.append(block)
                channels = block.out_channels
            self.add_module(name, blocks)
        self.out_channels = channels
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def enter(self, x: Tensor) -> Tensor:
        """Check the input and run the stem."""
        raise NotImplementedError

    def pool(self, x: Tensor) -> Tensor:
        """The last map, whatever its size, to [N, channels]."""
        raise NotImplementedError

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        x = self.enter(x)
        yield "stem", x
        if self.pool1 is not None:
            x = self.pool1(x)
            yield "pool1", x
        for name in self.stages:
            for index, block in self.get_submodule(name).named_children():
                x = block(x)
                yield f"{name}.{index}", x
        x = self.pool(x)
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(x)


class VideoResNet(ResNet):
    """Clips [N, C, T, H, W] to logits: the pool averages all that is left, whatever the clip's size, or windows."""

    channels: int
    """Channels of a clip."""
    frames: int
    """Frames a clip must have at least: the stem's kernel where it has no padding in time."""
    window: tuple[int, ...] = ()
    """The largest part of the last map that is averaged at once; all of it where empty."""

    def enter(self, x: Tensor) -> Tensor:
        """See `ResNet.enter`."""
        check_input(x, "NCTHW", self.channels)
        if x.shape[2] < self.frames:
            raise ValueError(f"expected a clip of at least {self.frames} frames, got {x.shape[2]}")
        return F.relu_(self.stem(x))

    def pool(self, x: Tensor) -> Tensor:
        """See `ResNet.pool`."""
        if self.window:
            x = F.avg_pool3d(x, [min(pair) for pair in zip(self.window, x.shape[2:], strict=True)], stride=1)
        return x.mean(dim=(2, 3, 4))


class AudioResNet(ResNet):
    """Log-mels [N, 1, 100, 40] (time, frequency) to logits. The stem has no ReLU; the pool is a maximum."""

    def enter(self, x: Tensor) -> Tensor:
        """See `ResNet.enter`. Channels are averaged, as VMZ's ``audio_input_3d`` does."""
        check_input(x, "NCTF", None)
        out: Tensor = self.stem(x.mean(dim=1, keepdim=True))
        return out

    def pool(self, x: Tensor) -> Tensor:
        """See `ResNet.pool`."""
        return x.amax(dim=(2, 3))


class FrameResNet(ResNet):
    """Frames [N, C, T, H, W], T of one video, to logits, averaged over them; blocks see [N * T, C, H, W]."""

    channels: int

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        for name, out in super().steps(x.transpose(1, 2).flatten(0, 1)):
            yield name, out.reshape(len(x), -1, out.shape[1]).mean(dim=1) if name == "logits" else out

    def enter(self, x: Tensor) -> Tensor:
        """See `ResNet.enter`."""
        return F.relu_(self.stem(x))

    def pool(self, x: Tensor) -> Tensor:
        """See `ResNet.pool`."""
        return x.mean(dim=(2, 3))


def video(shapes: Shapes, config: Config, eps: float) -> VideoResNet:
    """The network over clips; without a head where ``shapes`` has none."""
    config = Config({**_OPTIONAL, **config.values})
    middle_relu = config.flag("middle_relu")
    factorised = "time" if config.flag("time_first") else "space" if config.flag("factorised") else ""
    units = config.choice("block", _UNITS)
    blocks, times, spaces = (
        config.integers(key, 4) for key in ("blocks", "temporal_strides", "spatial_strides")
    )
    stages = {
        f"layer{number}": Stage(blocks[number - 1], (time, space, space), units)
        for number, (time, space) in enumerate(zip(times, spaces, strict=True), 1)
    }
    inner = shapes.under("stem")
    _, channels, *_ = inner["middle.conv.weight" if "middle.conv.weight" in inner else "conv.weight"]
    padding = [size // 2 for size in inner["conv.weight"][2:]]
    if not config.choice("stem_padding_t", {"same": True, 0: False}):
        padding[0] = 0
    stem = Unit(
        inner, channels, eps, (config.integer("stem_stride"), 2, 2), padding=padding, factorised=factorised
    )
    pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)) if config.flag("pool1") else None
    model = VideoResNet(shapes, eps, stem, stages, pool1=pool, factorised=factorised, middle_relu=middle_relu)
    model.channels = channels
    model.frames = inner["conv.weight"][2] - 2 * padding[0]
    if config.values["pool_window"]:
        model.window = config.integers("pool_window", 3)
    if middle_eps := config.fraction("middle_eps"):
        for name, module in model.named_modules():
            if name.endswith(".middle.bn") and isinstance(module, nn.BatchNorm3d):
                module.eps = middle_eps
    return model


def frames(shapes: Shapes, config: Config, eps: float) -> FrameResNet:
    """The network over frames."""
    rows = zip(config.integers("blocks", 4), config.integers("spatial_strides", 4), strict=True)
    stages = {
        f"layer{number}": Stage(blocks, (stride, stride), _UNITS["bottleneck"])
        for number, (blocks, stride) in enumerate(rows, 1)
    }
    channels = shapes["stem.conv.weight"][1]
    stem = Unit(shapes.under("stem"), channels, eps, (2, 2))
    pool1, early = nn.MaxPool2d(3, stride=2, padding=1), config.flag("stride_1x1")
    model = FrameResNet(shapes, eps, stem, stages, pool1=pool1, early=early)
    model.channels = channels
    return model


def audio(shapes: Shapes, config: Config, eps: float) -> AudioResNet:
    """The network over log-mels; without a head where ``shapes`` has none."""
    units = config.choice("block", _UNITS)
    rows = zip(config.integers("blocks", 5), config.integers("spatial_strides", 5), strict=True)
    stages = {
        f"layer{number}": Stage(blocks, (stride, stride), units if number else _UNITS["simple"])
        for number, (blocks, stride) in enumerate(rows)
    }
    stem = Unit(shapes.under("stem"), 1, eps, (1, 1))
    return AudioResNet(shapes, eps, stem, stages)
