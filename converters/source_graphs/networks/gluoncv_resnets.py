"""GluonCV's residual networks (dmlc/gluon-cv 0.10.5) as lists of MXNet's operators: I3D, SlowOnly, R(2+1)D, P3D and the
2D ResNets of TSN, by their files in ``gluoncv/model_zoo/action_recognition``.

Names tell them apart, and which blocks there are; strides and pools are those of each file. Segments of a video are
clips of their own, whose logits are averaged: GluonCV averages what the last layer takes, which is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.gluon import LAYOUT, GluonBuilder, is_of_gluoncv
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

_STAGES = (1, 2, 3, 4)


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape), of clips ``[N, C, T, H, W]``, of TSN's of frames
    ``[N * T, C, H, W]``. None for any other network. Raises `Refused` if a tensor is missing."""
    if not is_of_gluoncv(settings):
        return None
    if "first_stage.1.gamma" in tensors:
        build: _Residual = _I3D(tensors)
    elif "layer1.0.bn_temporal.gamma" in tensors:
        build = _P3D(tensors)
    elif {"layer1.0.conv1.bn1.gamma", "layer1.0.conv2.bn1.gamma"} & tensors.keys():
        build = _R2Plus1D(tensors)
    elif "layer1.0.bn1.gamma" in tensors and len(tensors.get("conv1.weight", ())) == 4:
        build = _Frames(tensors)
    else:
        return None
    try:
        return build.network()
    except KeyError as error:
        raise Refused(f"is not a network of GluonCV: it has no {error.args[0]}") from None


class _Residual(GluonBuilder):
    """Blocks in four stages."""

    def stage(self, x: str, number: int, prefix: str) -> str:
        """All blocks of a stage; the first halves height and width, but that of the first stage."""
        place = 0
        while self.has(*self.conv_names(f"{prefix}.{place}", 1), f"{prefix}.{place}.conv1.conv1"):
            name, step = f"{prefix}.{place}", 2 if number > _STAGES[0] and place == 0 else 1
            x = self.block(f"layer{number}.{place}", self.residual(x, name, step))
            if self.is_followed(name):
                x = self.block(f"layer{number}.nonlocal{place}", self.nonlocal_block(x, name))
            place += 1
        return x

    def conv_names(self, block: str, number: int) -> tuple[str, ...]:
        """The names of a block's convolution."""
        return (f"{block}.conv{number}",)

    def norm_names(self, block: str, number: int) -> tuple[str, ...]:
        """The names of a block's norm."""
        return (f"{block}.bn{number}",)

    def residual(self, x: str, name: str, step: int) -> str:
        """A block of two or three convolutions."""
        out = x
        last = 3 if self.has(*self.conv_names(name, 3)) else 2
        for number in range(1, last + 1):
            strided = step if number == last - 1 else 1
            out = self.norm(self.inner(out, name, number, strided), *self.norm_names(name, number))
            out = self.relu(out) if number < last else out
        shortcut = x
        if self.has(f"{name}.downsample.0"):
            shortcut = self.unit(x, f"{name}.downsample", stride=self.strides(step))
        total = self.op("elemwise_add", [out, shortcut], f"{name}.sum")
        return self.relu(total, f"{name}.residual" if self.is_followed(name) else name)

    def inner(self, x: str, name: str, number: int, step: int) -> str:
        """One of a block's convolutions, with a stride."""
        return self.conv(x, *self.conv_names(name, number), stride=(1, step, step))

    def strides(self, step: int) -> tuple[int, ...]:
        """The strides of a shortcut's convolution."""
        return (1, step, step)

    def is_followed(self, name: str) -> bool:
        """Whether a non-local block follows a block, inside it."""
        return self.has(*self.nonlocal_names(name, "theta"))

    def nonlocal_names(self, name: str, *leaves: str) -> list[str]:
        """The names of a layer of a block's non-local block."""
        return [f"{name}.{inside}.{leaf}" for leaf in leaves for inside in ("nonlocal_block", "bottleneck.8")]

    def nonlocal_block(self, x: str, name: str) -> str:
        """A non-local block: every position attends to all, by the softmax of scaled affinities."""
        theta, phi, g = (
            self.op("reshape", [value], f"{value}.flat", shape=(0, 0, -1))
            for value in (self.conv(x, *self.nonlocal_names(name, leaf)) for leaf in ("theta", "phi", "g"))
        )
        affinity = self.op("batch_dot", [theta, phi], f"{name}.affinity", transpose_a=True)
        channels = self.shapes[f"{self.stored('weight', self.nonlocal_names(name, 'theta'))}.weight"][0]
        scaled = self.op("_mul_scalar", [affinity], f"{name}.scaled", scalar=channels**-0.5)
        attention = self.op("softmax", [scaled], f"{name}.attention", axis=2)
        y = self.op("batch_dot", [g, attention], f"{name}.attended", transpose_b=True)
        y = self.op("reshape_like", [y, x], f"{name}.y")
        y = self.norm(
            self.conv(y, *self.nonlocal_names(name, "W", "W_bn.0")),
            *self.nonlocal_names(name, "bn", "W_bn.1"),
        )
        return self.op("elemwise_add", [y, x], name)

    def classify(self, x: str, axes: int, *names: str, windows: bool = False) -> None:
        """From the last map to the logits. With ``windows`` the reference network could classify parts of the map."""
        logits = self.dense(self.block("pool", self.mean(x, "mean", axes)), *names)
        if windows:
            self.block("window_logits", logits)
        self.block("logits", logits)

    def network(self) -> SourceNet:
        """The whole network."""
        raise NotImplementedError


