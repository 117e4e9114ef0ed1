"""The parts that all networks are made of. Sizes come from tensor shapes; modules are made on the meta device."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from torch import Tensor, is_autocast_enabled, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .spec import ModuleShapes

_CONV: dict[int, Callable[..., nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, Callable[..., nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

MOMENTUM = 0.1
"""Caffe2's 0.9 weighs the old statistics (new = 0.9 old + 0.1 batch); PyTorch's momentum weighs the batch."""


class Network(nn.Module):
    """A network that gives the output of every block.

    ``labels`` are its classes' names in order, where they are known, ``preprocessing`` is a `ClipPreprocessing`, or
    None where no table says how frames become its clip.
    """

    labels: tuple[str, ...] = ()
    preprocessing: Any = None

    def steps(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        """The name and output of each block as it is computed; the network's output comes last.

        ValueError for inputs of a wrong rank, number of channels or size.
        """
        raise NotImplementedError

    def end_points(self, *inputs: Tensor) -> OrderedDict[str, Tensor]:
        """All of `steps` by name, in the order computed. Keeps every block's output in memory."""
        self._require_dtype(inputs)
        return OrderedDict(self.steps(*inputs))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The last of `steps`; what came before is freed on the way."""
        self._require_dtype(inputs)
        return deque(self.steps(*inputs), maxlen=1).pop()[1]

    def _require_dtype(self, inputs: Sequence[Any]) -> None:
        """ValueError unless all inputs are tensors of the weights' dtype: PyTorch's own message names a kernel."""
        expected = next(self.parameters()).dtype
        for value in inputs:
            if not isinstance(value, Tensor):
                raise ValueError(f"expected a tensor of {_dtype_text(expected)}, got {type(value).__name__}")
            if not value.is_floating_point():
                raise ValueError(
                    f"expected a clip of {_dtype_text(expected)}, got {_dtype_text(value.dtype)}: "
                    "converters.preprocess makes one of a video's frames"
                )
            if value.dtype != expected and not is_autocast_enabled(value.device.type):
                raise ValueError(
                    f"expected a clip of {_dtype_text(expected)}, as the weights are, got "
                    f"{_dtype_text(value.dtype)}: convert it with clip.to({expected})"
                )


class FrameNetwork(Network):
    """A 2D network over the T frames of a clip, whose logits are averaged over them."""

    channels: int
    """The number of a clip's channels."""

    def frame_steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """`steps` over frames [N T, C, H, W]."""
        raise NotImplementedError

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`: of [N, C, T, H, W]. Blocks are of all frames, the logits [N, classes]."""
        check_input(x, "NCTHW", self.channels)
        for name, out in self.frame_steps(x.transpose(1, 2).flatten(0, 1)):
            yield name, out.reshape(len(x), -1, out.shape[1]).mean(dim=1) if name == "logits" else out


class Unit(nn.Module):
    """A convolution ``conv`` and, where the network has one, its batch norm ``bn``. No activation after it.

    Where the network splits the convolution in two, ``middle`` is the first half, a unit of its own:

    - ``factorised``: ``"space"`` if that is the half over space, which takes the spatial strides (R(2+1)D),
      ``"time"`` if the one over time, with the stride in time; else it is pointwise and takes none (ip-CSN);
    - ``middle_relu``: whether a ReLU lies between the halves.

    ``channels`` come in; the groups follow from the weight's second axis. Padding keeps the size at stride 1
    (odd kernels) unless ``padding`` is given; ``dilation`` is that of axes where the kernel is wider than one.
    """

    out_channels: int

    def __init__(
        self,
        shapes: ModuleShapes,
        channels: int,
        eps: float,
        stride: Sequence[int],
        *,
        padding: Sequence[int] | None = None,
        factorised: str = "",
        middle_relu: bool = True,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.middle_relu = middle_relu
        self.middle: Unit | None = None
        if "middle.conv.weight" in shapes:
            time, *space = stride
            of_time, of_space = [time, *(1 for _ in space)], [1, *space]
            none = [1] * len(stride)
            first, stride = {"space": (of_space, of_time), "time": (of_time, of_space), "": (none, stride)}[
                factorised
            ]
            self.middle = Unit(shapes.under("middle"), channels, eps, first)
            channels = self.middle.out_channels
        self.out_channels, group, *kernel = shapes["conv.weight"]
        name = f"{shapes.prefix}conv.weight"
        if len(kernel) != len(stride):
            raise ValueError(f"{name}: {len(stride)} kernel axes expected, got {len(kernel)}")
        if channels % group:
            raise ValueError(f"{name} takes channels in groups of {group} and gets {channels}")
        self.conv = _CONV[len(kernel)](
            channels,
            self.out_channels,
            kernel,
            stride=stride,
            padding=padding or [size // 2 * dilation for size in kernel],
            dilation=[dilation if size > 1 else 1 for size in kernel],
            groups=channels // group,
            bias="conv.bias" in shapes,
            device="meta",
        )
        self.bn: nn.Module | None = None
        if "bn.weight" in shapes:
            self.bn = _NORM[len(kernel)](self.out_channels, eps=eps, momentum=MOMENTUM, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, ...] -> [N, out_channels, ...]."""
        if self.middle is not None:
            x = self.middle(x)
            if self.middle_relu:
                x = F.relu_(x)
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return x


class Block(nn.Module):
    """A residual block: 2 ``units`` are a simple one (stride in conv1), 3 a bottleneck (stride in conv2, or with
    ``early`` in conv1)."""

    def __init__(
        self,
        shapes: ModuleShapes,
        channels: int,
        eps: float,
        stride: Sequence[int],
        *,
        units: int,
        factorised: str = "",
        middle_relu: bool = True,
        dilation: int = 1,
        early: bool = False,
    ) -> None:
        super().__init__()
        strided = 1 if early else units - 1

        def unit(index: int, channels: int) -> Unit:
            return Unit(
                shapes.under(f"conv{index}"),
                channels,
                eps,
                stride if index == strided else [1] * len(stride),
                factorised=factorised,
                middle_relu=middle_relu,
                dilation=dilation if index == units - 1 else 1,
            )

        self.conv1 = unit(1, channels)
        self.conv2 = unit(2, self.conv1.out_channels)
        self.conv3 = unit(3, self.conv2.out_channels) if units == 3 else None
        self.shortcut: Unit | None = None
        if "shortcut.conv.weight" in shapes:
            self.shortcut = Unit(shapes.under("shortcut"), channels, eps, stride, factorised=factorised)
        self.out_channels = (self.conv3 or self.conv2).out_channels

    def forward(self, x: Tensor, branch: Tensor | None = None) -> Tensor:
        """[N, channels, ...] -> [N, out_channels, ...], after the last ReLU; the residual branch takes ``branch`` where
        that is not ``x``."""
        out = self.conv2(F.relu_(self.conv1(x if branch is None else branch)))
        if self.conv3 is not None:
            out = self.conv3(F.relu_(out))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


def linear(shapes: ModuleShapes, inputs: int, name: str) -> nn.Linear:
    """The linear layer ``name``. Raises ValueError if its weight does not take ``inputs`` inputs."""
    outputs, columns = shapes[f"{name}.weight"]
    if columns != inputs:
        raise ValueError(f"{shapes.prefix}{name}.weight takes {columns} inputs and gets {inputs}")
    return nn.Linear(inputs, outputs, bias=f"{name}.bias" in shapes, device="meta")


def _dtype_text(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def check_input(x: Tensor, axes: str, channels: int | None) -> None:
    """Raise ValueError unless ``x`` has the axes named by letters, none of them empty, and ``channels`` channels."""
    what = f"[{', '.join(axes)}]"
    if x.dim() != len(axes):
        raise ValueError(f"expected {what}, got {x.dim()} axes: {list(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"expected {what} with at least one of each, got {list(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"expected {what} with {channels} channels, got {x.shape[1]}: {list(x.shape)}")
