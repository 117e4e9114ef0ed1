"""MoViNet: inverted bottlenecks over clips, and over a stream of frames (Kondratyuk et al., CVPR 2021).

Modules: ``stem``, ``layer0`` .. ``layer4`` of blocks with ``expand``, ``depthwise``, perhaps ``temporal``, ``squeeze``
(``fc1``, ``fc2`` and perhaps ``position``), ``project``, ``rezero`` and perhaps ``shortcut``, then ``tail``, ``hidden``
and ``head``. Convolutions are padded by TensorFlow's rule ``SAME``.

Kernels of two axes make a streaming network: its convolutions are over single frames, ``temporal`` ones over a frame
and those before it, and squeeze and excitation sees the mean of the frames so far beside the frame's own.

Settings: ``blocks`` and ``spatial_strides`` of the stages; of streaming networks ``stream_gate_slope``, that of the
hard sigmoid.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input
from converters.networks.record import NetworkRecord
from converters.networks.same_padding import SameUnit, average_pool
from converters.networks.streaming import FRAMES, InitialState, Memory, each_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from converters.networks.spec import ModuleShapes, Settings

    Activation = Callable[[Tensor], Tensor]

STAGES = 5

HEAD = "state_head_pool_buffer"
"""Of a state: the sum of the last maps' means."""


def _garden_gate(x: Tensor) -> Tensor:
    """The hard sigmoid of TensorFlow's model garden, whose factor has five digits."""
    return F.relu6(x + 3) * 0.16667


def _keras_gate(x: Tensor) -> Tensor:
    """Keras's hard sigmoid."""
    return (x * 0.2 + 0.5).clamp(0, 1)


