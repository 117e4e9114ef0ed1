"""Count a network's multiply-adds in a run on the meta device."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


def count_macs(model: nn.Module, *input_shapes: Sequence[int]) -> int:
    """Multiply-adds of all convolutions and linear layers for inputs of these shapes.

    ``model`` must be on the meta device, so nothing is computed. VMZ's "GFLOPs" are these, over 1e9.
    """
    total = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        assert isinstance(module.weight, Tensor)
        total += out.numel() * prod(module.weight.shape[1:])

    kinds = (nn.Conv2d, nn.Conv3d, nn.Linear)
    hooks = [layer.register_forward_hook(add) for layer in model.modules() if isinstance(layer, kinds)]
    training = model.training
    try:
        model.eval()(*(torch.empty(tuple(shape), device="meta") for shape in input_shapes))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return total
