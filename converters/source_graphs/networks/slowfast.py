"""The networks of PySlowFast (facebookresearch/SlowFast@287ec00) as lists of operators, by its own modules' rules, over
the blobs of its Caffe2 zoo.

The blobs tell pathways, blocks and kernels. What they do not, pools, windows, which frames the slow pathway sees and
whether it is a detector, follows from the model's name, as in the project's configs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import Refused
from converters.source_graphs.bottlenecks import SLOWFAST_ONLY, STAGES, Bottlenecks, scope_of
from converters.source_graphs.record import SourceRecord

from . import video_nonlocal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

WINDOW = 7
"""Rows and columns of the last map that are classified together: a 32nd of the crop of 224."""

X3D_WINDOWS = {"xs": 5, "s": 5, "m": 7, "l": 10}
"""The same for the sizes of X3D: for crops of 160, 224 and 312."""

REGION = 7
"""Rows and columns of a region's map."""

_CLIP = 5
"""Axes of a convolution over clips."""


class _ModelName(NamedTuple):
    """The facts in a model's name, such as ``C2D_NOPOOL_8x8_R50`` or ``AVA_SLOW_8x8_R50``. Networks without a
    released model have made-up names of the same words."""

    detector: bool
    pool2: bool
    alpha: int
    x3d_window: int

    @classmethod
    def parse(cls, model: str) -> _ModelName:
        words = re.split("[_-]", model.lower())
        return cls(
            detector="ava" in words,
            pool2=not {"nopool", "in1k"} & set(words),
            alpha=8 if "4x16" in words else 4,  # 32 frames, 4 of them for the slow pathway
            x3d_window=X3D_WINDOWS.get(words[-1], WINDOW),
        )


