"""MoViNet of TensorFlow's model garden as a list of TensorFlow's operators and of the garden's own layers.

Its sources: ``official/projects/movinet/modeling`` and ``official/vision/modeling/layers/nn_layers.py`` of
tf-models-official 2.20.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, Size, SourceNet

EPSILON = 1e-3
"""The epsilon of every batch norm."""

_LEAF = "/.ATTRIBUTES/VARIABLE_VALUE"
_STEM = "layer_with_weights-0/layer_with_weights-0/_stem/_conv/"
_REZERO = "_mobile_bottleneck/_rezero/scale"

_STAGES = {
    15: (1, 3, 3, 4, 4),
    24: (2, 4, 5, 6, 7),
    26: (3, 5, 5, 6, 7),
    33: (4, 6, 5, 8, 10),
    47: (6, 9, 9, 10, 13),
    59: (6, 11, 13, 11, 18),
}
"""The blocks of each stage, by the number of all: ``BLOCK_SPECS`` of A0 to A5."""

_STRIDES = (2, 2, 2, 1, 2)
"""The strides of a stage's first block in height and width."""


def recognise(variables: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The classifier over ``variables``, or None if they are not a MoViNet's: none is a stem's kernel. It reads
    ``stream_gate_slope``, by default the garden's."""
    kernel = next((name for name in variables if _STEM in name), "")
    scope, _, leaf = kernel.partition(_STEM)
    if leaf == f"kernel{_LEAF}":
        return _Base(variables, scope).classifier()
    if leaf == f"_conv/kernel{_LEAF}":
        return _Stream(variables, scope, settings.get("stream_gate_slope", "0.16667")).classifier()
    return None


class _Builder(NetBuilder):
    """What both forms share."""

    def classifier(self) -> SourceNet:
        """The network."""
        blocks = sum(name.endswith(f"{_REZERO}{_LEAF}") for name in self.shapes)
        if blocks not in _STAGES:
            raise Refused(f"has {blocks} blocks, which no MoViNet has", hint="A0 has 15, A5 has 59")
        root = "layer_with_weights-0/layer_with_weights-"
        x = self.op("Placeholder", ["image"], "clip")
        x = self.block("stem", self.activation(self.unit(x, f"{root}0/_stem", 2)))
        number = 0
        for stage, count in enumerate(_STAGES[blocks]):
            for place in range(count):
                number += 1
                stride = 1 if place else _STRIDES[stage]
                x = self.bottleneck(x, f"{root}{number}", stride, f"state_block{stage}_layer{place}")
                self.block(f"layer{stage}.{place}", x)
        x = self.block("tail", self.activation(self.unit(x, f"{root}{blocks + 1}/_project")))
        x = self.pool(x)
        self.block("pool", self.op("Squeeze3D", [x], "pool"))
        if any(name.startswith("layer_with_weights-1/_classifier/") for name in self.shapes):
            x = self.swish(self.conv(x, "layer_with_weights-1/_head"))
            self.block("hidden", self.op("Squeeze3D", [x], "hidden"))
            x = self.conv(x, "layer_with_weights-1/_classifier")
            self.block("logits", self.op("Squeeze3D", [x], "logits"))
        return self.done(self.kernel(f"{root}0/_stem/_conv")[1][-2])

    def done(self, channels: int) -> SourceNet:
        """The network that was written, for clips of so many channels."""
        return self.net("movinet", "TensorFlow", {"image": ("N", "T", "H", "W", channels)}, axes="NTHWC")

    def kernel(self, layer: str) -> tuple[str, Shape]:
        """The kernel of a layer's convolution, and its shape."""
        raise NotImplementedError

    def convolve(self, x: str, layer: str, stride: int) -> str:
        """A convolution without its bias."""
        raise NotImplementedError

    def activation(self, x: str) -> str:
        """The network's activation."""
        raise NotImplementedError

    def attention(self, x: str, name: str, state: str) -> str:
        """Squeeze and excitation."""
        raise NotImplementedError

    def pool(self, x: str) -> str:
        """The mean of all positions."""
        raise NotImplementedError

    def temporal(self, x: str, _name: str, _state: str) -> str:
        """What follows a block's depthwise convolution."""
        return x

    def conv(self, x: str, name: str) -> str:
        """A pointwise convolution and its bias."""
        x = self.convolve(x, f"{name}/_conv", 1)
        bias = self.kernel(f"{name}/_conv")[0].replace("/kernel/", "/bias/")
        return self.op("BiasAdd", [x, bias], f"{name}/biased")

    def unit(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution without bias and its batch norm."""
        return self.norm(self.convolve(x, f"{name}/_conv", stride), f"{name}/_batch_norm")

    def norm(self, x: str, name: str) -> str:
        """Batch norm."""
        leaves = [f"{name}/{leaf}{_LEAF}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")]
        return self.op("FusedBatchNormV3", [x, *leaves], name, epsilon=EPSILON)

    def swish(self, x: str) -> str:
        """x sigmoid(x)."""
        return self.op("Mul", [x, self.op("Sigmoid", [x], f"{x}/Sigmoid")], f"{x}/swish")

    def bottleneck(self, x: str, name: str, stride: int, state: str) -> str:
        """A block; its shortcut has a projection where the table of variables has one."""
        out = self.activation(self.unit(x, f"{name}/_expansion"))
        out = self.activation(self.unit(out, f"{name}/_feature", stride))
        out = self.temporal(out, f"{name}/_feature", state)
        out = self.unit(self.attention(out, name, state), f"{name}/_projection")
        out = self.op("Mul", [out, f"{name}/{_REZERO}{_LEAF}"], f"{name}/rezero")
        if any(variable.startswith(f"{name}/_skip/") for variable in self.shapes):
            if stride > 1:
                x = self.op("AvgPool3D", [x], f"{name}/_skip/_pool", **_POOL)
            x = self.unit(x, f"{name}/_skip/_projection")
        return self.op("AddV2", [out, x], f"{name}/sum")


_POOL = {"ksize": (1, 3, 3), "strides": (1, 2, 2), "padding": "SAME"}


class _Base(_Builder):
    """Convolutions in space and time."""

    def kernel(self, layer: str) -> tuple[str, Shape]:
        name = f"{layer}/kernel{_LEAF}"
        return name, self.shapes[name]

    def convolve(self, x: str, layer: str, stride: int) -> str:
        """Depthwise where the kernel has one input channel."""
        name, shape = self.kernel(layer)
        groups = shape[-1] if shape[-2] == 1 else 1
        strides = (1, stride, stride)
        return self.op("Conv3D", [x, name], layer, strides=strides, padding="SAME", groups=groups)

    def activation(self, x: str) -> str:
        return self.swish(x)

    def attention(self, x: str, name: str, _state: str) -> str:
        out = self.op("GlobalAveragePool3D", [x], f"{name}/_attention/mean")
        out = self.swish(self.conv(out, f"{name}/_attention/_se_reduce"))
        out = self.op("Sigmoid", [self.conv(out, f"{name}/_attention/_se_expand")], f"{name}/_attention/gate")
        return self.op("Mul", [out, x], f"{name}/_attention/scaled")

    def pool(self, x: str) -> str:
        return self.op("GlobalAveragePool3D", [x], "head/mean")


class _Stream(_Builder):
    """Convolutions over frames, then over time; with states, which are zeros before the first frame."""

    def __init__(self, variables: Mapping[str, Shape], scope: str, slope: str) -> None:
        super().__init__(variables, scope)
        self.slope = float(slope)
        self.states: dict[str, tuple[Size, ...]] = {_FRAMES: ()}
        self.step = 2

    def done(self, channels: int) -> SourceNet:
        self.op("CountFrames", ["clip", _FRAMES], f"next_{_FRAMES}")
        net = super().done(channels)
        return net.replace(states={name: (shape, f"next_{name}") for name, shape in self.states.items()})

    def kernel(self, layer: str) -> tuple[str, Shape]:
        name = f"{layer}/_conv/kernel{_LEAF}"
        return name, self.shapes[name]

    def convolve(self, x: str, layer: str, stride: int) -> str:
        depthwise = f"{layer}/_conv/depthwise_kernel{_LEAF}"
        self.step *= stride if depthwise in self.shapes else 1
        options = {"strides": (stride, stride), "padding": "SAME"}
        if depthwise in self.shapes:
            return self.op("DepthwiseConv2dNative", [x, depthwise], layer, **options)
        return self.op("Conv2D", [x, self.kernel(layer)[0]], layer, **options)

    def activation(self, x: str) -> str:
        return self.op("HardSwish", [x], f"{x}/hard_swish")

    def temporal(self, x: str, name: str, state: str) -> str:
        """A convolution over every frame and those before it, which the state has."""
        kernel = f"{name}/_conv_temporal/_conv/depthwise_kernel{_LEAF}"
        if kernel not in self.shapes:
            return x
        frames, _, channels, _ = self.shapes[kernel]
        places = (f"H/{self.step}", f"W/{self.step}")
        buffer = self.state(f"{state}_stream_buffer", ("N", channels, frames - 1, *places))
        x = self.op("StreamBuffer", [buffer, x], f"{name}/buffered", f"next_{buffer}", frames=frames - 1)
        x = self.op("TemporalConv2D", [x, kernel], f"{name}/_conv_temporal")
        return self.activation(self.norm(x, f"{name}/_batch_norm_temporal"))

    def attention(self, x: str, name: str, state: str) -> str:
        own = self.op("SpatialAveragePool3D", [x], f"{name}/_attention/space")
        channels = self.kernel(f"{name}/_attention/_se_expand/_conv")[1][-1]
        buffer = self.state(f"{state}_pool_buffer", ("N", channels, 1, 1, 1))
        means = self.op(
            "CumulativeAverage", [own, buffer, _FRAMES], f"{name}/_attention/means", f"next_{buffer}"
        )
        out = self.op("ConcatV2", [means, own], f"{name}/_attention/both", axis=4)
        scale = f"{name}/_attention/_pos_encoding/_rezero/scale{_LEAF}"
        if scale in self.shapes:
            out = self.op(
                "PositionalEncoding",
                [out, _FRAMES, scale],
                f"{name}/_attention/placed",
                channels=2 * channels,
            )
        out = self.activation(self.conv(out, f"{name}/_attention/_se_reduce"))
        out = self.conv(out, f"{name}/_attention/_se_expand")
        out = self.op("HardSigmoid", [out], f"{name}/_attention/gate", slope=self.slope)
        return self.op("Mul", [out, x], f"{name}/_attention/scaled")

    def pool(self, x: str) -> str:
        x = self.op("SpatialAveragePool3D", [x], "head/space")
        root = "layer_with_weights-1/_head/_conv"
        buffer = self.state("state_head_pool_buffer", ("N", self.kernel(root)[1][-2], 1, 1, 1))
        return self.op("AverageSoFar", [x, buffer, _FRAMES], "head/mean", f"next_{buffer}")

    def state(self, name: str, shape: tuple[Size, ...]) -> str:
        """A further input, which the network also gives as it is after the last frame."""
        self.states[name] = shape
        return name


_FRAMES = "frames"

SOURCE = SourceRecord(layouts=("movinet",), recognise=recognise)
