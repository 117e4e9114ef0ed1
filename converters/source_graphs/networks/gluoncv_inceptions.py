"""GluonCV's Inception networks (dmlc/gluon-cv 0.10.5) as lists of MXNet's operators: v1 and v3, over clips and over
single frames, by ``i3d_inceptionv1.py``, ``i3d_inceptionv3.py``, ``googlenet.py`` and ``inception.py``.

The number of axes of the first kernel tells clips from frames. Branches are called by their places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import Refused
from converters.source_graphs.gluon import LAYOUT, GluonBuilder, is_of_gluoncv
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-3
"""The epsilon of every batch norm."""

V1_MIXED = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
"""Inception v1's blocks. The end points, as the papers, begin with b."""


class Layer(NamedTuple):
    """A place of ``features``: its end point, and the ``stride`` of a convolution, or a pool's ``kernel`` and its
    strides; neither for a block."""

    label: str
    stride: int = 0
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()


V1_OVER_CLIPS = (
    Layer("Conv3d_1a_7x7", 2),
    Layer("MaxPool3d_2a_3x3", kernel=(1, 3, 3), strides=(1, 2, 2)),
    Layer("Conv3d_2b_1x1", 1),
    Layer("Conv3d_2c_3x3", 1),
    Layer("MaxPool3d_3a_3x3", kernel=(1, 3, 3), strides=(1, 2, 2)),
    Layer("Mixed_3b"),
    Layer("Mixed_3c"),
    Layer("MaxPool3d_4a_3x3", kernel=(3, 3, 3), strides=(2, 2, 2)),
    Layer("Mixed_4b"),
    Layer("Mixed_4c"),
    Layer("Mixed_4d"),
    Layer("Mixed_4e"),
    Layer("Mixed_4f"),
    Layer("MaxPool3d_5a_2x2", kernel=(2, 2, 2), strides=(2, 2, 2)),
    Layer("Mixed_5b"),
    Layer("Mixed_5c"),
)
"""Inception v1."""

V3_STEM = (
    Layer("conv1", 2),
    Layer("conv2", 1),
    Layer("conv3", 1),
    Layer("pool1"),
    Layer("conv4", 1),
    Layer("conv5", 1),
    Layer("pool2"),
)
"""The first places of Inception v3, whose pools are all alike. Only its third convolution is padded in space."""

V3_MIXED = ("A1", "A2", "A3", "B1", "C1", "C2", "C3", "C4", "D1", "E1", "E2")
"""The blocks at the places after these; the letter says of which kind."""

BRANCHES: dict[str, tuple[tuple[str | tuple[str, str], ...], ...]] = {
    "v1": (("0.0",), ("1.0", "1.1"), ("2.0", "2.1"), ("max", "3.1")),
    "A": (("0.0",), ("1.0", "1.1"), ("2.0", "2.1", "2.2"), ("average", "3.1")),
    "B": (("0.0",), ("1.0", "1.1", "1.2"), ("max",)),
    "C": (("0.0",), ("1.0", "1.1", "1.2"), ("2.0", "2.1", "2.2", "2.3", "2.4"), ("average", "3.1")),
    "D": (("0.0", "0.1"), ("1.0", "1.1", "1.2", "1.3"), ("max",)),
    "E": (
        ("0.0",),
        ("1.0.0", ("1.1.0.0", "1.1.1.0")),
        ("2.0.0", "2.0.1", ("2.1.0.0", "2.1.1.0")),
        ("average", "3.1"),
    ),
}
"""The branches of each kind of block: the places of convolutions one after the other, or of two side by side; pools."""

