"""Seeded weights and inputs, the same on every machine: recipes ``vmz-golden-1`` and ``T``.

Both draw from numpy's legacy generator in float64 and cast to float32. See `goldens/README.md`.
"""

from __future__ import annotations

import hashlib
import re
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]

_LAST_SCALE = re.compile(r"((?:[av]_)?comp_\d+)_spatbn_(\d+)_s")


def vmz_weights(blobs: Mapping[str, Shape], seed: int) -> Arrays:
    """Recipe vmz-golden-1: float32 arrays for ``blobs`` (Caffe2 name -> shape), in sorted name order.

    The last batch norm of each residual block is scaled down, so that deep networks stay in range.
    """
    last: dict[str, int] = {}
    for name in blobs:
        if match := _LAST_SCALE.fullmatch(name):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    damped = {f"{block}_spatbn_{index}_s" for block, index in last.items()}
    damping = 0.1 if len(last) > 16 else 0.2
    random = np.random.RandomState(seed)
    arrays: Arrays = {}
    for name in sorted(blobs):
        shape = blobs[name]
        if name.endswith("_w"):
            value = random.standard_normal(shape)
            value *= sqrt((2 if len(shape) > 2 else 1) / prod(shape[1:]))
        elif name.endswith(("_s", "_riv")):
            value = random.uniform(0.5, 1.5, shape)
            if name in damped:
                value *= damping
        elif name.endswith(("_b", "_rm")):
            value = random.standard_normal(shape) * 0.1
        else:
            raise ValueError(f"no rule for blob {name}")
        arrays[name] = value.astype(np.float32)
    return arrays


def vmz_inputs(seed: int, *shapes: Shape) -> list[np.ndarray]:
    """Recipe vmz-golden-1: a clip, and for audio-visual networks the log-mels behind it."""
    random = np.random.RandomState(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def target_weights(keys: Mapping[str, Shape], seed: int, gain: float) -> Arrays:
    """Recipe T: arrays for ``keys`` (state dict name -> shape), float32 but int64 ``num_batches_tracked``."""
    random = np.random.RandomState(seed)
    arrays: Arrays = {}
    for name in sorted(keys):
        shape = keys[name]
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.zeros(shape, np.int64)
            continue
        if name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            value = random.standard_normal(shape)
            value *= sqrt(gain / prod(shape[1:]))
        elif name.endswith("weight"):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * random.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def target_input(seed: int, shape: Shape) -> np.ndarray:
    """Recipe T: the clip that goes with the weights of ``seed``."""
    return np.random.RandomState(seed + 1000003).standard_normal(shape).astype(np.float32)


def digest(arrays: Mapping[str, np.ndarray], separator: bytes) -> str:
    """SHA-256 over names, ``separator`` and bytes in sorted name order, without ``num_batches_tracked``.

    The separator is a zero byte in recipe vmz-golden-1 and nothing in recipe T.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        if not name.endswith("num_batches_tracked"):
            total.update(name.encode("ascii") + separator)
            total.update(_little_endian(arrays[name]))
    return total.hexdigest()


def digest_one(array: np.ndarray) -> str:
    """SHA-256 over the bytes of one array."""
    return hashlib.sha256(_little_endian(array)).hexdigest()


def _little_endian(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array, "<f4").data.cast("B")
