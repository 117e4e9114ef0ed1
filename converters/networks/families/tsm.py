"""Residual 2D networks over the frames of a clip, with channels shifted between neighbouring frames (TSM).

Modules are those of the networks in `resnet2d`, but for what is shifted: ``layer1.0.conv1.net`` is the first
convolution of a block whose residual branch is, ``layer1.0.net`` a block that is shifted as a whole.
``layer2.nonlocal0`` is the non-local block after ``layer2.0``. Settings: ``blocks`` and ``spatial_strides`` of stages
1..4, and those that ``mappings/networks/tsm.toml`` describes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Block, Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord
from converters.networks.shift import SEGMENTS, frames_of, shifted, videos
from converters.networks.spec import ModuleShapes
from converters.networks.stages import NonLocal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import Settings


class TSM(Network):
    """Frames [N, C, T, H, W] to logits, averaged over them; blocks see [N * T, C, H, W].

    ``segments`` frames in a row are one video, all T where it is 0: T must be a multiple of them. Of its channels, one
    of ``shift_div`` parts is that of the next frame (zeros in the last one) and another that of the frame before;
    ``shift_first`` says which of the two comes first.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem.conv.weight"][1]
        self.segments = settings.choice("segments", SEGMENTS)
        self.shift_div = settings.integer("shift_div")
        self.next_first = settings.choice("shift_first", {"next": True, "previous": False})
        self.stem = Unit(shapes.under("stem"), self.channels, eps, (2, 2))
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        channels = self.stem.out_channels
        rows = zip(settings.integers("blocks", 4), settings.integers("spatial_strides", 4), strict=True)
        for number, (blocks, step) in enumerate(rows, 1):
            layer, under = nn.Sequential(), shapes.under(f"layer{number}")
            for index in range(blocks):
                stride = (1, 1) if index else (step, step)
                block, channels = _block(under.under(str(index)), channels, eps, stride)
                layer.add_module(str(index), block)
                if f"nonlocal{index}.g.weight" in under:
                    inner = under.under(f"nonlocal{index}")
                    layer.add_module(f"nonlocal{index}", NonLocal(inner, channels, eps, settings))
            self.add_module(f"layer{number}", layer)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        clips, frames = x.shape[0], frames_of(x.shape[2], self.segments)
        x = F.relu_(self.stem(x.transpose(1, 2).flatten(0, 1)))
        yield "stem", x
        x = self.pool1(x)
        yield "pool1", x
        for number in range(1, 5):
            for index, block in self.get_submodule(f"layer{number}").named_children():
                x = self._through(block, x, frames)
                yield f"layer{number}.{index}", x
        x = x.mean(dim=(2, 3))
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(x).reshape(clips, -1, self.head.out_features).mean(dim=1)

    def _through(self, block: nn.Module, x: Tensor, frames: int) -> Tensor:
        """[N * T, C, H, W] through a block."""
        out: Tensor
        if isinstance(block, NonLocal):
            out = block(videos(x, frames).transpose(1, 2))
            return out.transpose(1, 2).flatten(0, 1)
        if isinstance(block, nn.Sequential):
            out = block(self._shifted(x, frames))
        elif isinstance(block.conv1, nn.Sequential):
            out = block(x, self._shifted(x, frames))
        else:
            out = block(x)
        return out

    def _shifted(self, x: Tensor, frames: int) -> Tensor:
        return shifted(x, frames, x.shape[1] // self.shift_div, next_first=self.next_first)


def _block(shapes: ModuleShapes, channels: int, eps: float, stride: tuple[int, int]) -> tuple[nn.Module, int]:
    """A block, what is shifted of it under the name ``net``, and its channels."""
    if "net.conv1.conv.weight" in shapes:
        block = Block(shapes.under("net"), channels, eps, stride, units=3)
        return nn.Sequential(OrderedDict(net=block)), block.out_channels
    units = 3 if "conv3.conv.weight" in shapes else 2
    if "conv1.net.conv.weight" in shapes:
        inner = f"{shapes.prefix}conv1."
        plain = {name.replace(f"{inner}net.", inner): shape for name, shape in shapes.all.items()}
        block = Block(ModuleShapes(plain, shapes.prefix), channels, eps, stride, units=units)
        block.add_module("conv1", nn.Sequential(OrderedDict(net=block.conv1)))
        return block, block.out_channels
    block = Block(shapes, channels, eps, stride, units=units)
    return block, block.out_channels


NETWORK = NetworkRecord(build=TSM, test_clip=(1, 3, 3, 63, 50))