GATES: Mapping[str, Activation] = {"0.16667": _garden_gate, "0.2": _keras_gate}
"""The hard sigmoids by their slope."""


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty((), device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * self.scale


def _plain(shapes: ModuleShapes, name: str) -> nn.Module:
    """A pointwise convolution with its bias."""
    outputs, inputs, *kernel = shapes[f"{name}.weight"]
    kind: Any = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    made: nn.Module = kind(inputs, outputs, kernel, bias=f"{name}.bias" in shapes, device="meta")
    return made


class Squeeze(nn.Module):
    """Squeeze and excitation: every channel is scaled by a gate that the means of all channels decide."""

    def __init__(self, shapes: ModuleShapes) -> None:
        super().__init__()
        self.fc1, self.fc2 = _plain(shapes, "fc1"), _plain(shapes, "fc2")

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to the same."""
        gate: Tensor = self.fc2(F.silu(self.fc1(x.mean(dim=(2, 3, 4), keepdim=True))))
        return x * gate.sigmoid()


class StreamSqueeze(nn.Module):
    """`Squeeze` for every frame, by the means so far and its own, and by its number where there is ``position``."""

    def __init__(self, shapes: ModuleShapes, gate: Activation, name: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = _plain(shapes, "fc1"), _plain(shapes, "fc2")
        self.position = Scale() if "position.scale" in shapes else None
        self.gate, self.name = gate, f"{name}_pool_buffer"

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """[N, C, T, H, W] to the same."""
        own = each_frame(_mean, x)
        seen = torch.cat((memory.means(self.name, own), own), dim=1)
        if self.position is not None:
            seen = seen + self.position(memory.encoding(seen))
        hidden = F.hardswish(each_frame(self.fc1, seen))
        gate = self.gate(each_frame(self.fc2, hidden))
        return x * gate


class Bottleneck(nn.Module):
    """A residual block; the stride ``step`` is that of its depthwise convolution."""

    def __init__(
        self, shapes: ModuleShapes, channels: int, eps: float, step: int, squeeze: nn.Module
    ) -> None:
        super().__init__()
        ones = _ones(shapes["expand.conv.weight"])
        self.expand = Unit(shapes.under("expand"), channels, eps, ones)
        inner = self.expand.out_channels
        self.depthwise = SameUnit(shapes.under("depthwise"), inner, eps, step)
        self.temporal: Unit | None = None
        if "temporal.conv.weight" in shapes:
            self.temporal = Unit(shapes.under("temporal"), inner, eps, ones, padding=(0, 0))
        self.squeeze = squeeze
        self.project = Unit(shapes.under("project"), inner, eps, ones)
        self.rezero = Scale()
        self.shortcut: Unit | None = None
        if "shortcut.conv.weight" in shapes:
            self.shortcut = Unit(shapes.under("shortcut"), channels, eps, ones)
        self.out_channels, self.step = self.project.out_channels, step

    def pooled(self, x: Tensor) -> Tensor:
        """What the shortcut sees."""
        return average_pool(x) if self.step > 1 else x


class ClipBottleneck(Bottleneck):
    """One over clips."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, step: int, _name: str) -> None:
        super().__init__(shapes, channels, eps, step, Squeeze(shapes.under("squeeze")))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, T, H, W] -> [N, out_channels, T, H', W']."""
        inner = F.silu(self.expand(x), inplace=True)
        inner = self.squeeze(F.silu(self.depthwise(inner), inplace=True))
        out: Tensor = self.rezero(self.project(inner))
        out += x if self.shortcut is None else self.shortcut(self.pooled(x))
        return out


class StreamBottleneck(Bottleneck):
    """One over a stream. ``name`` is what TensorFlow calls the block in the names of its states."""

    def __init__(
        self, shapes: ModuleShapes, channels: int, eps: float, step: int, name: str, *, gate: Activation
    ) -> None:
        super().__init__(shapes, channels, eps, step, StreamSqueeze(shapes.under("squeeze"), gate, name))
        self.buffer, self.sums = f"{name}_stream_buffer", f"{name}_pool_buffer"
        self.kept = shapes["temporal.conv.weight"][2] - 1 if self.temporal is not None else 0

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """[N, channels, T, H, W] -> [N, out_channels, T, H', W']."""
        inner = F.hardswish(each_frame(self.expand, x))
        inner = F.hardswish(each_frame(self.depthwise, inner))
        if self.temporal is not None:
            rows = memory.preceded(self.buffer, inner, self.kept).flatten(3)
            inner = F.hardswish(self.temporal(rows)).reshape(inner.shape)
        out: Tensor = self.rezero(each_frame(self.project, self.squeeze(inner, memory)))
        return out + (x if self.shortcut is None else each_frame(self.shortcut, self.pooled(x)))


def _mean(images: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 1, 1]."""
    return images.mean(dim=(2, 3), keepdim=True)


