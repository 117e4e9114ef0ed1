"""VMZ's C3D: eight convolutions with bias and batch norm, five pools without padding, three linear layers.

No config: the order of convolutions and pools is fixed, all sizes are in the shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Network, Unit, check_input, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec import Shapes

_STAGES = (("conv1a",), ("conv2a",), ("conv3a", "conv3b"), ("conv4a", "conv4b"), ("conv5a", "conv5b"))


class C3D(Network):
    """Clips [N, C, T, H, W] of 16 to 31 frames and 96 to 127 pixels to logits: others do not fit ``fc6``."""

    def __init__(self, shapes: Shapes, eps: float) -> None:
        super().__init__()
        _, channels, *_ = shapes["conv1a.conv.weight"]
        for stage in _STAGES:
            for name in stage:
                unit = Unit(shapes.under(name), channels, eps, (1, 1, 1))
                self.add_module(name, unit)
                channels = unit.out_channels
        self.channels = channels
        inputs = shapes["fc6.weight"][1]
        self.fc6 = linear(shapes, inputs, "fc6")
        self.fc7 = linear(shapes, self.fc6.out_features, "fc7")
        self.head = linear(shapes, self.fc7.out_features, "head")
        self.dropout = nn.Dropout(0.5)

    def steps(self, clip: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        self._check(clip)
        x = clip
        for number, stage in enumerate(_STAGES, 1):
            for name in stage:
                x = F.relu_(self.get_submodule(name)(x))
                yield name, x
            x = F.max_pool3d(x, (1 if number == 1 else 2, 2, 2))
            yield f"pool{number}", x
        x = F.relu_(self.fc6(x.flatten(1)))
        yield "fc6", x
        x = F.relu_(self.fc7(self.dropout(x)))
        yield "fc7", x
        yield "logits", self.head(self.dropout(x))

    def _check(self, clip: Tensor) -> None:
        """The pools must leave exactly what ``fc6`` was trained on."""
        conv1a = self.get_submodule(_STAGES[0][0])
        assert isinstance(conv1a, Unit)
        check_input(clip, "NCTHW", conv1a.conv.in_channels)
        time, height, width = clip.shape[2] // 16, clip.shape[3] // 32, clip.shape[4] // 32
        if self.channels * time * height * width != self.fc6.in_features:
            size = "x".join(map(str, clip.shape[2:]))
            raise ValueError(
                f"a clip of {size} leaves {time}x{height}x{width} positions and fc6 takes "
                f"{self.fc6.in_features // self.channels}; 16x112x112 leaves 1x3x3"
            )
