"""PaddleVideo's networks (PaddlePaddle/PaddleVideo@ed245e9) as lists of Paddle's operators, by its own modules' code.

The names tell SlowFast from the 2D networks, and these tell their blocks. What they do not tell follows from the
model's name, as in the project's configs: whether a 2D network shifts channels, over how many frames (the settings
``segments`` and ``shift_div`` are that number, where it is known), and how many frames of SlowFast's fast pathway there
are for one of the slow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPSILON = 1e-5
"""The epsilon of every batch norm: Paddle's default."""

STAGES = (2, 3, 4, 5)
"""The stages of residual blocks, as the papers number them."""

LEAK = 0.01
"""The slope of PP-TSM's leaky ReLUs below zero: Paddle's default."""

WINDOW = 7
"""Rows and columns of the last map that SlowFast classifies together: a 32nd of the crop of 224."""

_BACKBONE = "backbone."
_FAST, _STEM = "s1.pathway1_stem._conv.weight", "conv._batch_norm._variance"
_DEEP_STEM = "conv1_1._batch_norm._variance"
"""Tensors that only one kind of network has; without ``backbone.`` in a file of the backbone alone."""

_TSM = re.compile(r"(?:pp)?tsm-r\d+-(\d+)seg")
_WIDE = 7  # frames of the lateral kernels of SlowFast 8x8, whose slow pathway sees every fourth frame
_BLOCK = re.compile(r"backbone\.(res(\d)[a-z]\d*|bb_(\d)_\d+)\.conv0\._conv\.weight")


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape): of clips ``[N, C, T, H, W]`` for SlowFast, of frames
    ``[N * T, C, H, W]`` for the others. None if they are not PaddleVideo's: they have neither stem. Raises `Refused` if
    a tensor is missing."""
    model = str(settings.get("model", ""))
    segments = settings.get("segments") or settings.get("shift_div")
    kinds: dict[str, type[_SlowFast | _Frames]] = {_FAST: _SlowFast, _STEM: _Frames, _DEEP_STEM: _Tweaked}
    for scope in (f"_layers.{_BACKBONE}", "_layers.", _BACKBONE, ""):
        for name, kind in kinds.items():
            if f"{scope}{name}" in tensors:
                try:
                    return kind(tensors, scope, model, segments).network()
                except KeyError as error:
                    raise Refused(f"is not a network of PaddleVideo: it has no tensor {error}") from None
    return None


class _Builder(NetBuilder):
    """Units of a convolution and a batch norm, whose names each network spells in its own way.

    ``start`` stands before the backbone's names in the file. Here they begin with ``backbone.`` in any case.
    """

    def __init__(self, tensors: Mapping[str, Shape], start: str) -> None:
        scope = start.removesuffix(_BACKBONE)
        self.bare = start == scope
        inside = {
            name.removeprefix(scope): shape for name, shape in tensors.items() if name.startswith(scope)
        }
        super().__init__({f"{_BACKBONE}{name}" if self.bare else name: inside[name] for name in inside})
        self.scope = scope

    def op(self, kind: str, inputs: Iterable[str], *outputs: str, **args: Any) -> str:
        """As `NetBuilder.op`; a file of the backbone alone has its tensors under shorter names."""
        out = super().op(kind, inputs, *outputs, **args)
        if self.bare:
            start = f"{self.scope}{_BACKBONE}"
            read = (
                self.scope + name[len(start) :]
                if name.startswith(start) and name[len(self.scope) :] in self.shapes
                else name
                for name in self.ops[-1].inputs
            )
            self.ops[-1] = self.ops[-1]._replace(inputs=tuple(read))
        return out

    def conv(self, x: str, name: str, strides: tuple[int, ...]) -> str:
        """A convolution padded by half of its kernel."""
        kernel = self.shapes[f"{name}.weight"][2:]
        pads = tuple(size // 2 for size in kernel)
        kind = f"conv{len(kernel)}d"
        return self.op(kind, [x, f"{name}.weight"], name, strides=strides, paddings=pads)

    def norm(self, x: str, name: str) -> str:
        """Batch norm."""
        leaves = [f"{name}.{leaf}" for leaf in ("_mean", "_variance", "weight", "bias")]
        return self.op("batch_norm", [x, *leaves], name, epsilon=EPSILON)

    def relu(self, x: str) -> str:
        return self.op("relu", [x], f"{x}.relu")

    def pool(self, x: str, name: str, kind: str, kernel: tuple[int, ...], strides: tuple[int, ...]) -> str:
        """A pool; a maximum is padded by half of its kernel."""
        pads = tuple(size // 2 if kind == "max" else 0 for size in kernel)
        window = {"kernel_size": kernel, "strides": strides, "paddings": pads}
        return self.op(f"pool{len(kernel)}d", [x], name, pooling_type=kind, **window)


class _Frames(_Builder):
    """TSN and TSM: a ResNet over frames."""

    def __init__(self, tensors: Mapping[str, Shape], start: str, model: str, segments: int | None) -> None:
        super().__init__(tensors, start)
        shifted = _TSM.fullmatch(model)
        self.segments = segments or (int(shifted[1]) if shifted else 0)

    def network(self) -> SourceNet:
        """The whole network."""
        x = self.block("pool1", self.pool(self.stem(), "backbone.pool2D_max", "max", (3, 3), (2, 2)))
        places = dict.fromkeys(STAGES, 0)
        for match in filter(None, map(_BLOCK.fullmatch, self.shapes)):
            stage = int(match[2]) if match[2] else int(match[3]) + STAGES[0]
            x = self.residual(x, f"backbone.{match[1]}", 2 if places[stage] == 0 and stage > STAGES[0] else 1)
            x = self.block(f"layer{stage - 1}.{places[stage]}", x)
            places[stage] += 1
        x = self.op("adaptive_avg_pool2d", [x], "head.avgpool2d")
        x = self.block("pool", self.op("flatten", [x], "head.flat", start_axis=1))
        if "head.fc.weight" in self.shapes:
            self.block("logits", self.op("linear", [x, "head.fc.weight", "head.fc.bias"], "head.fc"))
        channels = next(shape[1] for shape in self.shapes.values())
        return self.net("paddlevideo", "Paddle", {"data": ("N", channels, "H", "W")}, axes="frames")

    def stem(self) -> str:
        """The first convolution."""
        return self.block("stem", self.relu(self.unit("data", "backbone.conv", 2)))

    def shortcut(self, x: str, name: str, step: int) -> str:
        """The projection of a block's input, which takes the stride."""
        return self.unit(x, name, step)

    def unit(self, x: str, name: str, step: int) -> str:
        """A convolution and its norm."""
        return self.norm(self.conv(x, f"{name}._conv", (step, step)), f"{name}._batch_norm")

    def residual(self, x: str, name: str, step: int) -> str:
        """A bottleneck. The stride is that of its middle; what is shifted is its input, not the shortcut's."""
        out, shortcut = x, x
        if self.segments:
            channels = self.shapes[f"{name}.conv0._conv.weight"][1]
            ratio = {"seg_num": self.segments, "shift_ratio": 1 / self.segments}
            out = self.op("temporal_shift", [x], f"{name}.shifts", channels=channels, **ratio)
        for place, by in ((0, 1), (1, step)):
            out = self.relu(self.unit(out, f"{name}.conv{place}", by))
        out = self.unit(out, f"{name}.conv2", 1)
        if f"{name}.short._conv.weight" in self.shapes:
            shortcut = self.shortcut(x, f"{name}.short", step)
        return self.relu(self.op("add", [shortcut, out], name))


