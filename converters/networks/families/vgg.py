"""VGG-16 over the frames of a clip: thirteen convolutions with bias, five pools, three linear layers. No settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import FrameNetwork, Unit, linear
from converters.networks.record import NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings

_STAGES = (2, 2, 3, 3, 3)
_SIDE = 7
"""Height and width of the map that ``fc6`` takes."""


class VGG(FrameNetwork):
    """Frames [N, C, T, H, W] of 224 to 255 pixels to logits [N, classes], averaged over the frames.

    End points have the names of the layers and pools; without a head among the shapes ``fc7`` is the last.
    """

    def __init__(self, shapes: ModuleShapes, _settings: Settings) -> None:
        super().__init__()
        channels = self.channels = shapes["conv1_1.conv.weight"][1]
        for number, count in enumerate(_STAGES, 1):
            for index in range(1, count + 1):
                unit = Unit(shapes.under(f"conv{number}_{index}"), channels, 0.0, (1, 1))
                self.add_module(f"conv{number}_{index}", unit)
                channels = unit.out_channels
        self.fc6 = linear(shapes, channels * _SIDE * _SIDE, "fc6")
        self.fc7 = linear(shapes, self.fc6.out_features, "fc7")
        self.head = linear(shapes, self.fc7.out_features, "head") if "head.weight" in shapes else None
        self.dropout = nn.Dropout(0.5)

    def frame_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        if any(size >> len(_STAGES) != _SIDE for size in x.shape[2:]):
            raise ValueError(f"expected frames of 224 to 255 pixels, got {'x'.join(map(str, x.shape[2:]))}")
        for number, count in enumerate(_STAGES, 1):
            for index in range(1, count + 1):
                name = f"conv{number}_{index}"
                x = F.relu_(self.get_submodule(name)(x))
                yield name, x
            x = F.max_pool2d(x, 2)
            yield f"pool{number}", x
        x = F.relu_(self.fc6(x.flatten(1)))
        yield "fc6", x
        x = F.relu_(self.fc7(self.dropout(x)))
        yield "fc7", x
        if self.head is not None:
            yield "logits", self.head(self.dropout(x))


NETWORK = NetworkRecord(build=VGG, test_clip=(1, 3, 1, 224, 225))
