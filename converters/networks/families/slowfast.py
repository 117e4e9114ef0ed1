"""SlowFast: a slow and a fast pathway over one clip.

Modules: ``slow`` and ``fast``, each with ``stem`` and ``layer1`` .. ``layer4`` as in `resnet_i3d`, ``lateral0`` ..
``lateral3`` from the fast to the slow pathway after the stem and the first three stages, and ``head``. Settings:
``blocks`` and ``spatial_strides`` of the stages, and those that ``mappings/networks/slowfast.toml`` describes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord
from converters.networks.regions import Regions, require_regions
from converters.networks.stages import stage, window_means

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

STAGES = (1, 2, 3, 4)
APPENDED = {"appended": 32, "appended-64": 64}
"""The fast pathway's frames in a clip that the slow one's follow."""
SLOW_FRAMES = ("linspace", "stride", *APPENDED)

Out = TypeVar("Out")
Steps = Generator[tuple[str, Tensor], None, Out]
"""Yields the blocks' outputs by name as they are computed, and returns the result."""


class Pathway(nn.Module):
    """Stem and stages. ``joined`` are the channels that the lateral convolutions add to each stage's input."""

    def __init__(
        self, shapes: ModuleShapes, settings: Settings, joined: tuple[int, ...] = (0, 0, 0, 0)
    ) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.stem = Unit(shapes.under("stem"), shapes["stem.conv.weight"][1], eps, (1, 2, 2))
        channels = self.stem.out_channels
        steps = settings.integers("spatial_strides", 4)
        dilation = settings.integer("roi_dilation") if "roi_dilation" in settings.values else 1
        for number, blocks, step, more in zip(
            STAGES, settings.integers("blocks", 4), steps, joined, strict=True
        ):
            layer, channels = stage(
                shapes.under(f"layer{number}"),
                channels + more,
                eps,
                settings,
                blocks,
                (1, step, step),
                dilation=dilation if number == 4 else 1,
            )
            self.add_module(f"layer{number}", layer)
        self.out_channels = channels

    def enter(self, x: Tensor, name: str) -> Steps[Tensor]:
        """Stem and pool; returns the output of the pool."""
        x = F.relu_(self.stem(x))
        yield f"{name}.stem", x
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        yield f"{name}.pool1", x
        return x

    def stage(self, x: Tensor, number: int, name: str) -> Steps[Tensor]:
        """The blocks of one stage; returns the output of the last."""
        for index, block in self.get_submodule(f"layer{number}").named_children():
            x = block(x)
            yield f"{name}.layer{number}.{index}", x
        return x


class SlowFast(Network):
    """Clips [N, C, T, H, W], all frames of the fast pathway, to logits [N, classes]; a detector as `ResNetI3D`.

    The slow pathway sees T / ``alpha`` frames, which ``slow_frames`` chooses. ``"linspace"``: spread from the first to
    the last, rounded down; T must be a multiple of ``alpha``. ``"stride"``: every ``alpha``-th from the first, for any
    T (mmaction; mmaction2 itself takes only multiples). ``"appended"``: they follow the fast pathway's 32 frames in the
    clip, which has 36 where ``alpha`` is 8 (GluonCV, which ignores what comes after them); shorter clips of a multiple
    of ``alpha`` + 1 frames are divided alike, though GluonCV does not take them. ``"appended-64"``: as before, of 64.
    Heads are those of `ResNetI3D`; the windows of each pathway are averaged separately.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.alpha = settings.integer("alpha")
        self.slow_frames = settings.choice("slow_frames", {word: word for word in SLOW_FRAMES})
        detects = "roi_head.weight" in shapes
        self.windows = not detects and settings.choice("head", {"windows": True, "global": False})
        joined = tuple(shapes[f"lateral{index}.conv.weight"][0] for index in range(4))
        self.slow = Pathway(shapes.under("slow"), settings, joined)
        self.fast = Pathway(shapes.under("fast"), settings)
        self.channels = shapes["fast.stem.conv.weight"][1]
        for index in range(4):
            under = shapes.under(f"lateral{index}")
            unit = Unit(under, under["conv.weight"][1], eps, (self.alpha, 1, 1))
            self.add_module(f"lateral{index}", unit)
        channels, name = self.slow.out_channels + self.fast.out_channels, "roi_head" if detects else "head"
        context = detects and shapes["roi_head.weight"][1] == 2 * channels
        self.regions = Regions(settings, context=context) if detects else None
        self.add_module(name, linear(shapes, channels * (1 + context), name))

    def slow_indices(self, frames: int) -> Tensor:
        """The indices of the frames that the slow pathway sees, out of ``frames``."""
        if self.slow_frames == "stride":
            return torch.arange(0, frames, self.alpha)
        if self.slow_frames in APPENDED:
            return torch.arange(self.fast_frames(frames), self._both_frames(frames))
        # Lateral convolutions round the number of frames up, so the pathways would not fit, as in the projects.
        if frames % self.alpha:
            raise ValueError(f"expected a clip of a multiple of {self.alpha} frames, got {frames}")
        return torch.linspace(0, frames - 1, frames // self.alpha).long()

    def fast_frames(self, frames: int) -> int:
        """How many of a clip's first frames the fast pathway sees, out of ``frames``."""
        if self.slow_frames not in APPENDED:
            return frames
        both = self._both_frames(frames)
        return both - both // (self.alpha + 1)

    def _both_frames(self, frames: int) -> int:
        """How many of a clip's first frames the pathways see, one after the other, out of ``frames``."""
        fast = APPENDED[self.slow_frames]
        if frames >= fast + fast // self.alpha:
            return fast + fast // self.alpha
        if frames % (self.alpha + 1):
            raise ValueError(f"expected a clip of a multiple of {self.alpha + 1} frames, got {frames}")
        return frames

    def pathways(self, x: Tensor) -> Steps[tuple[Tensor, Tensor]]:
        """The blocks of both pathways; returns the last map of each."""
        check_input(x, "NCTHW", self.channels)
        few = x[:, :, self.slow_indices(x.shape[2]).to(x.device)]
        slow = yield from self.slow.enter(few, "slow")
        fast = yield from self.fast.enter(x[:, :, : self.fast_frames(x.shape[2])], "fast")
        for number in STAGES:
            lateral = self.get_submodule(f"lateral{number - 1}")
            joined = lateral(fast)
            if getattr(lateral, "bn", None) is not None:
                joined = F.relu_(joined)
            yield f"lateral{number - 1}", joined
            slow = yield from self.slow.stage(torch.cat((slow, joined), dim=1), number, "slow")
            fast = yield from self.fast.stage(fast, number, "fast")
        return slow, fast

    def steps(self, x: Tensor, rois: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
        lasts = yield from self.pathways(x)
        if self.regions is not None:
            frames = torch.cat([self.regions.over_frames(last) for last in lasts], dim=1)
            x = self.regions(frames, require_regions(rois))
            yield "regions", x
            x = x.amax(dim=(2, 3, 4))
            yield "pool", x
            yield "logits", self.get_submodule("roi_head")(x)
            return
        pooled = [window_means(last, self.windows) for last in lasts]
        yield "slow.pool", pooled[0]
        yield "fast.pool", pooled[1]
        x = torch.cat(pooled, dim=1)
        yield "pool", x
        x = self.get_submodule("head")(x.movedim(1, 4)).movedim(4, 1)
        yield "window_logits", x
        yield "logits", x.mean(dim=(2, 3, 4))


NETWORK = NetworkRecord(build=SlowFast, test_clip=(1, 3, 16, 65, 70))
