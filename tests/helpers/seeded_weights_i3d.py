"""Seeded weights and clips of recipe ``i3d-golden-1``, the same on every machine. See `goldens/i3d/README.md`.

Drawn from numpy's legacy generator in float64 and cast to float32.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]


def i3d_weights(variables: Mapping[str, Shape], seed: int) -> Arrays:
    """Arrays for ``variables`` (TensorFlow's name -> shape), in sorted name order.

    Variances go down to 3e-4, so that a wrong epsilon shows. Kernels make up for the variance of the batch norm
    after them, and means are in proportion to it, so that activations stay in range.
    """
    random = np.random.RandomState(seed)
    drawn: Arrays = {}
    for name in sorted(variables):
        shape = variables[name]
        module, _, leaf = name.rpartition("/")
        if leaf == "moving_variance":
            u = random.random_sample(prod(shape))
            q = u * u
            value = 3e-4 + (3 * q) * q
            mean = f"{module}/moving_mean"
            drawn[mean] = (drawn[mean].ravel() * np.sqrt(value)).astype(np.float32).reshape(shape)
        else:
            value = random.standard_normal(prod(shape))
            if leaf == "w":
                value *= sqrt(2 / prod(shape[:4]))
                norm = f"{module.rpartition('/')[0]}/batch_norm/moving_variance"
                if norm in drawn:
                    value = value.reshape(-1, shape[-1]) * np.sqrt(drawn[norm].ravel().astype(np.float64))
            else:
                value *= {"beta": 0.3, "moving_mean": 0.3, "b": 0.5, "Momentum": 0.01}[leaf]
        drawn[name] = value.astype(np.float32).reshape(shape)
    return drawn


def i3d_clip(seed: int, shape: Shape) -> np.ndarray:
    """A clip (N, T, H, W, C) in [-1, 1]: smooth parts, noise, and a square that moves."""
    n, frames, height, width, channels = shape
    random = np.random.RandomState(seed)
    coarse = random.uniform(-0.9, 0.9, (n, -(-frames // 4), -(-height // 16), -(-width // 16), channels))
    fine = random.uniform(-0.25, 0.25, shape)
    t, y, x = np.arange(frames) // 4, np.arange(height) // 16, np.arange(width) // 16
    value = coarse[:, t[:, None, None], y[:, None], x] + fine
    value += np.linspace(-0.2, 0.3, height)[:, None, None]
    value += np.linspace(0.15, -0.1, width)[:, None]
    value += np.linspace(-0.1, 0.05, channels)
    for frame in range(frames):
        top, left = 7 * frame % (height - 40), width // 3
        value[:, frame, top : top + 40, left : left + 48] += 0.4
    return np.clip(value, -1, 1).astype(np.float32)
