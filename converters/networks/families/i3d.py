"""I3D: Inception-v1 inflated to clips, as DeepMind's kinetics-i3d computes it and as its ports do.

Modules: ``conv1a``, ``conv2b``, ``conv2c``; nine blocks ``mixed3b`` .. ``mixed5c`` of the units ``b0``, ``b1a``,
``b1b``, ``b2a``, ``b2b`` and, after a pool, ``b3b``; ``head``, which TensorFlow has as a 1x1x1 convolution.
Every unit has ``conv`` and ``bn``.

Settings, both keys optional:

- ``padding``: what the strided layers do at the edges. ``"same"`` (default) is TensorFlow's rule, by each axis'
  own size: as much as ``ceil(size / stride)`` outputs need, the smaller half before the first row. ``"even"``: at every
  size what that rule gives at even ones (kinetics_i3d_pytorch, video_features). ``"ceil"``: one more row of
  zeros after the last of the first convolution's input, and pools without padding that round up (mmaction).
  ``"symmetric"``: half a kernel on either side of every axis; the last pool, 2x2x2, has none and rounds down
  (GluonCV).
- ``head``: ``"windows"`` (default) averages windows of 2x7x7, classifies each and averages the logits, so that
  the first and the last of the remaining frames weigh half; ``"global"`` averages all that is left (mmaction).

All agree if every axis is even at each of its strided layers and two frames are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

MOMENTUM = 0.001
"""Sonnet's batch norm keeps 0.999 of the old statistics."""

PADDINGS = ("same", "even", "ceil", "symmetric")
HEADS = ("windows", "global")