def _ones(weight: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a convolution that has none, for the shape of its weight."""
    return (1,) * (len(weight) - 2)


class MoViNet(Network):
    """Clips [N, C, T, H, W] to logits [N, classes]; without a head among the shapes to features [N, C].

    `steps` gives ``"stem"``, ``"layer0.0"`` ... , ``"tail"``, ``"pool"`` [N, C], ``"hidden"`` [N, 2048] and
    ``"logits"``. ``bottleneck`` makes a block of its shapes, its input's channels, eps, its stride and its name.
    """

    def __init__(
        self,
        shapes: ModuleShapes,
        settings: Settings,
        bottleneck: Callable[[ModuleShapes, int, float, int, str], Bottleneck],
    ) -> None:
        super().__init__()
        eps = settings.bn_eps
        self.channels = shapes["stem.conv.weight"][1]
        self.stem = SameUnit(shapes.under("stem"), self.channels, eps, 2)
        channels = self.stem.out_channels
        counts, steps = settings.integers("blocks", STAGES), settings.integers("spatial_strides", STAGES)
        for stage, (blocks, step) in enumerate(zip(counts, steps, strict=True)):
            layer = nn.Sequential()
            for index in range(blocks):
                inner, name = shapes.under(f"layer{stage}.{index}"), f"state_block{stage}_layer{index}"
                block = bottleneck(inner, channels, eps, 1 if index else step, name)
                layer.append(block)
                channels = block.out_channels
            self.add_module(f"layer{stage}", layer)
        self.tail = Unit(shapes.under("tail"), channels, eps, _ones(shapes["tail.conv.weight"]))
        self.hidden = _plain(shapes, "hidden") if "hidden.weight" in shapes else None
        self.head = _plain(shapes, "head") if self.hidden is not None else None

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        check_input(x, "NCTHW", self.channels)
        x = F.silu(self.stem(x), inplace=True)
        yield "stem", x
        for name, block in self.blocks():
            x = block(x)
            yield name, x
        x = F.silu(self.tail(x), inplace=True)
        yield "tail", x
        yield from self.classified(x.mean(dim=(2, 3, 4)))

    def blocks(self) -> Iterator[tuple[str, Bottleneck]]:
        """Every block and its name."""
        for stage in range(STAGES):
            for index, block in self.get_submodule(f"layer{stage}").named_children():
                assert isinstance(block, Bottleneck)
                yield f"layer{stage}.{index}", block

    def classified(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The last steps, from the means of all positions, [N, C]."""
        yield "pool", x
        if self.hidden is None or self.head is None:
            return
        ones = (1,) * (len(self.stem.conv.weight.shape) - 2)
        x = F.silu(self.hidden(x.reshape(*x.shape, *ones)))
        yield "hidden", x.flatten(1)
        yield "logits", self.head(x).flatten(1)


class StreamingMoViNet(MoViNet):
    """`MoViNet` over whole clips, or piece by piece: see `Streaming`. A state has TensorFlow's names."""

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        gate = settings.choice("stream_gate_slope", GATES)
        super().__init__(shapes, settings, partial(StreamBottleneck, gate=gate))

    @property
    def initial_state(self) -> InitialState:
        """The state before the first frame."""
        return InitialState(self._zeros)

    def step(self, frames: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Streaming.step`. ValueError for frames of a wrong rank, number of channels or size."""
        memory = Memory(state, frames)
        logits = deque(self._steps(frames, memory), maxlen=1).pop()[1]
        return logits, memory.after

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
        return self._steps(x, Memory({}, x))

    def _steps(self, x: Tensor, memory: Memory) -> Iterator[tuple[str, Tensor]]:
        check_input(x, "NCTHW", self.channels)
        x = F.hardswish(each_frame(self.stem, x))
        yield "stem", x
        for name, block in self.blocks():
            x = block(x, memory)
            yield name, x
        x = F.hardswish(each_frame(self.tail, x))
        yield "tail", x
        yield from self.classified(memory.means(HEAD, each_frame(_mean, x))[:, :, -1].flatten(1))

    def _zeros(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The state before the first frame of clips [N, C, T, H, W], tensor by tensor."""
        clips, _, _, *size = shape
        weight = self.stem.conv.weight
        zeros = {FRAMES: weight.new_zeros((), dtype=torch.float32)}
        size = [-(-side // 2) for side in size]
        for _, block in self.blocks():
            assert isinstance(block, StreamBottleneck)
            size = [-(-side // block.step) for side in size]
            channels = block.expand.out_channels
            if block.temporal is not None:
                zeros[block.buffer] = weight.new_zeros((clips, channels, block.kept, *size))
            zeros[block.sums] = weight.new_zeros((clips, channels, 1, 1, 1))
        zeros[HEAD] = weight.new_zeros((clips, self.tail.out_channels, 1, 1, 1))
        return zeros


def _build(shapes: ModuleShapes, settings: Settings) -> MoViNet:
    if len(shapes["stem.conv.weight"]) == 4:
        return StreamingMoViNet(shapes, settings)
    return MoViNet(shapes, settings, ClipBottleneck)


NETWORK = NetworkRecord(build=_build, test_clip=(1, 3, 4, 33, 46))
