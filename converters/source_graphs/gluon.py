"""What GluonCV's networks share (dmlc/gluon-cv 0.10.5, ``gluoncv/model_zoo``): Gluon's layers as MXNet's operators.

A parameter may be stored under several names, for each place that a block registers its layer in. Layers are therefore
asked for by all of their names, and the first that the file has is read. A value has the name of the layer or block
that gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .net import NetBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .net import Shape, SourceNet

LAYOUT = "gluoncv"


def is_of_gluoncv(settings: Mapping[str, object]) -> bool:
    """Whether the file may be GluonCV's, as far as its layout is known: some PyTorch projects have the same names."""
    return settings.get("layout", LAYOUT) in (LAYOUT, "")


class GluonBuilder(NetBuilder):
    """Writes these networks. ``epsilon`` is that of every batch norm."""

    def __init__(self, tensors: Mapping[str, Shape], epsilon: float = 1e-5) -> None:
        super().__init__(tensors)
        self.epsilon = epsilon

    def has(self, *names: str) -> bool:
        """Whether the file has a layer, by any of its names."""
        return any(f"{name}.weight" in self.shapes for name in names)

    def conv(
        self, x: str, *names: str, stride: int | Sequence[int] = 1, pad: Sequence[int] | None = None
    ) -> str:
        """A convolution, padded by half of its kernel if ``pad`` does not say otherwise."""
        name = self.stored("weight", names)
        kernel = self.shapes[f"{name}.weight"][2:]
        weights = [f"{name}.{leaf}" for leaf in ("weight", "bias") if f"{name}.{leaf}" in self.shapes]
        strides = (stride,) * len(kernel) if isinstance(stride, int) else tuple(stride)
        pads = tuple(size // 2 for size in kernel) if pad is None else tuple(pad)
        return self.op("Convolution", [x, *weights], names[0], kernel=kernel, stride=strides, pad=pads)

    def norm(self, x: str, *names: str) -> str:
        """Batch norm."""
        name = self.stored("gamma", names)
        leaves = [f"{name}.{leaf}" for leaf in ("gamma", "beta", "running_mean", "running_var")]
        return self.op("BatchNorm", [x, *leaves], names[0], eps=self.epsilon)

    def relu(self, x: str, name: str = "") -> str:
        """A ReLU, whose value is called ``name``."""
        return self.op("Activation", [x], name or f"{x}.relu", act_type="relu")

    def unit(
        self, x: str, name: str, *, stride: int | Sequence[int] = 1, pad: Sequence[int] | None = None
    ) -> str:
        """The layers ``NAME.0``, a convolution, and ``NAME.1``, its norm."""
        return self.norm(self.conv(x, f"{name}.0", stride=stride, pad=pad), f"{name}.1")

    def pool(
        self,
        x: str,
        name: str,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        pad: Sequence[int] = (),
        kind: str = "max",
        full: bool = False,
    ) -> str:
        """A pool; with ``full`` its output's size is rounded up."""
        window = {"kernel": tuple(kernel), "stride": tuple(stride), "pad": tuple(pad) or (0,) * len(kernel)}
        convention = "full" if full else "valid"
        return self.op("Pooling", [x], name, pool_type=kind, pooling_convention=convention, **window)

    def mean(self, x: str, name: str, axes: int) -> str:
        """The mean over ``axes`` axes of positions, [N, C]."""
        x = self.op("Pooling", [x], f"{name}.pool", pool_type="avg", global_pool=True)
        return self.op("squeeze", [x], name, axis=tuple(range(2, 2 + axes)))

    def dense(self, x: str, *names: str) -> str:
        """A linear layer."""
        name = self.stored("weight", names)
        return self.op("FullyConnected", [x, f"{name}.weight", f"{name}.bias"], names[0])

    def made(self, name: str, first: str, *, frames: bool = False) -> SourceNet:
        """The network, whose first convolution is ``first``, over clips or over single frames."""
        channels = self.shapes[f"{first}.weight"][1]
        axes = ("H", "W") if frames else ("T", "H", "W")
        return self.net(name, "MXNet", {"data": ("N", channels, *axes)}, axes="frames" if frames else "NCTHW")

    def stored(self, leaf: str, names: Sequence[str]) -> str:
        """The first of a layer's names that the file has. Raises `KeyError`, with the first of all, if it has none."""
        for name in names:
            if f"{name}.{leaf}" in self.shapes:
                return name
        raise KeyError(f"{names[0]}.{leaf}")
