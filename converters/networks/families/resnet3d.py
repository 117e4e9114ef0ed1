"""3D residual networks: VMZ's R2D, fR2D, MCx, rMCx, R3D, R(2+1)D and CSN.

Settings:

- ``blocks``: residual blocks in stages 1..4, ``[3, 8, 36, 3]``;
- ``temporal_strides``, ``spatial_strides``: of the first block of each stage, ``[1, 2, 2, 2]``;
- ``block``: ``"simple"`` or ``"bottleneck"``;
- ``factorised``: whether a convolution in two halves is a spatial and a temporal one (R(2+1)D);
- ``middle_relu``: whether a ReLU lies between two halves (not in ip-CSN);
- ``stem_padding_t``: ``"same"``, or 0 where the stem takes the whole clip at once (R2D);

and, optional:

- ``pool1``: a 1x3x3 max pool with stride 1x2x2 after the stem (off);
- ``stem_stride``: the stem's stride in time (1);
- ``time_first``: the temporal half comes first (pytorchvideo);
- ``middle_eps``: the eps of norms between two halves where it is another (mmaction2's R(2+1)D), 0 where not;
- ``pool_window``: the last pool averages windows of at most this size, at stride 1, and those averages
  (pytorchvideo): another mean than the plain one where the last map is larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Unit, check_input
from converters.networks.record import NetworkRecord
from converters.networks.resnet import UNITS, ResNet, Stage

if TYPE_CHECKING:
    from converters.networks.spec import ModuleShapes, Settings


class VideoResNet(ResNet):
    """Clips [N, C, T, H, W] of any size to logits. The last pool averages the whole map, or windows of it."""

    channels: int
    """The number of a clip's channels."""
    frames: int
    """The fewest frames that a clip may have: the length of a stem's kernel that has no padding in time."""
    window: tuple[int, ...] = ()
    """The largest part of the last map that is averaged at once; empty: the whole map."""

    def enter(self, x: Tensor) -> Tensor:
        check_input(x, "NCTHW", self.channels)
        if x.shape[2] < self.frames:
            raise ValueError(f"expected a clip of at least {self.frames} frames, got {x.shape[2]}")
        return F.relu_(self.stem(x))

    def pool(self, x: Tensor) -> Tensor:
        if self.window:
            x = F.avg_pool3d(x, [min(pair) for pair in zip(self.window, x.shape[2:], strict=True)], stride=1)
        return x.mean(dim=(2, 3, 4))


def build(shapes: ModuleShapes, settings: Settings) -> VideoResNet:
    """The network; without a head if ``shapes`` has none."""
    settings = settings.or_else(pool1=False, stem_stride=1, time_first=False, middle_eps=0.0, pool_window=[])
    eps = settings.bn_eps
    middle_relu = settings.flag("middle_relu")
    factorised = "time" if settings.flag("time_first") else "space" if settings.flag("factorised") else ""
    stem, padding_t = _stem(shapes.under("stem"), settings, factorised)
    pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)) if settings.flag("pool1") else None
    model = VideoResNet(
        shapes, eps, stem, _stages(settings), pool1=pool, factorised=factorised, middle_relu=middle_relu
    )
    model.channels = (stem.middle or stem).conv.in_channels
    model.frames = shapes["stem.conv.weight"][2] - 2 * padding_t
    if settings.values["pool_window"]:
        model.window = settings.integers("pool_window", 3)
    if middle_eps := settings.fraction("middle_eps"):
        for name, module in model.named_modules():
            if name.endswith(".middle.bn") and isinstance(module, nn.BatchNorm3d):
                module.eps = middle_eps
    return model


def _stem(shapes: ModuleShapes, settings: Settings, factorised: str) -> tuple[Unit, int]:
    """The first convolution, and how many frames it pads on each side."""
    _, channels, *_ = shapes["middle.conv.weight" if "middle.conv.weight" in shapes else "conv.weight"]
    padding = [size // 2 for size in shapes["conv.weight"][2:]]
    if not settings.choice("stem_padding_t", {"same": True, 0: False}):
        padding[0] = 0
    stride = (settings.integer("stem_stride"), 2, 2)
    return Unit(shapes, channels, settings.bn_eps, stride, padding=padding, factorised=factorised), padding[0]


def _stages(settings: Settings) -> dict[str, Stage]:
    units = settings.choice("block", UNITS)
    blocks, times, spaces = (
        settings.integers(name, 4) for name in ("blocks", "temporal_strides", "spatial_strides")
    )
    return {
        f"layer{number}": Stage(blocks[number - 1], (time, space, space), units)
        for number, (time, space) in enumerate(zip(times, spaces, strict=True), 1)
    }


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 8, 48, 52))
