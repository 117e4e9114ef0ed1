"""Residual networks whose blocks begin with 1x1x1 or 3x1x1 convolutions: C2D, I3D, SlowOnly, with non-local blocks.

Modules are those of the networks in `resnet3d`; ``layer2.nonlocal1`` is the non-local block after ``layer2.1``.
Settings: ``blocks`` and ``spatial_strides`` of stages 1..4, and those that ``mappings/networks/resnet_i3d.toml``
describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord
from converters.networks.regions import Regions, require_regions
from converters.networks.stages import stage, window_means

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

_FRAMES = {number: number for number in range(65)}


class ResNetI3D(Network):
    """Clips [N, C, T, H, W] to logits [N, classes]; a detector takes regions too (`Regions`), and gives [K, classes].

    ``"windows"`` as head classifies every 7x7 window of the last map, over all its frames, and averages the
    logits (the projects average probabilities over the windows of larger crops; at 224x224 there is one);
    smaller maps are one window. ``"global"`` averages the map. `steps` gives ``"pool"`` [N, channels, 1, h, w],
    ``"window_logits"`` [N, classes, 1, h, w] and ``"logits"`` last.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem.conv.weight"][1]
        self.stem = Unit(shapes.under("stem"), self.channels, eps, (settings.integer("stem_stride"), 2, 2))
        kernel, stride = (settings.integer(key) for key in ("pool1_kernel", "pool1_stride"))
        padding = settings.choice("pool1_padding", {0: 0, 1: 1})
        self.pool1 = nn.MaxPool3d((kernel, 3, 3), (stride, 2, 2), (0, padding, padding))
        self.pool2_stride = settings.integer("pool2_stride")
        self.regions: Regions | None = None
        if "roi_head.weight" in shapes:
            context = shapes["roi_head.weight"][1] == 2 * _last_channels(shapes, settings)
            self.regions = Regions(settings, context=context)
        self.windows = self.regions is None and settings.choice("head", {"windows": True, "global": False})
        dilation = 1 if self.regions is None else settings.integer("roi_dilation")
        blocks, strides = settings.integers("blocks", 4), settings.integers("spatial_strides", 4)
        channels = self.stem.out_channels
        for number, (count, step) in enumerate(zip(blocks, strides, strict=True), 1):
            under, frames = shapes.under(f"layer{number}"), 0
            if number == 2 and "nonlocal_frames" in settings.values:
                frames = settings.choice("nonlocal_frames", _FRAMES)
            layer, channels = stage(
                under,
                channels,
                eps,
                settings,
                count,
                (1, step, step),
                frames=frames,
                dilation=dilation if number == 4 else 1,
            )
            self.add_module(f"layer{number}", layer)
        name = "head" if self.regions is None else "roi_head"
        twice = self.regions is not None and self.regions.context
        self.add_module(name, linear(shapes, channels * (1 + twice), name))

    def steps(self, x: Tensor, rois: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
        check_input(x, "NCTHW", self.channels)
        x = F.relu_(self.stem(x))
        yield "stem", x
        x = self.pool1(x)
        yield "pool1", x
        for number in range(1, 5):
            for index, block in self.get_submodule(f"layer{number}").named_children():
                x = block(x)
                yield f"layer{number}.{index}", x
            if number == 1 and self.pool2_stride > 1:
                x = F.max_pool3d(x, (self.pool2_stride, 1, 1))
                yield "pool2", x
            if self.regions is not None and self.regions.stage == number:
                x = self.regions(x, require_regions(rois))
                yield "regions", x
        if self.regions is not None:
            x = x.amax(dim=(2, 3, 4))
            yield "pool", x
            yield "logits", self.get_submodule("roi_head")(x)
            return
        x = window_means(x, self.windows)
        yield "pool", x
        x = self.get_submodule("head")(x.movedim(1, 4)).movedim(4, 1)
        yield "window_logits", x
        yield "logits", x.mean(dim=(2, 3, 4))


def _last_channels(shapes: ModuleShapes, settings: Settings) -> int:
    """The channels of the last stage."""
    last = settings.integers("blocks", 4)[-1] - 1
    return shapes[f"layer4.{last}.conv3.conv.weight"][0]


NETWORK = NetworkRecord(build=ResNetI3D, test_clip=(1, 3, 8, 65, 70))