class _I3D(_Residual):
    """`I3D_ResNetV1`, whose stem spans five frames, and `ResNet_SlowFast`, SlowOnly's network, whose stem sees one."""

    def network(self) -> SourceNet:
        slow = self.shapes["first_stage.0.weight"][2] == 1
        time = 1 if slow else 2
        x = self.relu(self.unit("data", "first_stage", stride=(time, 2, 2)))
        x = self.pool(self.block("stem", x), "first_stage", (1, 3, 3), (time, 2, 2), pad=(0, 1, 1))
        x = self.block("pool1", x)
        for number in _STAGES:
            x = self.stage(x, number, f"res_layers.{number - 1}")
            if number == 1 and not slow:
                x = self.block("pool2", self.pool(x, "pool2", (2, 1, 1), (2, 1, 1)))
        self.classify(x, 3, "fc", "head.1", windows=True)
        return self.made("gluoncv_i3d", "first_stage.0")

    def conv_names(self, block: str, number: int) -> tuple[str, ...]:
        """A block registers its layers in a sequence too."""
        return f"{block}.conv{number}", f"{block}.bottleneck.{3 * number - 3}"

    def norm_names(self, block: str, number: int) -> tuple[str, ...]:
        return f"{block}.bn{number}", f"{block}.bottleneck.{3 * number - 2}"


class _R2Plus1D(_Residual):
    """`R2Plus1D`: convolutions in space and then in time, both with the stride."""

    def network(self) -> SourceNet:
        x = self.relu(self.norm(self.conv("data", "conv1", stride=(1, 2, 2)), "bn1"))
        x = self.block("stem", self.relu(self.norm(self.conv(x, "conv2"), "bn2")))
        for number in _STAGES:
            x = self.stage(x, number, f"layer{number}")
        self.classify(x, 3, "fc")
        return self.made("gluoncv_r2plus1d", "conv1")

    def inner(self, x: str, name: str, number: int, step: int) -> str:
        inside = f"{name}.conv{number}"
        if not self.has(f"{inside}.conv1"):
            return self.conv(x, inside, stride=step)
        x = self.relu(self.norm(self.conv(x, f"{inside}.conv1", stride=(1, step, step)), f"{inside}.bn1"))
        return self.conv(x, f"{inside}.conv2", stride=(step, 1, 1))

    def strides(self, step: int) -> tuple[int, ...]:
        return (step, step, step)


class _Frames(_Residual):
    """`ActionRecResNetV1b`: a ResNet over single frames."""

    def network(self) -> SourceNet:
        x = self.block("stem", self.relu(self.norm(self.conv("data", "conv1", stride=2), "bn1")))
        x = self.block("pool1", self.pool(x, "maxpool", (3, 3), (2, 2), pad=(1, 1)))
        for number in _STAGES:
            x = self.stage(x, number, f"layer{number}")
        self.classify(x, 2, "output")
        return self.made("gluoncv_resnet", "conv1", frames=True)

    def inner(self, x: str, name: str, number: int, step: int) -> str:
        return self.conv(x, *self.conv_names(name, number), stride=step)

    def strides(self, step: int) -> tuple[int, ...]:
        return (step, step)


class _P3D(_Residual):
    """`P3D`: blocks of the designs A, B and C in turn; the last stage sees the one frame that is left."""

    def __init__(self, tensors: Mapping[str, Shape]) -> None:
        super().__init__(tensors)
        self.count = 0

    def network(self) -> SourceNet:
        x = self.block("stem", self.relu(self.norm(self.conv("data", "conv1", stride=(1, 2, 2)), "bn1")))
        x = self.block("pool1", self.pool(x, "pool", (2, 3, 3), (2, 2, 2), pad=(0, 1, 1)))
        for number in _STAGES:
            x = self.stage(x, number, f"layer{number}")
            if number < _STAGES[-1]:
                x = self.block(f"pool{number + 1}", self.pool(x, f"pool2.{number}", (2, 1, 1), (2, 1, 1)))
            if number == _STAGES[-2]:
                x = self.op("squeeze", [x], "frame", axis=(2,))
        self.classify(x, 2, "fc")
        return self.made("gluoncv_p3d", "conv1")

    def residual(self, x: str, name: str, step: int) -> str:
        """The stride is that of the first convolution."""
        flat = len(self.shapes[f"{name}.conv1.weight"]) == 4
        strides = (step, step) if flat else (1, step, step)
        out = self.relu(self.norm(self.conv(x, f"{name}.conv1", stride=strides), f"{name}.bn1"))
        space = self.relu(self.norm(self.conv(out, f"{name}.conv2"), f"{name}.bn2"))
        out = space if flat else self.designed(out, space, name)
        out = self.norm(self.conv(out, f"{name}.conv3"), f"{name}.bn3")
        shortcut = x
        if self.has(f"{name}.downsample.0"):
            shortcut = self.unit(x, f"{name}.downsample", stride=strides)
        self.count += 1
        return self.relu(self.op("elemwise_add", [out, shortcut], f"{name}.sum"), name)

    def designed(self, x: str, space: str, name: str) -> str:
        """A: time after space. B: time beside space. C: both."""
        design = "ABC"[self.count % 3]
        seen = x if design == "B" else space
        time = self.relu(self.norm(self.conv(seen, f"{name}.conv_temporal"), f"{name}.bn_temporal"))
        return time if design == "A" else self.op("elemwise_add", [space, time], f"{name}.both")


SOURCE = SourceRecord(layouts=(LAYOUT,), recognise=recognise)
