"""Inception-v1 with batch norms over the frames of a clip, as GluonCV builds it.

Modules are those of `i3d`; max pools of 3x3 have no padding and round up. No settings but ``bn_eps``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import FrameNetwork, Unit, linear
from converters.networks.record import NetworkRecord

from .i3d import Mixed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

_MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
_POOLED = {"4b": 3, "5b": 2}
"""The kernel of the pool before a block."""

_WINDOW = 7


class InceptionV1(FrameNetwork):
    """Frames [N, C, T, H, W] to logits [N, classes], averaged over the frames.

    The first 7x7 positions of the last map are averaged, as the project's pool does where it has one window: 223 to
    446 pixels leave one, ValueError for others. `steps` gives ``"conv1a"``, ``"pool1"`` and so on, ``"mixed3b"`` ..
    ``"mixed5c"``, ``"pool"`` [N T, channels] and ``"logits"``; without a head among the shapes ``"pool"`` is the last.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        channels = self.channels = shapes["conv1a.conv.weight"][1]
        for name, stride in (("conv1a", 2), ("conv2b", 1), ("conv2c", 1)):
            unit = Unit(shapes.under(name), channels, eps, (stride, stride))
            self.add_module(name, unit)
            channels = unit.out_channels
        for name in _MIXED:
            block = Mixed(shapes.under(f"mixed{name}"), channels, eps, (1, 1))
            self.add_module(f"mixed{name}", block)
            channels = block.out_channels
        self.dropout = nn.Dropout(0.5)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def frame_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        for pool, names in (("pool1", ("conv1a",)), ("pool2", ("conv2b", "conv2c"))):
            for name in names:
                x = F.relu_(self.get_submodule(name)(x))
                yield name, x
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            yield pool, x
        for number in _MIXED:
            if kernel := _POOLED.get(number):
                x = F.max_pool2d(x, kernel, 2, ceil_mode=kernel == 3)
                yield f"pool{int(number[0]) - 1}", x
            x = self.get_submodule(f"mixed{number}")(x)
            yield f"mixed{number}", x
        x = first_window(x, _WINDOW)
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(self.dropout(x))


def first_window(x: Tensor, side: int) -> Tensor:
    """The mean of the first ``side`` rows and columns, [N, C, H, W] -> [N, C]. ValueError unless exactly one window of
    that size fits."""
    if any(size // side != 1 for size in x.shape[2:]):
        raise ValueError(
            f"the frames leave {x.shape[2]}x{x.shape[3]} positions, of which the last pool takes one window of "
            f"{side}x{side}"
        )
    return x[:, :, :side, :side].mean(dim=(2, 3))


NETWORK = NetworkRecord(build=InceptionV1, test_clip=(1, 3, 1, 223, 229))
