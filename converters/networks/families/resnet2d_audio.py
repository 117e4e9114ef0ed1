"""VMZ's residual networks over log-mels (a_resnet).

Settings: ``blocks`` and ``spatial_strides`` of stages 0..4, and ``block``, the kind of the blocks of stages 1..4
(``"simple"`` or ``"bottleneck"``); those of stage 0 are always simple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.networks.layers import Unit, check_input
from converters.networks.record import NetworkRecord
from converters.networks.resnet import UNITS, ResNet, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from converters.networks.spec import ModuleShapes, Settings


class AudioResNet(ResNet):
    """Log-mels [N, 1, 100, 40] (time, frequency) to logits. The stem has no ReLU; the pool is a maximum."""

    def enter(self, x: Tensor) -> Tensor:
        """Channels are averaged, as VMZ's ``audio_input_3d`` does."""
        check_input(x, "NCTF", None)
        out: Tensor = self.stem(x.mean(dim=1, keepdim=True))
        return out

    def pool(self, x: Tensor) -> Tensor:
        return x.amax(dim=(2, 3))


def build(shapes: ModuleShapes, settings: Settings) -> AudioResNet:
    """The network over log-mels; without a head where ``shapes`` has none."""
    units, eps = settings.choice("block", UNITS), settings.bn_eps
    rows = zip(settings.integers("blocks", 5), settings.integers("spatial_strides", 5), strict=True)
    stages = {
        f"layer{number}": Stage(blocks, (stride, stride), units if number else UNITS["simple"])
        for number, (blocks, stride) in enumerate(rows)
    }
    stem = Unit(shapes.under("stem"), 1, eps, (1, 1))
    return AudioResNet(shapes, eps, stem, stages)


NETWORK = NetworkRecord(build=build, test_clip=None, inputs=("logmels",))