_POOLS = {
    "2b": ("MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2)),
    "3b": ("MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2)),
    "4b": ("MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2)),
    "5b": ("MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2)),
}
"""The pool before a layer: its name in TensorFlow, kernel and stride."""

_STEM = {"1a": "Conv3d_1a_7x7", "2b": "Conv3d_2b_1x1", "2c": "Conv3d_2c_3x3"}
_MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
_BRANCHES = (("b0",), ("b1a", "b1b"), ("b2a", "b2b"), ("b3b",))
_WINDOW = (2, 7, 7)


class Mixed(nn.Module):
    """A block of four branches, their channels concatenated; the last begins with a pool. ``stride`` has a one for
    every axis, of clips or of frames."""

    def __init__(
        self, shapes: ModuleShapes, channels: int, eps: float, stride: tuple[int, ...] = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.out_channels = 0
        self.pool = nn.MaxPool3d(3, 1, 1) if len(stride) == 3 else nn.MaxPool2d(3, 1, 1)
        for names in _BRANCHES:
            inner = channels
            for name in names:
                unit = Unit(shapes.under(name), inner, eps, stride)
                self.add_module(name, unit)
                inner = unit.out_channels
            self.out_channels += inner

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, ...] -> [N, out_channels, ...]."""
        outs = []
        for names in _BRANCHES:
            out = self.pool(x) if names == ("b3b",) else x
            for name in names:
                out = F.relu_(self.get_submodule(name)(out))
            outs.append(out)
        return torch.cat(outs, dim=1)


class I3D(Network):
    """Clips [N, C, T, H, W] to logits [N, classes].

    With the head ``"windows"`` height and width must leave 7x7 (193 to 224 pixels under ``"same"``) and the
    frames at least two (9 frames on); with ``"global"`` any size that leaves something will do. ValueError
    for others.

    `steps` names blocks as TensorFlow does, ``"Conv3d_1a_7x7"``, ``"MaxPool3d_2a_3x3"``, ...
    ``"Mixed_5c"``, then ``"features"`` [N, channels, T'], what the classifier sees of each of the T'
    windows, ``"frame_logits"`` [N, T', classes] and ``"logits"``, their mean. Without a head among the shapes the
    last is ``"pool"`` [N, channels], the mean of the features.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        settings, eps = settings.or_else(padding="same", head="windows"), settings.bn_eps
        self.padding = settings.choice("padding", {name: name for name in PADDINGS})
        self.head_pool = settings.choice("head", {name: name for name in HEADS})
        _, channels, *_ = shapes["conv1a.conv.weight"]
        self.in_channels = channels
        for number in _STEM:
            stride, padding = ((2, 2, 2), (0, 0, 0)) if number == "1a" else ((1, 1, 1), None)
            unit = Unit(shapes.under(f"conv{number}"), channels, eps, stride, padding=padding)
            self.add_module(f"conv{number}", unit)
            channels = unit.out_channels
        for number in _MIXED:
            block = Mixed(shapes.under(f"mixed{number}"), channels, eps)
            self.add_module(f"mixed{number}", block)
            channels = block.out_channels
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None
        self.dropout = nn.Dropout(0.5)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = MOMENTUM

    def steps(self, clip: Tensor) -> Iterator[tuple[str, Tensor]]:
        self._check(clip)
        x = F.pad(clip, self._stem_padding(clip))
        for number, name in _STEM.items():
            if number in _POOLS:
                pool, kernel, stride = _POOLS[number]
                x = self._pool(x, kernel, stride)
                yield pool, x
            x = F.relu_(self.get_submodule(f"conv{number}")(x))
            yield name, x
        for number in _MIXED:
            if number in _POOLS:
                pool, kernel, stride = _POOLS[number]
                x = self._pool(x, kernel, stride)
                yield pool, x
            x = self.get_submodule(f"mixed{number}")(x)
            yield f"Mixed_{number}", x
        window = _WINDOW if self.head_pool == "windows" else x.shape[2:]
        x = F.avg_pool3d(x, window, stride=1).flatten(2)
        yield "features", x
        if self.head is None:
            yield "pool", x.mean(dim=2)
            return
        x = self.head(self.dropout(x).transpose(1, 2))
        yield "frame_logits", x
        yield "logits", x.mean(dim=1)

    def _stem_padding(self, clip: Tensor) -> list[int]:
        """The padding before and after each axis of a clip, the last axis first, as `F.pad` takes it."""
        pads: list[int] = []
        for size in reversed(clip.shape[2:]):
            if self.padding in ("ceil", "symmetric"):
                pads += (2, 4) if self.padding == "ceil" else (3, 3)
            else:
                odd = size % 2 if self.padding == "same" else 0
                pads += (2 + odd, 3)
        return pads

    def _pool(self, x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        """A max pool that rounds up: positions after the last row do not count."""
        if self.padding == "symmetric":
            return F.max_pool3d(x, kernel, stride, padding=[side // 2 if side == 3 else 0 for side in kernel])
        axes = zip(x.shape[2:], kernel, stride, strict=True)
        odd = [int(size % 2 == 1 and side == 3 and step == 2) for size, side, step in axes]
        if self.padding == "even" and any(odd):
            # One more row of zeros: after a ReLU it changes no maximum, only the size of the output.
            x = F.pad(x, [pad for axis in reversed(odd) for pad in (0, axis)])
        front = odd if self.padding == "same" else 0
        return F.max_pool3d(x, kernel, stride, padding=front, ceil_mode=True)

    def _check(self, clip: Tensor) -> None:
        """ValueError unless the strided layers leave something, and for windows exactly their height and width."""
        check_input(clip, "NCTHW", self.in_channels)
        left = [self._left(size, axis) for axis, size in enumerate(clip.shape[2:])]
        windows = self.head_pool == "windows"
        if 0 in left or (windows and (left[0] < _WINDOW[0] or tuple(left[1:]) != _WINDOW[1:])):
            given, leaves = ("x".join(map(str, sizes)) for sizes in (clip.shape[2:], left))
            wanted = "two frames or more of 7x7" if windows else "something"
            raise ValueError(
                f"a clip of {given} leaves {leaves} and the head takes {wanted}; 64x224x224 leaves 8x7x7"
            )

    def _left(self, size: int, axis: int) -> int:
        """How many positions of one axis are left after the strided layers."""
        size = size // 2 if self.padding == "even" else -(-size // 2)
        for _, kernel, stride in _POOLS.values():
            if stride[axis] == 2:
                lost = kernel[axis] - 2 if self.padding == "ceil" else 0
                if self.padding == "symmetric" and kernel[axis] == 2:
                    lost = 1
                size = max(0, -(-(size - lost) // 2))
        return size


NETWORK = NetworkRecord(build=I3D, test_clip=(1, 3, 9, 197, 224))
