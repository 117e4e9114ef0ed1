"""Seeded weights and inputs, the same on every machine: recipes ``vmz-golden-1`` and ``T``.

The first is the product's own, for its demonstration. Both draw from numpy's legacy generator in float64 and
cast to float32. See `goldens/README.md`.
"""

from __future__ import annotations

import hashlib
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from converters.cli.demo_weights import digest as weights_digest
from converters.cli.demo_weights import vmz_inputs, vmz_weights

__all__ = ["digest", "digest_one", "target_input", "target_weights", "vmz_inputs", "vmz_weights"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]


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
    named = {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}
    return weights_digest(named, separator)


def digest_one(array: np.ndarray) -> str:
    """SHA-256 over the bytes of one array."""
    return hashlib.sha256(_little_endian(array)).hexdigest()


def _little_endian(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array, "<f4").data.cast("B")
