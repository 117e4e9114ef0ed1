"""Inception-v3 over the frames of a clip, and inflated to clips, as GluonCV builds them.

Modules: ``conv1`` .. ``conv5``; eleven blocks ``mixedA1`` .. ``mixedE2`` of the units that `BLOCKS` lists for each
kind; ``head``. Whether kernels have a time axis follows from the shapes. No settings but ``bn_eps``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import FrameNetwork, Unit, check_input, linear
from converters.networks.record import NetworkRecord

from .inception_v1 import first_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

    Branch = tuple[str | tuple[str, str], ...]

BLOCKS: dict[str, tuple[Branch, ...]] = {
    "A": (("b0",), ("b1a", "b1b"), ("b2a", "b2b", "b2c"), ("average", "b3")),
    "B": (("b0",), ("b1a", "b1b", "b1c"), ("max",)),
    "C": (("b0",), ("b1a", "b1b", "b1c"), ("b2a", "b2b", "b2c", "b2d", "b2e"), ("average", "b3")),
    "D": (("b0a", "b0b"), ("b1a", "b1b", "b1c", "b1d"), ("max",)),
    "E": (("b0",), ("b1a", ("b1b", "b1c")), ("b2a", "b2b", ("b2c", "b2d")), ("average", "b3")),
}
"""The branches of each kind of block: units one after the other, pools, and two units side by side."""

_STRIDED = {"B": ("b0", "b1c"), "D": ("b0b", "b1d")}
"""Units of stride 2; they have no padding in space."""

_NAMES = ("A1", "A2", "A3", "B1", "C1", "C2", "C3", "C4", "D1", "E1", "E2")
_STEM = {
    "conv1": (2, False),
    "conv2": (1, False),
    "conv3": (1, True),
    "conv4": (1, False),
    "conv5": (1, False),
}
"""The stem's convolutions: stride, and whether they have padding in space."""

_POOLED = ("conv3", "conv5")
"""The stem's convolutions that a pool follows, of stride 2 in space."""

_WINDOW = 8
_SMALLEST = 75
"""Pixels that leave one position in the last map."""


class Mixed(nn.Module):
    """A block of branches, their channels concatenated, of clips or of frames."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, kind: str) -> None:
        super().__init__()
        self.branches, strided = BLOCKS[kind], _STRIDED.get(kind, ())
        self.out_channels = 0
        for branch in self.branches:
            inner = channels
            for step in branch:
                names = (step,) if isinstance(step, str) else step
                units = [
                    _unit(
                        shapes.under(name),
                        inner,
                        eps,
                        2 if name in strided else 1,
                        padded=name not in strided,
                    )
                    for name in names
                    if name not in ("average", "max")
                ]
                for name, unit in zip(names, units, strict=False):
                    self.add_module(name, unit)
                inner = sum(unit.out_channels for unit in units) or inner
            self.out_channels += inner

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, ...] -> [N, out_channels, ...]."""
        return torch.cat([self._run(branch, x) for branch in self.branches], dim=1)

    def _run(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, tuple):
                x = torch.cat([F.relu_(self.get_submodule(name)(x)) for name in step], dim=1)
            elif step == "max":
                x = _max_pool(x, 2)
            elif step == "average":
                padded = F.pad(x, (1, 1) * (x.dim() - 2))
                x = F.avg_pool2d(padded, 3, 1) if x.dim() == 4 else F.avg_pool3d(padded, 3, 1)
            else:
                x = F.relu_(self.get_submodule(step)(x))
        return x


def _unit(shapes: ModuleShapes, channels: int, eps: float, stride: int, *, padded: bool) -> Unit:
    """A unit of one stride along all axes; without padding in space if it is not ``padded``."""
    kernel = shapes["conv.weight"][2:]
    padding = None if padded else (*(size // 2 for size in kernel[:-2]), 0, 0)
    return Unit(shapes, channels, eps, (stride,) * len(kernel), padding=padding)


def _max_pool(x: Tensor, stride_t: int) -> Tensor:
    """A max pool of 3 and stride 2 without padding in space, of clips with the stride ``stride_t`` in time."""
    if x.dim() == 4:
        return F.max_pool2d(x, 3, 2)
    return F.max_pool3d(x, 3, (stride_t, 2, 2), (1, 0, 0))


class InceptionV3(FrameNetwork):
    """Clips [N, C, T, H, W] to logits [N, classes]; of the 2D network each frame by itself, the logits averaged.

    Over clips all of the last map is averaged, over frames its first 8x8 positions (`first_window`): 299 to 554 pixels
    leave one window. `steps` gives ``"conv1"`` .. ``"conv5"``, ``"pool1"`` and ``"pool2"`` between them, ``"mixedA1"``
    .. ``"mixedE2"``, ``"pool"`` and ``"logits"``; without a head among the shapes ``"pool"`` is the last.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        weight = shapes["conv1.conv.weight"]
        self.over_clips = len(weight) == 5
        channels = self.channels = weight[1]
        for name, (stride, padded) in _STEM.items():
            unit = _unit(shapes.under(name), channels, eps, stride, padded=padded)
            self.add_module(name, unit)
            channels = unit.out_channels
        for name in _NAMES:
            block = Mixed(shapes.under(f"mixed{name}"), channels, eps, name[0])
            self.add_module(f"mixed{name}", block)
            channels = block.out_channels
        self.dropout = nn.Dropout(0.5)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        if not self.over_clips:
            yield from super().steps(x)
            return
        check_input(x, "NCTHW", self.channels)
        yield from self.frame_steps(x)

    def frame_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The steps, over frames or over clips."""
        if min(x.shape[-2:]) < _SMALLEST:
            raise ValueError(
                f"expected frames of {_SMALLEST} pixels or more, got {'x'.join(map(str, x.shape[-2:]))}"
            )
        for name in _STEM:
            x = F.relu_(self.get_submodule(name)(x))
            yield name, x
            if name in _POOLED:
                x = _max_pool(x, 1)
                yield f"pool{_POOLED.index(name) + 1}", x
        for name in _NAMES:
            x = self.get_submodule(f"mixed{name}")(x)
            yield f"mixed{name}", x
        x = x.mean(dim=(2, 3, 4)) if self.over_clips else first_window(x, _WINDOW)
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(self.dropout(x))


NETWORK = NetworkRecord(build=InceptionV3, test_clip=(1, 3, 9, 299, 302))
