"""BN-Inception as Temporal and Structured Segment Networks use it: 69 convolutions with bias, each with a norm.

Modules carry the names of the Caffe layers with their slashes as dots (``conv1.7x7_s2``,
``inception_3a.3x3_reduce``), each a unit with ``conv`` and ``bn``; the classifier is ``head``, and SSN has
``completeness`` and ``regression`` beside it. No settings but ``bn_eps``: which branches a block has, and which network
it is, follows from the shapes. End points have the names of the Caffe blobs, slashes and all.

Facts from yjxiong/temporal-segment-networks 2c5e5e7, run in yjxiong/caffe 9831a2b: max pools of stride 2 have
no padding and round up; average pools count their padding; the pool of ``inception_5b`` is a maximum. Those of SSN
from open-mmlab/mmaction c7e3b7c (its THUMOS14 configuration).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.networks.layers import Network, Unit, check_input, linear
from converters.networks.record import NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from converters.networks.spec import ModuleShapes, Settings

_BLOCKS = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_REDUCING = ("3c", "4e")
"""Blocks of stride 2: no 1x1 branch, and a maximum that is concatenated as it is."""

STAGES = (2, 5, 2)
"""Snippets before, within and after a proposal."""

_DROPOUT = {3: 0.8}
_DROPOUT_FLOW = 0.7


class Inception(nn.Module):
    """A block: branches side by side, their channels concatenated."""

    def __init__(self, shapes: ModuleShapes, channels: int, eps: float, stride: int, pool: str) -> None:
        super().__init__()
        self.stride = stride
        self.pool = pool
        self.out_channels = 0 if stride == 1 else channels

        def branch(*names: str) -> tuple[str, ...]:
            inner = channels
            for name in names:
                last = stride if name == names[-1] else 1
                unit = Unit(shapes.under(name), inner, eps, (last, last))
                self.add_module(name, unit)
                inner = unit.out_channels
            self.out_channels += inner
            return names

        self.branches = [branch("1x1")] if stride == 1 else []
        self.branches.append(branch("3x3_reduce", "3x3"))
        self.branches.append(branch("double_3x3_reduce", "double_3x3_1", "double_3x3_2"))
        self.after_pool = branch("pool_proj") if stride == 1 else ()

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] -> [N, out_channels, H, W], H and W divided by the stride."""
        outs = [self._run(names, x) for names in self.branches]
        if self.stride == 2:
            pooled = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        elif self.pool == "max":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([*outs, self._run(self.after_pool, pooled)], dim=1)

    def _run(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        for name in names:
            x = F.relu_(self.get_submodule(name)(x))
        return x


class BNInception(Network):
    """Frames of a clip [N, C, T, H, W] to logits [N, classes]: each of the T segments (or stacks of optical
    flow) by itself, the logits averaged over them. The inner blocks of `steps` are of all N x T frames, [N T,
    ...]. SSN takes nine snippets of a proposal, and their scale factors.

    Heights and widths are 32 n - 1 .. 32 n + 6, such as 224: with others a convolution and the pool beside it
    leave different sizes, in Caffe too. The last pool averages all that is left (7x7 at 224x224). Without a
    head among the shapes the output is ``global_pool``, [N T, channels].
    """

    def __init__(self, shapes: ModuleShapes, eps: float) -> None:
        super().__init__()
        _, channels, *_ = shapes["conv1.7x7_s2.conv.weight"]
        self.in_channels = channels
        drop = _DROPOUT.get(channels, _DROPOUT_FLOW)
        self.conv1 = nn.ModuleDict()
        self.conv2 = nn.ModuleDict()
        for stem, name, stride in (
            (self.conv1, "conv1.7x7_s2", 2),
            (self.conv2, "conv2.3x3_reduce", 1),
            (self.conv2, "conv2.3x3", 1),
        ):
            unit = Unit(shapes.under(name), channels, eps, (stride, stride))
            stem[name.partition(".")[2]] = unit
            channels = unit.out_channels
        for name in _BLOCKS:
            block = Inception(
                shapes.under(f"inception_{name}"),
                channels,
                eps,
                2 if name in _REDUCING else 1,
                "max" if name == "5b" else "average",
            )
            self.add_module(f"inception_{name}", block)
            channels = block.out_channels
        self.dropout = nn.Dropout(drop)
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def steps(self, clip: Tensor) -> Iterator[tuple[str, Tensor]]:
        features = yield from self.backbone(clip)
        if self.head is not None:
            yield "logits", self.head(self.dropout(features)).mean(dim=1)

    def backbone(self, clip: Tensor) -> Generator[tuple[str, Tensor], None, Tensor]:
        """The steps before the head; returns the features of every segment, [N, T, channels]."""
        check_input(clip, "NCTHW", self.in_channels)
        clips, _, segments, *size = clip.shape
        if any(side < 31 or (side + 1) % 32 > 7 for side in size):
            raise ValueError(
                f"frames of {size[0]}x{size[1]} do not fit: a block's convolution and the pool beside it "
                "would leave different sizes; take a height and width of 32 n - 1 .. 32 n + 6, such as 224"
            )
        first = self.conv1["7x7_s2"]
        assert isinstance(first, Unit)
        assert first.bn is not None
        x = first.conv(clip.transpose(1, 2).flatten(0, 1))
        yield "conv1/7x7_s2", x
        x = F.relu_(first.bn(x))
        yield "conv1/7x7_s2_bn", x
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        yield "pool1/3x3_s2", x
        for name, unit in self.conv2.items():
            x = F.relu_(unit(x))
            yield f"conv2/{name}_bn", x
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        yield "pool2/3x3_s2", x
        for name in _BLOCKS:
            x = self.get_submodule(f"inception_{name}")(x)
            yield f"inception_{name}/output", x
        x = x.mean(dim=(2, 3))
        yield "global_pool", x
        features: Tensor = x.reshape(clips, segments, -1)
        return features


class SSN(BNInception):
    """Nine snippets of a proposal, [N, C, 9, H, W], to activity scores [N, classes], background first.

    Two snippets are from before the proposal, five from within, two from after it. The activity is that of the mean
    within; completeness and regression see the means of the three stages side by side, the outer ones times
    ``scales`` [N, 2] (1 where none are given). `steps` yields ``"completeness"`` [N, activities] and
    ``"regression"`` [N, 2 activities], centre and length of each, before ``"logits"``.
    """

    def __init__(self, shapes: ModuleShapes, eps: float) -> None:
        super().__init__(shapes, eps)
        channels = shapes["head.weight"][1]
        self.completeness = linear(shapes, channels * len(STAGES), "completeness")
        self.regression = linear(shapes, channels * len(STAGES), "regression")
        scores = tuple(shapes[f"{name}.weight"][0] for name in ("head", "completeness", "regression"))
        activities = scores[1]
        if scores != (activities + 1, activities, 2 * activities):
            raise ValueError(f"{scores} scores of activity, completeness and regression do not go together")

    def steps(self, clip: Tensor, scales: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
        check_input(clip, "NCTHW", self.in_channels)
        if clip.shape[2] != sum(STAGES):
            raise ValueError(f"expected {sum(STAGES)} snippets of a proposal, got {clip.shape[2]}")
        if scales is not None and scales.shape != (len(clip), 2):
            raise ValueError(f"expected scales [{len(clip)}, 2], got {list(scales.shape)}")
        features = yield from self.backbone(clip)
        first, last = STAGES[0], STAGES[0] + STAGES[1]
        within = features[:, first:last].mean(dim=1)
        before, after = features[:, :first].mean(dim=1), features[:, last:].mean(dim=1)
        if scales is not None:
            before, after = before * scales[:, :1], after * scales[:, 1:]
        whole = self.dropout(torch.cat([before, within, after], dim=1))
        yield "completeness", self.completeness(whole)
        yield "regression", self.regression(whole)
        assert self.head is not None
        yield "logits", self.head(self.dropout(within))


def build(shapes: ModuleShapes, settings: Settings) -> BNInception:
    """SSN where the shapes have its heads, else BN-Inception."""
    kind = SSN if "completeness.weight" in shapes else BNInception
    return kind(shapes, settings.bn_eps)


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 1, 31, 38))
