"""Caffe2's operator lists run with plain ``torch.nn.functional``: a second opinion on our networks.

Ours are built from shapes and a few facts; this runs what VMZ's builder wrote, operator by operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.helpers.upstream_tables import Op


def run(ops: Iterable[Op], blobs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every blob's value, given weights and inputs by name; an operator of a new type is an error."""
    values = dict(blobs)
    for kind, inputs, outputs, args in ops:
        values[outputs[0]] = _OPS[kind](args, *(values[name] for name in inputs))
    return values


def _sizes(args: Mapping[str, Any], name: str, default: int, axes: int) -> list[int]:
    """An argument given for each axis (``strides``) or for all (``stride``)."""
    if f"{name}s" in args:
        return list(args[f"{name}s"][:axes])
    return [args.get(name, default)] * axes


def _conv(args: Mapping[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.dim() - 2
    assert _sizes(args, "kernel", 1, axes) == list(weight.shape[2:])
    return (F.conv3d if axes == 3 else F.conv2d)(
        x,
        weight,
        bias,
        stride=_sizes(args, "stride", 1, axes),
        padding=_sizes(args, "pad", 0, axes),
        groups=args.get("group", 1),
    )


def _batch_norm(
    args: Mapping[str, Any], x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    return F.batch_norm(x, mean, var, scale, bias, training=False, eps=args["epsilon"])


def _max_pool(args: Mapping[str, Any], x: Tensor) -> Tensor:
    axes = x.dim() - 2
    kernel = _sizes(args, "kernel", 1, axes)
    stride = _sizes(args, "stride", 1, axes)
    return (F.max_pool3d if axes == 3 else F.max_pool2d)(x, kernel, stride, _sizes(args, "pad", 0, axes))


def _average(args: Mapping[str, Any], x: Tensor) -> Tensor:
    """All that is left: the kernel in a table is the size of the last map of the table's own clip."""
    return F.avg_pool3d(x, x.shape[2:])


def _fc(args: Mapping[str, Any], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x.flatten(1), weight, bias)


_OPS = {
    "Conv": _conv,
    "SpatialBN": _batch_norm,
    "Relu": lambda args, x: F.relu(x),
    "Sum": lambda args, x, y: x + y,
    "MaxPool": _max_pool,
    "AveragePool": _average,
    "FC": _fc,
    "Dropout": lambda args, x: x,
    "Squeeze": lambda args, x: x.squeeze(args["dims"][0]),
    "Concat": lambda args, x, y: torch.cat([x, y], dim=args["axis"]),
    "NCHW2NHWC": lambda args, x: x.permute(0, 2, 3, 1),
    "ReduceBackMean": lambda args, x: x.mean(dim=-1).unsqueeze(1),
}