class _Tweaked(_Frames):
    """PP-TSN and PP-TSM: a stem of three convolutions, pools before the projections, and leaky ReLUs in PP-TSM."""

    def stem(self) -> str:
        x = "data"
        for place, label, step in ((1, "stem1", 2), (2, "stem2", 1), (3, "stem", 1)):
            x = self.block(label, self.relu(self.unit(x, f"backbone.conv1_{place}", step)))
        return x

    def shortcut(self, x: str, name: str, step: int) -> str:
        if step > 1:
            window = {"kernel_size": (2, 2), "strides": (2, 2), "paddings": (0, 0)}
            pooled = f"{name}._pool2d_avg"
            x = self.op("pool2d", [x], pooled, pooling_type="avg", ceil_mode=True, **window)
        return self.unit(x, name, 1)

    def relu(self, x: str) -> str:
        if self.segments:
            return self.op("leaky_relu", [x], f"{x}.relu", negative_slope=LEAK)
        return super().relu(x)


class _SlowFast(_Builder):
    """SlowFast."""

    def __init__(self, tensors: Mapping[str, Shape], start: str, _model: str, _segments: int | None) -> None:
        super().__init__(tensors, start)
        self.wide = self.shapes["backbone.s1_fuse._conv_f2s.weight"][2] == _WIDE
        self.alpha = 4 if self.wide else 8

    def network(self) -> SourceNet:
        """The whole network."""
        slow = self.op("pack_output", ["data"], "slow_data", alpha=self.alpha)
        both = [self.stem(slow, 0, "slow"), self.stem("data", 1, "fast")]
        for place, stage in enumerate(STAGES):
            both[0] = self.join(both, f"backbone.s{stage - 1}_fuse", place)
            both = [
                self.stage(x, stage, path, label)
                for x, path, label in zip(both, (0, 1), ("slow", "fast"), strict=True)
            ]
        means = [
            self.block(f"{label}.pool", self.windows(x, f"head.{label}", whole=self.wide))
            for x, label in zip(both, ("slow", "fast"), strict=True)
        ]
        x = self.block("pool", self.op("concat", means, "head.concat", axis=1))
        if "head.projection.weight" in self.shapes:
            last = self.op("transpose", [x], "head.transpose", perm=(0, 2, 3, 4, 1))
            inputs = [last, "head.projection.weight", "head.projection.bias"]
            x = self.op("linear", inputs, "head.projection")
            x = self.op("transpose", [x], "head.logits", perm=(0, 4, 1, 2, 3))
            self.blocks |= {"window_logits": x, "logits": x}
        channels = self.shapes["backbone.s1.pathway1_stem._conv.weight"][1]
        return self.net("paddlevideo", "Paddle", {"data": ("N", channels, "T", "H", "W")})

    def stem(self, x: str, path: int, label: str) -> str:
        """The first convolution of a pathway and the pool after it."""
        name = f"backbone.s1.pathway{path}_stem"
        x = self.relu(self.norm(self.conv(x, f"{name}._conv", (1, 2, 2)), f"{name}._bn"))
        x = self.block(f"{label}.stem", x)
        return self.block(f"{label}.pool1", self.pool(x, name, "max", (1, 3, 3), (1, 2, 2)))

    def join(self, both: list[str], name: str, place: int) -> str:
        """The slow pathway's channels, followed by those that a lateral convolution computes from the fast one's."""
        seen = self.conv(both[1], f"{name}._conv_f2s", (self.alpha, 1, 1))
        seen = self.block(f"lateral{place}", self.relu(self.norm(seen, f"{name}._bn")))
        return self.op("concat", [both[0], seen], name, axis=1)

    def stage(self, x: str, number: int, path: int, label: str) -> str:
        """All blocks of one stage of a pathway."""
        place = 0
        while f"{(name := f'backbone.s{number}.pathway{path}_res{place}')}.branch2.a.weight" in self.shapes:
            x = self.residual(x, name, 2 if place == 0 and number > STAGES[0] else 1)
            x = self.block(f"{label}.layer{number - 1}.{place}", x)
            place += 1
        return x

    def residual(self, x: str, name: str, step: int) -> str:
        """A bottleneck; the stride is that of its middle and of the projection."""
        out, shortcut = x, x
        for leaf, by in (("a", 1), ("b", step)):
            out = self.relu(self.unit(out, f"{name}.branch2.{leaf}", by))
        out = self.unit(out, f"{name}.branch2.c", 1)
        if f"{name}.branch1.weight" in self.shapes:
            shortcut = self.unit(x, f"{name}.branch1", step)
        return self.relu(self.op("add", [shortcut, out], name))

    def unit(self, x: str, name: str, step: int) -> str:
        """A convolution and its norm."""
        return self.norm(self.conv(x, name, (1, step, step)), f"{name}_bn")

    def windows(self, x: str, name: str, *, whole: bool) -> str:
        """The means over all frames of every window, or of the ``whole`` map, as the config of 8x8 has it."""
        if whole:
            return self.op("mean", [x], name, axis=(2, 3, 4))
        x = self.pool(x, f"{name}.windows", "avg", (1, WINDOW, WINDOW), (1, 1, 1))
        return self.op("mean", [x], name, axis=(2,))


SOURCE = SourceRecord(
    layouts=("paddlevideo",),
    recognise=recognise,
    test_clips={
        "resnet_vd": (1, 3, 16, 63, 50),
        "slowfast": (1, 3, 16, 193, 196),
        "tsm": (1, 3, 16, 63, 50),
    },
)
