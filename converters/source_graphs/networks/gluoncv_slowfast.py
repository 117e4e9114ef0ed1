"""GluonCV's SlowFast (dmlc/gluon-cv 0.10.5, ``slowfast.py``) as a list of MXNet's operators.

A clip has the frames of the fast pathway, and then those of the slow one. How many there are, and how many for one of
the slow, are settings; without them, the model's name says so, and without a name the kernels, as far as the zoo's
models go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.gluon import LAYOUT, GluonBuilder, is_of_gluoncv
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

_STAGES = (2, 3, 4, 5)
_LATERALS = ("lateral_p1", "lateral_res2", "lateral_res3", "lateral_res4")
_NARROW = 5  # frames of the lateral kernels of 4x16
_FEW = 6  # blocks of ResNet-50's third stage


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape), of clips ``[N, C, T, H, W]``; None if it is not GluonCV's SlowFast.
    Raises `Refused` if a tensor is missing."""
    if "lateral_p1.0.weight" not in tensors or not is_of_gluoncv(settings):
        return None
    try:
        return _SlowFast(tensors, settings).network()
    except KeyError as error:
        raise Refused(f"is not a network of GluonCV: it has no {error.args[0]}") from None


class _SlowFast(GluonBuilder):
    """`SlowFast`."""

    def __init__(self, tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> None:
        super().__init__(tensors)
        self.alpha = int(settings.get("alpha") or self._usual_alpha(str(settings.get("model") or "")))
        self.fast = self._fast_frames(settings)

    def _usual_alpha(self, model: str) -> int:
        deep = self.has(f"slow_res4.{_FEW}.conv1")
        narrow = self.shapes["lateral_p1.0.weight"][2] == _NARROW
        return 8 if "4x16" in model or (not model and narrow and not deep) else 4

    def _fast_frames(self, settings: Mapping[str, Any]) -> int:
        """The fast pathway's frames: 64 of 16x8, whose file in the zoo has single frames in later kernels."""
        late = self.shapes.get(f"fast_res4.{_FEW}.conv1.weight")
        if chosen := str(settings.get("slow_frames") or ""):
            return 64 if chosen.endswith("64") else 32
        model = str(settings.get("model") or "")
        return 64 if "16x8" in model or (not model and late is not None and late[2] == 1) else 32

    def network(self) -> SourceNet:
        """The whole network."""
        most = self.fast + self.fast // self.alpha
        both = {
            path: self.op(f"slice {path}", ["data"], f"{path}_input", alpha=self.alpha, most=most)
            for path in ("slow", "fast")
        }
        both = {path: self.stem(x, path) for path, x in both.items()}
        for place, (number, lateral) in enumerate(zip(_STAGES, _LATERALS, strict=True)):
            seen = self.unit(both["fast"], lateral, stride=(self.alpha, 1, 1))
            seen = self.block(f"lateral{place}", self.relu(seen, lateral))
            both["slow"] = self.op("Concat", [both["slow"], seen], f"{lateral}.concat", dim=1)
            both = {path: self.stage(x, number, path) for path, x in both.items()}
        means = [self.block(f"{path}.pool", self.mean(x, f"{path}_mean", 3)) for path, x in both.items()]
        logits = self.dense(self.block("pool", self.op("Concat", means, "concat", dim=1)), "fc")
        self.block("window_logits", logits)
        self.block("logits", logits)
        return self.made("gluoncv_slowfast", "fast_conv1")

    def stem(self, x: str, path: str) -> str:
        """The first convolution of a pathway and the pool after it."""
        x = self.relu(self.norm(self.conv(x, f"{path}_conv1", stride=(1, 2, 2)), f"{path}_bn1"))
        x = self.pool(self.block(f"{path}.stem", x), f"{path}_maxpool", (1, 3, 3), (1, 2, 2), pad=(0, 1, 1))
        return self.block(f"{path}.pool1", x)

    def stage(self, x: str, number: int, path: str) -> str:
        """All blocks of one stage of a pathway."""
        place = 0
        while self.has(f"{path}_res{number}.{place}.conv1"):
            name = f"{path}_res{number}.{place}"
            x = self.residual(x, name, 2 if number > _STAGES[0] and place == 0 else 1)
            x = self.block(f"{path}.layer{number - 1}.{place}", x)
            place += 1
        return x

    def residual(self, x: str, name: str, step: int) -> str:
        """A bottleneck; the stride is that of its middle and of the projection."""
        out, strides = x, (1, step, step)
        for number in (1, 2, 3):
            out = self.conv(out, f"{name}.conv{number}", stride=strides if number == 2 else 1)
            out = self.norm(out, f"{name}.bn{number}")
            out = self.relu(out) if number < 3 else out
        shortcut = x
        if self.has(f"{name}.downsample.0"):
            shortcut = self.unit(x, f"{name}.downsample", stride=strides)
        return self.relu(self.op("elemwise_add", [out, shortcut], f"{name}.sum"), name)


SOURCE = SourceRecord(layouts=(LAYOUT,), recognise=recognise, test_clips={"slowfast": (1, 3, 40, 65, 70)})
"""Of 40 frames, alpha 4 takes 32 and 8, and alpha 8 takes 32 and 4."""
