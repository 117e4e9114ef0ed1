"""The weights and inputs of recipe gluoncv-golden-1 (``tests/goldens/gluoncv/README.md``), from the tables of names
that the recorder wrote."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from functools import cache
from typing import Any

import numpy as np

from .paths import DATA

_ADDED = re.compile(r"(bn3|bottleneck\.7|nonlocal_block\.bn|bottleneck\.8\.bn)\.gamma$")


@cache
def _tables() -> dict[str, Any]:
    with gzip.open(DATA / "gluoncv-tables.json.gz", "rt") as file:
        tables: dict[str, Any] = json.load(file)
        return tables


def models() -> list[str]:
    """GluonCV's names of the networks that there are tables of."""
    return list(_tables())


def shapes(model: str, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each stored name, in the order of `save_parameters`."""
    names = _tables()[model]["names"]
    return {name: tuple(classes if size == 0 else size for size in shape) for name, shape in names.items()}


def further_names(model: str) -> dict[str, str]:
    """The further names of tensors, each with the one that its tensor is stored under first."""
    twice: dict[str, str] = _tables()[model]["twice"]
    return twice


def gluoncv_weights(model: str, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Float32 arrays of all names, in the order of `save_parameters`."""
    random, twice, sizes = np.random.RandomState(seed), further_names(model), shapes(model, classes)
    drawn: dict[str, np.ndarray] = {}
    for name in sorted(sizes.keys() - twice.keys()):
        shape = sizes[name]
        leaf = name.rpartition(".")[2]
        if leaf == "running_var":
            value = random.uniform(0.5, 1.5, shape)
        elif leaf == "gamma":
            value = random.uniform(0.8, 1.2, shape) * (0.3 if _ADDED.search(name) else 1)
        elif len(shape) == 1:
            value = 0.1 * random.standard_normal(shape)
        else:
            value = np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape)
            if {"theta", "phi"} & set(name.split(".")):
                value *= 0.25
        drawn[name] = value.astype(np.float32)
    return {name: drawn[twice.get(name, name)] for name in sizes}


def sha256(model: str, weights: dict[str, np.ndarray]) -> str:
    """The hash of the tensors under their first names, as the goldens have it."""
    digest = hashlib.sha256()
    for name in sorted(weights.keys() - further_names(model).keys()):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(weights[name], "<f4"))
    return digest.hexdigest()


def of_golden(golden: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The weights by all their names, and the input, of a golden, whose hashes are compared."""
    model = str(golden["model"])
    weights = gluoncv_weights(model, int(golden["classes"]), int(golden["weight_seed"]))
    random = np.random.RandomState(int(golden["input_seed"]))
    clip = random.standard_normal(tuple(golden["input_shape"])).astype(np.float32)
    assert sha256(model, weights) == str(golden["weights_sha256"])
    assert hashlib.sha256(np.ascontiguousarray(clip, "<f4").tobytes()).hexdigest() == str(
        golden["input_sha256"]
    )
    return weights, clip
