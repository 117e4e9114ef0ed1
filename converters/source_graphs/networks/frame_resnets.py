"""ResNets over frames as temporal-shift-module (1f6a834) and mmaction2 (1.2.0) compute them: TSM, TSN, C2D.

What a file's names do not show is read from the settings: ``model`` (``"c2d-r50"`` has mmaction2's pools in time,
``"tsm-r50"`` shifts though no name says so, other models with the names of mmaction2's TSN are TSN),
``nonlocal_weights`` and, where they are set, ``segments``, ``shift_div`` and ``shift_first``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.source_graphs.net import NetBuilder
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

EPS = 1e-5
"""Of every batch norm: PyTorch's default."""

STAGES = {1: 1, 2: 2, 3: 2, 4: 2}
"""The stages, each with its stride."""


class Names(NamedTuple):
    """What a project calls its modules. ``convs`` are a block's convolution's names, of which a file has one, and
    ``norms`` those of its batch norm; ``{}`` is its number."""

    stem: tuple[str, str]
    block: str
    convs: tuple[str, ...]
    norms: tuple[str, ...]
    shortcut: tuple[str, str]
    nonlocal_block: Mapping[str, str]
    head: str


MIT = Names(
    stem=("base_model.conv1", "base_model.bn1"),
    block="base_model.layer{}.{}",
    convs=("conv{}.net", "conv{}"),
    norms=("bn{}",),
    shortcut=("downsample.0", "downsample.1"),
    nonlocal_block={"theta": "nl.theta", "phi": "nl.phi.0", "g": "nl.g.0", "out": "nl.W.0", "bn": "nl.W.1"},
    head="new_fc",
)
MMACTION2 = Names(
    stem=("backbone.conv1.conv", "backbone.conv1.bn"),
    block="backbone.layer{}.{}",
    convs=("conv{}.conv.net", "conv{}.net.conv", "conv{}.conv"),
    norms=("conv{}.bn", "conv{}.net.bn"),
    shortcut=("downsample.conv", "downsample.bn"),
    nonlocal_block={
        "theta": "non_local_block.theta.conv",
        "phi": "non_local_block.phi.0.conv",
        "g": "non_local_block.g.0.conv",
        "out": "non_local_block.conv_out.conv",
        "bn": "non_local_block.conv_out.bn",
    },
    head="cls_head.fc_cls",
)


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The test network over ``tensors`` (name to shape), or None unless they are those of a ResNet over frames under
    one of these projects' names."""
    for names in (MIT, MMACTION2):
        stem = f"{names.stem[0]}.weight"
        scope = next((name.removesuffix(stem) for name in tensors if name.endswith(stem)), None)
        if scope not in ("", "module."):
            continue
        first = names.block.format(1, 0)
        block = (first, f"{first}.net")
        has_block = any(f"{scope}{one}.{names.convs[-1].format(2)}.weight" in tensors for one in block)
        if has_block and len(tensors[scope + stem]) == len("OIHW"):
            return _Frames(tensors, scope, names, settings).network()
    return None