def recognise(blobs: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``blobs`` (name to shape; solver state is left alone) for clips ``[N, C, T, H, W]``, all frames
    of the fast pathway; a detector's takes ``rois`` too, ``[K, 5]`` of (clip, x1, y1, x2, y2) in pixels.

    None if the blobs are not PySlowFast's: they have no classifier ``pred`` or no norm ``res_conv1_bn``, or they are
    video-nonlocal-net's, by the setting ``model``, or by their names where there is none. Raises `Refused` without a
    model, and if a blob is missing.
    """
    scope, model = scope_of(blobs), settings.get("model", "")
    if scope is None or model in video_nonlocal.MODELS or len(blobs.get(f"{scope}conv1_w", ())) != _CLIP:
        return None
    kinds = dict(zip(SLOWFAST_ONLY, (_X3D, _TwoPathways), strict=True))
    kind = next((kinds[name] for name in kinds if f"{scope}{name}" in blobs), None)
    if not model and kind is None:
        return None
    if not model:
        raise Refused("the blobs are those of several models of PySlowFast", hint="say which with --variant")
    try:
        return (kind or _OnePathway)(blobs, scope, _ModelName.parse(model)).network()
    except KeyError as error:
        raise Refused(f"is not a network of PySlowFast: it has no blob {error}") from None


class _Builder(Bottlenecks):
    def __init__(self, blobs: Mapping[str, Shape], scope: str, facts: _ModelName) -> None:
        super().__init__(blobs, scope)
        self.facts = facts

    def stem(self, x: str, path: str = "", label: str = "") -> str:
        """The first convolution and the pool after it."""
        x = self.norm(self.conv(x, f"{path}conv1", (1, 2, 2)), f"{path}res_conv1_bn")
        x = self.block(f"{label}stem", self.relu(x))
        window = {"kernels": (1, 3, 3), "strides": (1, 2, 2), "pads": (0, 1, 1) * 2}
        return self.block(f"{label}pool1", self.op("MaxPool", [x], f"{path}pool1", **window))

    def residual_stage(self, x: str, number: int, path: str = "", label: str = "") -> str:
        """The blocks of a stage. A detector's last stage keeps the size, and widens its kernels instead."""
        wide = self.facts.detector and number == 5
        return self.stage(
            x,
            number,
            2 if number > 2 and not wide else 1,
            path=path,
            label=label,
            dilation=2 if wide else 1,
        )

    def regions(self, x: str, name: str) -> str:
        """Regions of the mean over all frames. Pixel centres are at whole numbers: the configs of the Caffe2 zoo's
        detectors, unlike later ones, say ``ALIGNED: False``."""
        x = self.op("ReduceMean", [x], f"{name}_frames", axes=(2,), keepdims=0)
        size = {"pooled_h": REGION, "pooled_w": REGION, "spatial_scale": 1 / 16}
        return self.op("RoIAlign", [x, "rois"], f"{name}_roi", **size, sampling_ratio=0, aligned=0)

    def detect(self, x: str) -> SourceNet:
        """From regions to logits ``[K, classes]``."""
        self.block("regions", x)
        x = self.op("MaxPool", [x], "roi_pool", kernel=REGION, stride=1)
        self.block("logits", self.op("FC", [self.block("pool", x), "pred_w", "pred_b"], "pred"))
        return self.made(rois=("K", 5))

    def classify(self, x: str) -> SourceNet:
        """From windows' means to their logits ``[N, classes, 1, h, w]``."""
        if len(self.shapes["pred_w"]) == 2:
            x = self.op("Transpose", [x], f"{x}_last", axes=(0, 2, 3, 4, 1))
            x = self.op("FC", [x, "pred_w", "pred_b"], "pred_last", axis=4)
            x = self.op("Transpose", [x], "pred", axes=(0, 4, 1, 2, 3))
        else:
            x = self.conv(x, "pred")
        self.blocks |= {"window_logits": x, "logits": x}
        return self.made()

    def made(self, **more: tuple[int | str, ...]) -> SourceNet:
        first = "conv1_xy_w" if "conv1_xy_w" in self.shapes else "conv1_w"
        inputs = {"data": ("N", self.shapes[first][1], "T", "H", "W"), **more}
        return self.net("slowfast", "Caffe2", inputs)

    def network(self) -> SourceNet:
        """The whole network."""
        raise NotImplementedError


class _OnePathway(_Builder):
    """C2D, I3D, SlowOnly and ImageNet's ResNet."""

    def network(self) -> SourceNet:
        # Only SlowOnly has no kernels in time before res4; of the others all with a pool halve time after res2.
        slow = self.shapes["conv1_w"][2] == 1 and self.shapes["res4_0_branch2a_w"][2] > 1
        x = self.stem("data")
        for number in STAGES:
            x = self.residual_stage(x, number)
            if number == 2 and self.facts.pool2 and not slow:
                window = (2, 1, 1)
                x = self.block("pool2", self.op("MaxPool", [x], "pool2", kernels=window, strides=window))
        if self.facts.detector:
            return self.detect(self.regions(x, "pool5"))
        return self.classify(self.block("pool", self.windows(x, "pool5", WINDOW)))


class _TwoPathways(_Builder):
    """SlowFast. The lateral convolutions are named for what they read: ``t_pool1``, the last block of a stage."""

    def network(self) -> SourceNet:
        slow = self.op("SlowFrames", ["data"], "slow_data", alpha=self.facts.alpha)
        slow, fast = self.stem(slow, "", "slow."), self.stem("data", "t_", "fast.")
        for place, number in enumerate(STAGES):
            slow = self.join(slow, fast, place)
            slow = self.residual_stage(slow, number, "", "slow.")
            fast = self.residual_stage(fast, number, "t_", "fast.")
        if self.facts.detector:
            both = [self.regions(slow, "pool5"), self.regions(fast, "t_pool5")]
            return self.detect(self.op("Concat", both, "roi_concat", axis=1))
        both = [
            self.block("slow.pool", self.windows(slow, "pool5", WINDOW)),
            self.block("fast.pool", self.windows(fast, "t_pool5", WINDOW)),
        ]
        return self.classify(self.block("pool", self.op("Concat", both, "pool5_concat", axis=1)))

    def join(self, slow: str, fast: str, place: int) -> str:
        """The slow pathway's channels, followed by those that a lateral convolution computes from the fast pathway."""
        name = f"{fast}_subsample"
        seen = self.relu(self.norm(self.conv(fast, name, (self.facts.alpha, 1, 1)), f"{name}_bn"))
        return self.op("Concat", [slow, self.block(f"lateral{place}", seen)], f"{slow}_concat", axis=1)

    def nonlocal_block(self, x: str, name: str, **args: Any) -> str:
        """The configs say ``dot_product``, and of detectors a pool in time too."""
        frames = 2 if self.facts.detector else 1
        return super().nonlocal_block(x, name, pool=(frames, 2, 2), softmax=False)


class _X3D(_Builder):
    """X3D. Its stem convolves in space, then in time channel by channel; all four stages halve the size."""

    def network(self) -> SourceNet:
        x = self.conv("data", "conv1_xy", (1, 2, 2))
        x = self.norm(self.conv(x, "conv1", group=self.shapes["conv1_w"][0]), "res_conv1_bn")
        x = self.block("stem", self.relu(x))
        for number in STAGES:
            x = self.stage(x, number, 2)
        x = self.block("conv5", self.relu(self.norm(self.conv(x, "conv_5"), "conv_5_bn")))
        x = self.block("pool", self.windows(x, "pool5", self.facts.x3d_window))
        return self.classify(self.block("lin5", self.relu(self.conv(x, "lin_5"))))

    def middle(self, x: str, name: str, strides: tuple[int, ...], dilation: int) -> str:
        """A depthwise 3x3x3 convolution, squeeze and excitation in some blocks, Swish."""
        group = self.shapes[f"{name}_w"][0]
        x = self.norm(self.conv(x, name, strides, dilation=dilation, group=group), f"{name}_bn")
        if f"{x}_fc1_w" in self.shapes:
            whole = self.op("AveragePool", [x], f"{x}_pool", global_pooling=1)
            squeezed = self.relu(self.conv(whole, f"{x}_fc1"))
            gate = self.op("Sigmoid", [self.conv(squeezed, f"{x}_fc2")], f"{x}_gate")
            x = self.op("Mul", [x, gate], f"{x}_excited")
        return self.op("Swish", [x], f"{x}_swish")


SOURCE = SourceRecord(
    layouts=("slowfast",),
    recognise=recognise,
    test_clips={
        "resnet_i3d": (1, 3, 2, 193, 196),
        "slowfast": (1, 3, 16, 193, 196),
        "x3d": (1, 3, 2, 290, 301),
    },
)
