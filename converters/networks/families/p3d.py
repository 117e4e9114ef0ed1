"""P3D: residual networks whose convolutions are over space and over time, one after the other or side by side.

Modules: ``stem``; ``layer1`` .. ``layer4`` with blocks of ``conv1``, ``space``, ``time``, ``conv3`` and, where channels
or size change, ``shortcut``; ``head``. Stage 4 is two-dimensional and has no ``time``. Settings: ``blocks`` and
``spatial_strides`` of stages 1..4, and ``bn_eps``.
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

DESIGNS = "ABC"
"""How blocks combine space S and time T, in turn: A T(S(x)), B S(x) + T(x), C S(x) + T(S(x))."""

_HALVINGS = 4
"""The number of pools that halve the frames."""


class Block(nn.Module):
    """A bottleneck whose middle has the design ``design``; without ``time`` it is the one over space alone. The stride
    is in ``conv1``."""

    def __init__(
        self, shapes: ModuleShapes, channels: int, eps: float, stride: tuple[int, ...], design: str
    ) -> None:
        super().__init__()
        self.design = design
        ones = (1,) * len(stride)
        self.conv1 = Unit(shapes.under("conv1"), channels, eps, stride)
        inner = self.conv1.out_channels
        self.space = Unit(shapes.under("space"), inner, eps, ones)
        self.time = Unit(shapes.under("time"), inner, eps, ones) if "time.conv.weight" in shapes else None
        self.conv3 = Unit(shapes.under("conv3"), inner, eps, ones)
        self.shortcut: Unit | None = None
        if "shortcut.conv.weight" in shapes:
            self.shortcut = Unit(shapes.under("shortcut"), channels, eps, stride)
        self.out_channels = self.conv3.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, ...] -> [N, out_channels, ...], after the last ReLU."""
        out = self.conv3(self._middle(F.relu_(self.conv1(x))))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)

    def _middle(self, x: Tensor) -> Tensor:
        space = F.relu_(self.space(x))
        if self.time is None:
            return space
        time = F.relu_(self.time(x if self.design == "B" else space))
        return time if self.design == "A" else space + time


class P3D(Network):
    """Clips [N, C, T, H, W] to logits [N, classes].

    Stage 4 sees the one frame that the pools leave of 16 to 31, ValueError for others. `steps` gives ``"stem"``,
    ``"pool1"``, blocks, ``"pool2"`` .. ``"pool4"`` after the first three stages, ``"pool"`` [N, channels] and
    ``"logits"``; without a head among the shapes ``"pool"`` is the last.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem.conv.weight"][1]
        self.stem = Unit(shapes.under("stem"), self.channels, eps, (1, 2, 2))
        channels, count = self.stem.out_channels, 0
        rows = zip(settings.integers("blocks", 4), settings.integers("spatial_strides", 4), strict=True)
        for number, (blocks, step) in enumerate(rows, 1):
            layer = nn.Sequential()
            for index in range(blocks):
                under = shapes.under(f"layer{number}.{index}")
                stride = (step if index == 0 else 1,) * 2
                over_time = (1,) * (len(under["conv1.conv.weight"]) - 4)
                block = Block(under, channels, eps, over_time + stride, DESIGNS[count % len(DESIGNS)])
                layer.append(block)
                channels = block.out_channels
                count += 1
            self.add_module(f"layer{number}", layer)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        if x.shape[2] >> _HALVINGS != 1:
            raise ValueError(f"expected a clip of 16 to 31 frames, got {x.shape[2]}")
        x = F.relu_(self.stem(x))
        yield "stem", x
        x = F.max_pool3d(x, (2, 3, 3), 2, (0, 1, 1))
        yield "pool1", x
        for number in range(1, 5):
            for index, block in self.get_submodule(f"layer{number}").named_children():
                x = block(x)
                yield f"layer{number}.{index}", x
            if number < 4:
                x = F.max_pool3d(x, (2, 1, 1))
                yield f"pool{number + 1}", x
            if number == 3:
                x = x.squeeze(2)
        x = x.mean(dim=(2, 3))
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(x)


NETWORK = NetworkRecord(build=P3D, test_clip=(1, 3, 17, 65, 70))