class _Frames(NetBuilder):
    def __init__(
        self, tensors: Mapping[str, Shape], scope: str, names: Names, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(tensors, scope)
        self.names, self.settings = names, settings
        model = str(settings.get("model") or "")
        self.is_c2d = model.startswith("c2d-") and not model.endswith("-nopool")
        self.shifts_all = model.startswith("tsm-")
        self.fold_div = int(settings.get("shift_div", 8))
        self.segments = int(settings.get("segments", 0))

    def network(self) -> SourceNet:
        """The whole network."""
        channels, clip = self.shapes[f"{self.names.stem[0]}.weight"][1], "data"
        x = self.op("frames", ["data"], "images")
        x = self.relu(self.norm(self.conv(x, self.names.stem[0], 2), self.names.stem[1]))
        x = self.pool(self.mark("stem", x, clip), "maxpool", 3, 2, 0 if self.is_c2d else 1)
        x = self.mark("pool1", x, clip)
        for number, stride in STAGES.items():
            x = self.stage(x, number, stride, clip)
            if self.is_c2d and number == 1:  # pairs of frames, from here on
                pairs = {"kernel": (2, 1, 1), "stride": (2, 1, 1), "padding": (0, 0, 0)}
                whole = self.op("clips", [x, clip], "layer1/clips")
                clip = self.block("pool2", self.op("max_pool", [whole], "maxpool3d_2", **pairs))
                x = self.op("frames", [clip], "pool2/images")
        x = self.op("average", [x], "avgpool")
        scores = [f"{self.names.head}.weight", f"{self.names.head}.bias"]
        if self.is_c2d:
            x = self.block("pool", self.op("mean_over_frames", [x, clip], "pool"))
            x = self.block("window_logits", self.op("linear", [x, *scores], "scores"))
            self.block("logits", x)
        else:
            x = self.op("linear", [self.block("pool", x), *scores], "scores")
            self.block("logits", self.op("mean_over_frames", [x, clip], "logits"))
        return self.net("frame_resnets", "PyTorch", {"data": ("N", channels, "T", "H", "W")})

    def mark(self, label: str, x: str, clip: str) -> str:
        """Have frames compared with the reference network's block, which C2D's has as clips."""
        self.block(label, self.op("clips", [x, clip], f"{label}/clips") if self.is_c2d else x)
        return x

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution padded by half of its kernel."""
        kernel = self.shapes[f"{name}.weight"][2:]
        inputs = [x, f"{name}.weight"] + [f"{name}.bias"] * (f"{name}.bias" in self.shapes)
        padding = [size // 2 for size in kernel]
        return self.op("conv", inputs, f"{name}/out", stride=[stride] * len(kernel), padding=padding)

    def norm(self, x: str, name: str) -> str:
        """A batch norm."""
        leaves = [f"{name}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        return self.op("batch_norm", [x, *leaves], f"{name}/out", eps=EPS)

    def relu(self, x: str) -> str:
        return self.op("relu", [x], f"{x}/relu")

    def pool(self, x: str, name: str, kernel: int, stride: int, padding: int) -> str:
        """A max pool over rows and columns."""
        sizes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2}
        return self.op("max_pool", [x], name, **sizes)

    def first_of(self, block: str, templates: tuple[str, ...], number: int) -> str:
        """The first of a module's names that the file has."""
        names = [f"{block}.{template.format(number)}" for template in templates]
        return next((name for name in names if f"{name}.weight" in self.shapes), names[0])

    def stage(self, x: str, number: int, stride: int, clip: str) -> str:
        """All blocks of one stage, the first with the stride."""
        place = 0
        while True:
            outer = self.names.block.format(number, place)
            block = next((one for one in (outer, f"{outer}.block", f"{outer}.net") if self.is_block(one)), "")
            if not block:
                return x
            if block.endswith(".net"):
                x = self.shifted(x, block, clip)
            x = self.residual(x, block, 1 if place else stride, clip)
            x = self.mark(f"layer{number}.{place}", x, clip)
            if f"{outer}.{self.names.nonlocal_block['g']}.weight" in self.shapes:
                x = self.block(f"layer{number}.nonlocal{place}", self.nonlocal_block(x, outer, clip))
            place += 1

    def is_block(self, name: str) -> bool:
        return f"{self.first_of(name, self.names.convs, 2)}.weight" in self.shapes

    def residual(self, x: str, block: str, stride: int, clip: str) -> str:
        """Three convolutions, the second with the stride, or two, the first with it; and the shortcut."""
        out = x
        last = 3 if f"{self.first_of(block, self.names.convs, 3)}.weight" in self.shapes else 2
        for number in range(1, last + 1):
            name = self.first_of(block, self.names.convs, number)
            if number == 1 and self.is_shifted(name, block):
                out = self.shifted(x, name, clip)
            out = self.conv(out, name, stride if number == last - 1 else 1)
            out = self.norm(out, self.first_of(block, self.names.norms, number))
            out = self.relu(out) if number < last else out
        if f"{block}.{self.names.shortcut[0]}.weight" in self.shapes:
            conv, bn = (f"{block}.{name}" for name in self.names.shortcut)
            x = self.norm(self.conv(x, conv, stride), bn)
        return self.relu(self.op("add", [out, x], f"{block}/sum"))

    def is_shifted(self, conv: str, block: str) -> bool:
        """Whether a block's first convolution takes shifted channels: it is called so, or all that could be are."""
        if block.endswith(".net"):  # the whole block does
            return False
        if ".net" in conv.removeprefix(block):
            return True
        some = any(name.endswith(("conv1.conv.net.weight", "conv1.net.weight")) for name in self.shapes)
        every_second = (
            f"{self.names.block.format(3, 22)}.{self.names.convs[-1].format(3)}.weight" in self.shapes
        )
        place = int(block.removesuffix(".block").rpartition(".")[2])
        return self.shifts_all and not some and not (every_second and place % 2)

    def shifted(self, x: str, name: str, clip: str) -> str:
        """The temporal shift of what ``name`` takes."""
        inner = self.first_of(name, self.names.convs, 1) if self.is_block(name) else name
        channels = self.shapes[f"{inner}.weight"][1]
        ahead = self.settings.get("shift_first", "next") == "next"
        sizes = {"fold": channels // self.fold_div, "next_first": ahead, "segments": self.segments}
        return self.op("temporal_shift", [x, clip], f"{name}/shifted", **sizes)

    def nonlocal_block(self, x: str, block: str, clip: str) -> str:
        """A non-local block over a video's frames; without theta and phi they are x."""
        names = {key: f"{block}.{name}" for key, name in self.names.nonlocal_block.items()}
        whole = self.op("clips", [x, clip], f"{block}/clips", segments=self.segments)
        values = {}
        for key in ("theta", "phi", "g"):
            value = self.conv(whole, names[key]) if f"{names[key]}.weight" in self.shapes else whole
            if key != "theta":
                window = {"kernel": (1, 2, 2), "stride": (1, 2, 2), "padding": (0, 0, 0)}
                value = self.op("max_pool", [value], f"{names[key]}/pooled", **window)
            values[key] = self.op("positions", [value], f"{names[key]}/positions")
        pairs = self.op("matmul", [values["theta"], values["phi"]], f"{block}/pairs", transposed=(0,))
        dot = self.settings.get("nonlocal_weights") == "mean" or str(self.settings.get("model")).endswith(
            "dot-product"
        )
        likely = self.op("over_keys" if dot else "softmax", [pairs], f"{block}/weights")
        y = self.op("matmul", [values["g"], likely], f"{block}/y", transposed=(1,))
        out = self.norm(self.conv(self.op("like", [y, whole], f"{block}/map"), names["out"]), names["bn"])
        return self.op("frames", [self.op("add", [out, whole], f"{block}/sum3d")], f"{block}/frames")


SOURCE = SourceRecord(layouts=("mmaction2", "tsm"), recognise=recognise)
