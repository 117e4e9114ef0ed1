"""What residual networks have in common: a stem, stages of residual blocks, a pool and a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from .layers import Block, Network, linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from .layers import Unit
    from .spec import ModuleShapes

UNITS = {"simple": 2, "bottleneck": 3}
"""Units of a residual block, by its kind."""


class Stage(NamedTuple):
    """``blocks`` residual blocks of ``units`` units; ``stride`` is that of the first."""

    blocks: int
    stride: tuple[int, ...]
    units: int


class ResNet(Network):
    """Stem, stages of residual blocks, pool, and a head where the shapes have one; without, the output is the
    pooled [N, channels]. Subclasses say how an input enters and how the last map is pooled."""

    def __init__(
        self,
        shapes: ModuleShapes,
        eps: float,
        stem: Unit,
        stages: Mapping[str, Stage],
        *,
        pool1: nn.Module | None = None,
        factorised: str = "",
        middle_relu: bool = True,
        early: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.pool1 = pool1
        self.stages = tuple(stages)
        channels = stem.out_channels
        for name, stage in stages.items():
            blocks = nn.Sequential()
            for index in range(stage.blocks):
                block = Block(
                    shapes.under(f"{name}.{index}"),
                    channels,
                    eps,
                    stage.stride if index == 0 else (1,) * len(stage.stride),
                    units=stage.units,
                    factorised=factorised,
                    middle_relu=middle_relu,
                    early=early,
                )
                blocks.append(block)
                channels = block.out_channels
            self.add_module(name, blocks)
        self.out_channels = channels
        self.head = linear(shapes, channels, "head") if "head.weight" in shapes else None

    def enter(self, x: Tensor) -> Tensor:
        """Check the input and run the stem."""
        raise NotImplementedError

    def pool(self, x: Tensor) -> Tensor:
        """The last map, whatever its size, to [N, channels]."""
        raise NotImplementedError

    def steps(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.enter(x)
        yield "stem", x
        if self.pool1 is not None:
            x = self.pool1(x)
            yield "pool1", x
        for name in self.stages:
            for index, block in self.get_submodule(name).named_children():
                x = block(x)
                yield f"{name}.{index}", x
        x = self.pool(x)
        yield "pool", x
        if self.head is not None:
            yield "logits", self.head(x)
