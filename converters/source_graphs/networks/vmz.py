"""The networks of facebookresearch/VMZ as lists of Caffe2's operators, by the rules of its builders (4cc542d, ``c2/``).

The blobs say which network it is and all sizes; only the pool after the stem and the stem's stride in time are
settings, VMZ's own flags.
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

EPSILON = 1e-3
"""The epsilon of every SpatialBN, a constant in VMZ's builders."""

LOGMELS = ("N", 1, 100, 40)
"""The input of the audio networks: 100 steps in time, 40 frequencies."""

_HEAD = re.compile(r"(gpu_\d+/|)(last_out_L\d+)_w")
_CONV = r"comp_(\d+)_conv_(\d+)(_middle)?_w"
_STATISTICS = ("s", "b", "rm", "riv")


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test net over ``blobs`` (name to shape; those it does not read are left alone), or None if they are not
    VMZ's: they have no classifier ``last_out_L...``, perhaps in the scope of a GPU.

    ``settings`` may have ``pool1``, VMZ's flag ``use_pool1``, by default what the released files were trained with: on
    for CSN and the audio-visual networks; and ``stem_stride``, by default 1. Raises `Refused` if a blob is missing.
    """
    head = next(filter(None, (_HEAD.fullmatch(name) for name in blobs)), None)
    if head is None:
        return None
    scope, logits = head.groups()
    build = _Builder(blobs, scope)
    pool1 = settings.get("pool1")
    if pool1 is None:
        pool1 = build.is_depthwise() or any(name.startswith("v_") for name in build.shapes)
    try:
        return build.network(logits, pool1, settings.get("stem_stride") or 1)
    except KeyError as error:
        raise Refused(f"is not a network of VMZ: it has no blob {error}") from None


class _Builder(NetBuilder):
    """Writes operators one by one, and keeps how many channels every value has."""

    def __init__(self, blobs: Mapping[str, Shape], scope: str) -> None:
        super().__init__(blobs, scope)
        self.channels: dict[str, int] = {}

    def op(self, kind: str, inputs: Iterable[str], *outputs: str, **args: Any) -> str:
        """Add an operator of one output, which has as many channels as its first input if nothing else is known."""
        output = super().op(kind, inputs, *outputs, **args)
        if output not in self.channels and self.ops[-1].inputs:
            self.channels[output] = self.channels.get(self.ops[-1].inputs[0], 0)
        return output

    def is_depthwise(self) -> bool:
        """Whether a block has a depthwise convolution, as CSN's have."""
        return any(
            "_conv_" in name and len(shape) == 5 and shape[1] == 1 for name, shape in self.shapes.items()
        )

    def network(self, logits: str, pool1: bool, stem_stride: int) -> SourceNet:
        """The whole network; ``logits`` is the name of the classifier."""
        if "conv1a_w" in self.shapes:
            return self.c3d(logits)
        if "v_conv1_w" in self.shapes:
            return self.audio_visual(logits, pool1, stem_stride)
        if len(self.shapes["conv1_w"]) == 4:
            end = self.audio("data", "", "")
            inputs: dict[str, tuple[int | str, ...]] = {"data": LOGMELS}
        else:
            end = self.video("data", "", "", pool1, stem_stride)
            inputs = {"data": ("N", self.input_channels(""), "T", "H", "W")}
        self.block("logits", self.fc(end, logits))
        return self.net("vmz", "Caffe2", inputs)

    def input_channels(self, prefix: str) -> int:
        middle = f"{prefix}conv1_middle_w"
        return self.shapes[middle if middle in self.shapes else f"{prefix}conv1_w"][1]

    def conv(self, x: str, name: str, strides: Iterable[int], pads: Iterable[int] | None = None) -> str:
        """A convolution, padded by half of its kernel unless ``pads`` says otherwise.

        The number of groups follows from the channels of the input and of the weight.
        """
        out, group_channels, *kernel = self.shapes[f"{name}_w"]
        before = list(pads) if pads is not None else [size // 2 for size in kernel]
        weights = [f"{name}_w"] + [f"{name}_b"] * (f"{name}_b" in self.shapes)
        group = self.channels.get(x, group_channels) // group_channels
        self.channels[name] = out
        return self.op(
            "Conv", [x, *weights], name, kernels=kernel, strides=list(strides), pads=before * 2, group=group
        )

    def norm(self, x: str, name: str, *, relu: bool = True) -> str:
        self.op("SpatialBN", [x, *(f"{name}_{leaf}" for leaf in _STATISTICS)], name, epsilon=EPSILON)
        return self.relu(name) if relu else name

    def relu(self, x: str) -> str:
        return self.op("Relu", [x], x)

    def fc(self, x: str, name: str) -> str:
        """A classifier: a linear layer, or a 1x1x1 convolution in a fully convolutional net."""
        if len(self.shapes[f"{name}_w"]) > 2:
            return self.conv(x, name, [1] * (len(self.shapes[f"{name}_w"]) - 2))
        return self.op("FC", [x, f"{name}_w", f"{name}_b"], name)

    def video(self, data: str, prefix: str, label: str, pool1: bool, stem_stride: int) -> str:
        """From a clip to the last average pool."""
        x, stem = data, f"{prefix}conv1"
        if f"{stem}_middle_w" in self.shapes:
            x = self.norm(self.conv(x, f"{stem}_middle", (1, 2, 2)), f"{stem}_middle_spatbn_relu")
            x = self.conv(x, stem, (stem_stride, 1, 1))
        else:
            # R2D's stem takes the whole clip at once, without padding in time: only there is the kernel even.
            frames = self.shapes[f"{stem}_w"][2]
            x = self.conv(x, stem, (stem_stride, 2, 2), (frames // 2 if frames % 2 else 0, 3, 3))
        x = self.block(f"{label}stem", self.norm(x, f"{stem}_spatbn_relu"))
        if pool1:
            window = {"kernels": [1, 3, 3], "strides": [1, 2, 2], "pads": [0, 1, 1] * 2}
            x = self.block(f"{label}pool1", self.op("MaxPool", [x], "pool1", **window))
        x = self.residual(x, prefix, label, first_stage=1)
        # The builder gives the pool the size of what is left.
        end = self.op("AveragePool", [x], f"{prefix}final_avg", global_pooling=1)
        return self.block(f"{label}pool", end)

    def audio(self, data: str, prefix: str, label: str) -> str:
        """From log-mels to the last pool, which is a maximum. The stem has neither norm nor ReLU."""
        x = self.block(f"{label}stem", self.conv(data, f"{prefix}conv1", (1, 1)))
        x = self.residual(x, prefix, label, first_stage=0)
        end = self.op("MaxPool", [x], f"{prefix}final_avg", global_pooling=1)
        return self.block(f"{label}pool", end)

    def residual(self, x: str, prefix: str, label: str, *, first_stage: int) -> str:
        """All residual blocks, which are numbered through all stages. One with a projection begins a stage. It also has
        the stage's stride, except in the first stage of a network for clips."""
        convs: dict[int, list[tuple[int, bool]]] = {}
        for name in self.shapes:
            if name.startswith(prefix) and (match := re.fullmatch(_CONV, name.removeprefix(prefix))):
                convs.setdefault(int(match[1]), []).append((int(match[2]), not match[3]))
        stage, within = first_stage, 0
        for number in range(len(convs)):
            projected = f"{prefix}shortcut_projection_{number}_w" in self.shapes
            if projected and number:
                stage, within = stage + 1, 0
            strided = projected and (number > 0 or first_stage == 0)
            x = self.residual_block(x, prefix, number, sorted(convs[number]), projected, strided)
            self.block(f"{label}layer{stage}.{within}", x)
            within += 1
        return x

    def residual_block(
        self,
        x: str,
        prefix: str,
        number: int,
        convs: list[tuple[int, bool]],
        projected: bool,
        strided: bool,
    ) -> str:
        """One block. ``convs`` has a pair for each convolution: its index, and False for the ``_middle`` half of a
        factorised one."""
        names = {
            (index, whole): f"{prefix}comp_{number}_conv_{index}{'' if whole else '_middle'}"
            for index, whole in convs
        }
        kernels = {key: self.shapes[f"{name}_w"][2:] for key, name in names.items()}
        wide = {index for (index, _), kernel in kernels.items() if max(kernel) > 1}
        deep = len(kernels[convs[0]]) == 2 or any(kernel[0] > 1 for kernel in kernels.values())
        out = x
        for index, whole in convs:
            kernel = kernels[index, whole]
            # The stride is the first spatial convolution's; of one in two halves each takes its own axes.
            strides = [2 if strided and index == min(wide) and size > 1 else 1 for size in kernel]
            out = self.conv(out, names[index, whole], strides)
            spatbn = f"{prefix}comp_{number}_spatbn_{index}{'' if whole else '_middle'}"
            # ip-CSN has no ReLU between its 1x1x1 and its depthwise half; after the last comes the sum.
            relu = (index, whole) != convs[-1] and (whole or max(kernel) > 1)
            out = self.norm(out, spatbn, relu=relu)
        shortcut = x
        if projected:
            name = f"{prefix}shortcut_projection_{number}"
            strides = [2 if strided else 1] * len(kernels[convs[0]])
            strides[0] = strides[0] if deep else 1
            shortcut = self.norm(self.conv(x, name, strides), f"{name}_spatbn", relu=False)
        total = self.op("Sum", [shortcut, out], f"{prefix}comp_{number}_sum_{convs[-1][0]}")
        return self.relu(total)

    def audio_visual(self, logits: str, pool1: bool, stem_stride: int) -> SourceNet:
        """Both networks, for a clip and its log-mels, and the two layers that join them."""
        seen = self.video("data", "v_", "video.", pool1, stem_stride)
        heard = self.audio("logmels", "a_", "audio.")
        if len(self.shapes["av_fc1_w"]) == 2:
            seen = self.op("Squeeze", [seen], f"{seen}_squeezed", dims=[4])
        else:  # fully convolutional
            heard = self.op("ExpandDims", [heard], f"{heard}_3D", dims=[4])
        for name, end in (("video", seen), ("audio", heard)):
            if f"{name[0]}_{logits}_w" in self.shapes:  # trained with gradient blending
                self.block(f"{name}_logits", self.fc(end, f"{name[0]}_{logits}"))
        x = self.op("Concat", [seen, heard], "av_concat", axis=1)
        for number in (1, 2):
            x = self.block(f"fuse{number}", self.relu(self.fc(x, f"av_fc{number}")))
        self.block("logits", self.fc(x, logits))
        return self.net(
            "vmz", "Caffe2", {"data": ("N", self.input_channels("v_"), "T", "H", "W"), "logmels": LOGMELS}
        )

    def c3d(self, logits: str) -> SourceNet:
        """C3D with batch norm, pools without padding."""
        x = "data"
        for stage, letters in enumerate(("a", "a", "ab", "ab", "ab"), 1):
            for letter in letters:
                name = f"conv{stage}{letter}"
                x = self.block(name, self.norm(self.conv(x, name, (1, 1, 1)), f"{name}_bn"))
            window = [1 if stage == 1 else 2, 2, 2]
            x = self.block(
                f"pool{stage}", self.op("MaxPool", [x], f"pool{stage}", kernels=window, strides=window)
            )
        for name in ("fc6", "fc7"):
            x = self.block(name, self.relu(self.fc(x, name)))
        self.block("logits", self.fc(x, logits))
        return self.net("vmz", "Caffe2", {"data": ("N", self.shapes["conv1a_w"][1], "T", "H", "W")})


SOURCE = SourceRecord(layouts=("vmz",), recognise=recognise)
