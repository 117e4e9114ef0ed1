"""Seeded weights and clips of recipe U, the same on every machine. See `goldens/README-zoo.md`."""

from __future__ import annotations

from math import ceil, prod, sqrt
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]


def _uniform(name: str, seed: int, shape: Shape, low: float, high: float) -> np.ndarray:
    """A name's own stream: values do not depend on what else is drawn."""
    stream = crc32(name.encode()) ^ (seed * 2654435761) % 2**32
    drawn = np.random.RandomState(stream).random_sample(prod(shape))
    return (low + (high - low) * drawn).astype(np.float32).reshape(shape)


def zoo_weights(blobs: Mapping[str, Shape], seed: int) -> Arrays:
    """Arrays for Caffe2 ``blobs``."""
    return {name: _uniform(name, seed, shape, *_range(name, shape)) for name, shape in blobs.items()}


def _range(name: str, shape: Shape) -> tuple[float, float]:
    if name.endswith("_bn_s"):
        damped = name.endswith("branch2c_bn_s") or name.startswith("nonlocal")
        return (0.1, 0.4) if damped else (0.6, 1.4)
    if name.endswith(("_bn_b", "_bn_rm")):
        return -0.2, 0.2
    if name.endswith("_bn_riv"):
        return 0.5, 1.5
    if name.endswith("_w"):
        bound = sqrt(6 / prod(shape[1:]))
        bound *= 0.2 if name == "pred_w" else 0.5 if name.startswith("nonlocal") else 1
        return -bound, bound
    return -0.1, 0.1


def zoo_clip(seed: int, shape: Shape) -> np.ndarray:
    """A clip (N, C, T, H, W): squares of 16 pixels and noise."""
    *outer, height, width = shape
    coarse = _uniform("clip/coarse", seed, (*outer, ceil(height / 16), ceil(width / 16)), -1.5, 1.5)
    coarse = coarse.repeat(16, axis=-2).repeat(16, axis=-1)[..., :height, :width]
    return coarse + _uniform("clip/fine", seed, shape, -0.5, 0.5)