STRIDED = {"B": ("0.0", "1.2"), "D": ("0.1", "1.3")}
"""The convolutions and pools of stride 2 are in these kinds. They have no padding in space."""


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape): of clips ``[N, C, T, H, W]`` or of frames ``[N * T, C, H, W]``.
    None for any other network. Raises `Refused` if a tensor is missing."""
    if not is_of_gluoncv(settings):
        return None
    try:
        if "inception3a.0.0.1.gamma" in tensors:
            return _Builder(tensors, "conv1.0").v1()
        if "features.0.1.gamma" in tensors:
            build = _Builder(tensors, "features.0.0")
            return build.v3() if "features.17.0.0.1.gamma" in tensors else build.v1_over_clips()
    except KeyError as error:
        raise Refused(f"is not a network of GluonCV: it has no {error.args[0]}") from None
    return None


class _Builder(GluonBuilder):
    """``first`` is the name of the first convolution."""

    def __init__(self, tensors: Mapping[str, Shape], first: str) -> None:
        super().__init__(tensors, EPSILON)
        self.first = first
        self.axes = len(self.shapes[f"{first}.weight"]) - 2

    def v1(self) -> SourceNet:
        """`ActionRecInceptionV1`, over frames. Its pools round up."""
        x = self.block("conv1a", self.whole("data", "conv1", "conv1.2", stride=2))
        x = self.block("pool1", self.max_pool(x, "maxpool1", full=True))
        x = self.block("conv2b", self.whole(x, "conv2", "conv2.2"))
        x = self.block("conv2c", self.whole(x, "conv3", "conv3.2"))
        x = self.block("pool2", self.max_pool(x, "maxpool2", full=True))
        for name in V1_MIXED:
            stage, letter = name[0], name[1]
            if letter == "a" and stage != "3":
                last = int(stage) - 1
                side = 2 if stage == "5" else 3
                pooled = self.pool(x, f"maxpool{last}", (side, side), (2, 2), full=side == 3)
                x = self.block(f"pool{last}", pooled)
            x = self.block(f"mixed{stage}{chr(ord(letter) + 1)}", self.mixed(x, f"inception{name}", "v1"))
        return self.classified(self.pool(x, "avgpool", (7, 7), (7, 7), kind="avg"))

    def v1_over_clips(self) -> SourceNet:
        """`I3D_InceptionV1`: every window is padded by half of its size, but that of two."""
        x = "data"
        for place, layer in enumerate(V1_OVER_CLIPS):
            name = f"features.{place}"
            if layer.stride:
                x = self.whole(x, name, name, stride=layer.stride)
            elif layer.kernel:
                pad = [side // 2 if side == 3 else 0 for side in layer.kernel]
                x = self.pool(x, name, layer.kernel, layer.strides, pad=pad)
            else:
                x = self.mixed(x, name, "v1")
            x = self.block(layer.label, x)
        x = self.block("features", self.mean(x, f"features.{len(V1_OVER_CLIPS)}", 3))
        logits = self.block("frame_logits", self.dense(x, "output", "head.1"))
        self.block("logits", logits)
        return self.made("gluoncv_inception", self.first)

    def v3(self) -> SourceNet:
        """`ActionRecInceptionV3` over frames, and `I3D_InceptionV3` over clips."""
        x = "data"
        for place, layer in enumerate(V3_STEM):
            name = f"features.{place}"
            if layer.stride:
                x = self.whole(x, name, name, stride=layer.stride, padded=layer.label == "conv3")
            else:
                x = self.max_pool(x, name, time=1)
            x = self.block(layer.label, x)
        for place, label in enumerate(V3_MIXED, len(V3_STEM)):
            x = self.block(f"mixed{label}", self.mixed(x, f"features.{place}", label[0]))
        name = f"features.{len(V3_STEM) + len(V3_MIXED)}"
        if self.axes == 3:
            return self.classified(self.mean(x, name, 3))
        return self.classified(self.pool(x, name, (8, 8), (8, 8), kind="avg"))

    def classified(self, x: str) -> SourceNet:
        """The network with its classifier."""
        self.block("logits", self.dense(self.block("pool", x), "output", "head.1"))
        return self.made("gluoncv_inception", self.first, frames=self.axes == 2)

    def whole(self, x: str, name: str, value: str, *, stride: int = 1, padded: bool = True) -> str:
        """A convolution, its norm and a ReLU, whose value is called ``value``; without padding in space if it is not
        ``padded``."""
        kernel = self.shapes[f"{name}.0.weight"][2:]
        pad = None if padded else (*(side // 2 for side in kernel[:-2]), 0, 0)
        return self.relu(self.unit(x, name, stride=stride, pad=pad), value)

    def max_pool(self, x: str, name: str, *, time: int = 2, full: bool = False) -> str:
        """A max pool of 3 and stride 2, over clips of the stride ``time`` in time, where alone it is padded."""
        clips = self.axes == 3
        kernel, strides = (3,) * self.axes, ((time, 2, 2) if clips else (2, 2))
        return self.pool(x, name, kernel, strides, pad=(1, 0, 0) if clips else (0, 0), full=full)

    def mixed(self, x: str, name: str, kind: str) -> str:
        """A block: the channels of its branches."""
        outs = []
        for number, branch in enumerate(BRANCHES[kind]):
            ends = [x]
            for step in branch:
                places = (step,) if isinstance(step, str) else step
                ends = [self.step(ends[0], name, place, kind, number) for place in places]
            outs += ends
        return self.op("Concat", outs, name, dim=1)

    def step(self, x: str, name: str, place: str, kind: str, number: int) -> str:
        """A convolution or a pool of a branch."""
        if place in ("max", "average"):
            value = f"{name}.{number}.0"
            if kind in STRIDED:
                return self.max_pool(x, value)
            ones = (1,) * self.axes
            return self.pool(
                x, value, (3,) * self.axes, ones, pad=ones, kind={"max": "max"}.get(place, "avg")
            )
        strided = place in STRIDED.get(kind, ())
        full = f"{name}.{place}"
        return self.whole(x, full, f"{full}.2", stride=2 if strided else 1, padded=not strided)


SOURCE = SourceRecord(layouts=(LAYOUT,), recognise=recognise)
