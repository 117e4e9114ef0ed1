"""What a network over a stream of frames keeps from one step to the next: its state."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FRAMES = "frames"
"""Of a state: how many frames came before, a float32 without axes."""


def one_by_one(x: Tensor) -> bool:
    """Whether the frames of a clip take their turns: on a CPU PyTorch chooses kernels, and with them the order of sums,
    by the number of images, and a clip must give what its frames give. A traced graph is for any number of frames."""
    jit: Any = torch.jit
    compiling = getattr(torch.compiler, "is_compiling", jit.is_tracing)  # from PyTorch 2.3 on
    return x.is_cpu and not jit.is_tracing() and not compiling()


def each_frame(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """[N, C, T, H, W] through a function of images. In memory a frame's channels lie together, before and after. A
    batch norm in training takes the statistics of all frames."""
    if one_by_one(x) and not getattr(function, "training", False):
        return torch.stack([function(frame) for frame in x.unbind(2)], dim=1).transpose(1, 2)
    images = function(x.transpose(1, 2).flatten(0, 1))
    return images.reshape(x.shape[0], x.shape[2], *images.shape[1:]).transpose(1, 2)


class Streaming(Protocol):
    """A network that takes a clip in pieces."""

    @property
    def initial_state(self) -> InitialState:
        """The state before the first frame."""

    def step(self, frames: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next frames of clips, [N, C, T, H, W] of any T from 1 on, and the state that the frames before them left:
        the logits [N, classes] of all frames so far, and the state after them. ``state`` stays as it is."""


class InitialState(dict[str, Tensor]):
    """The state before the first frame: empty, which stands for zeros. Called with clips [N, C, T, H, W] or their shape
    it gives those zeros by name, as a graph needs them; called with nothing it is itself."""

    def __init__(self, zeros: Callable[[tuple[int, ...]], dict[str, Tensor]]) -> None:
        super().__init__()
        self._zeros = zeros

    def __call__(self, clips: Tensor | Sequence[int] = ()) -> dict[str, Tensor]:
        """The zeros for ``clips``, of which the frames do not count."""
        shape = tuple(clips.shape if isinstance(clips, Tensor) else clips)
        return self._zeros(shape) if shape else self


class Memory:
    """The state ``before`` a step over ``frames``, [N, C, T, ...], and ``after`` it."""

    def __init__(self, before: Mapping[str, Tensor], frames: Tensor) -> None:
        self.before = before
        count = before.get(FRAMES)
        self.count = frames.new_zeros((), dtype=torch.float32) if count is None else count
        self.after = {FRAMES: self.count + frames.shape[2]}

    def preceded(self, name: str, x: Tensor, length: int) -> Tensor:
        """[N, C, T, H, W] after the ``length`` frames before it, zeros before the first; the last ones are kept."""
        buffer = self.before.get(name)
        if buffer is None:
            buffer = x.new_zeros((*x.shape[:2], length, *x.shape[3:]))
        x = torch.cat((buffer, x), dim=2)
        self.after[name] = x[:, :, -length:]
        return x

    def means(self, name: str, x: Tensor) -> Tensor:
        """[N, C, T, 1, 1], for every frame the mean of it and all before it. The sum is kept."""
        seen = [self.before[name]] if name in self.before else []
        if one_by_one(x):
            frames = [*seen, *torch.split(x, 1, dim=2)]
            sums = torch.cat([*accumulate(frames, torch.add)][len(seen) :], dim=2)
        else:
            sums = sum(seen, x.cumsum(dim=2))
        self.after[name] = sums[:, :, -1:]
        return sums / (self._numbers(x) + 1)[:, None, None]

    def encoding(self, x: Tensor) -> Tensor:
        """The sinusoidal encoding of each frame's number, [C, T, 1, 1] for [N, C, T, 1, 1]: sines of the even channels,
        then cosines of the odd ones (``PositionalEncoding`` of the model garden's ``nn_layers.py``)."""
        channels = x.shape[1]
        power = (torch.arange(channels, device=x.device) // 2 * 2).to(x.dtype) / channels
        angles = (1 / 10_000**power)[:, None] * self._numbers(x)
        return torch.cat((angles[0::2].sin(), angles[1::2].cos()))[..., None, None]

    def _numbers(self, x: Tensor) -> Tensor:
        """The frames' numbers from 0."""
        return torch.arange(x.shape[2], device=x.device, dtype=x.dtype) + self.count
