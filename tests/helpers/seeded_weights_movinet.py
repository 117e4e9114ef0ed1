"""Seeded weights and clips of recipe ``movinet-golden-1``, the same on every machine. See `goldens/README.md`."""

from __future__ import annotations

import gzip
import json
from functools import cache
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from tests.helpers.paths import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    Arrays = dict[str, np.ndarray]
    Shape = tuple[int, ...]

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@cache
def movinet_tables() -> dict[str, dict[str, Shape]]:
    """The variables of ``a0-base`` to ``a5-stream``, 600 classes, by their names without prefix and suffix."""
    tables = json.loads(gzip.decompress((DATA / "movinet-tables.json.gz").read_bytes()))
    return {
        network: {name: tuple(shape) for name, shape in table.items()} for network, table in tables.items()
    }


def variables_of(network: str, classes: int = 600) -> dict[str, Shape]:
    """A network's variables under the names of ``tf.train.Checkpoint(model=...)``, for so many classes."""
    return {
        f"model/{name}{SUFFIX}": (*shape[:-1], classes) if "/_classifier/" in name else shape
        for name, shape in movinet_tables()[network].items()
    }


def movinet_weights(variables: Mapping[str, Shape], seed: int) -> Arrays:
    """Arrays for ``variables``, in sorted name order. Networks of such weights keep their activations in range."""
    random = np.random.RandomState(seed)
    drawn: Arrays = {}
    for name in sorted(variables):
        shape, leaf = variables[name], name.removesuffix(SUFFIX).rpartition("/")[2]
        if leaf in ("kernel", "depthwise_kernel"):
            inputs = prod(shape[:-2] if leaf == "depthwise_kernel" else shape[:-1])
            value = sqrt(1.5 / inputs) * random.standard_normal(shape)
        elif leaf in ("beta", "bias", "moving_mean"):
            value = 0.1 * random.standard_normal(shape)
        else:
            low, high = {"gamma": (0.5, 1.2), "moving_variance": (0.5, 1.5), "scale": (0.3, 1.0)}[leaf]
            value = random.uniform(low, high, shape)
        drawn[name] = np.asarray(value).astype(np.float32)
    return drawn


def movinet_clip(seed: int, shape: Shape) -> np.ndarray:
    """A clip (N, T, H, W, C) in [0, 1]: noise."""
    return np.random.RandomState(seed).random_sample(shape).astype(np.float32)
