"""PaddleVideo's files with seeded weights, as real Paddle writes them; see ``tests/goldens/README-paddle.md``."""

from __future__ import annotations

import json
import pickle
import re
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Arrays = dict[str, np.ndarray]

NAME_TABLE = "StructuredToParameterName@@"


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Arrays:
    """Recipe paddle-golden-1: arrays for names and shapes of a state dict."""
    random = np.random.RandomState(seed)
    arrays: Arrays = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("._variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("._mean"):
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            inputs = shape[0] if len(shape) == 2 else prod(shape[1:])
            value = random.standard_normal(shape) * sqrt(1 / inputs)
        elif name.endswith("weight"):
            value = random.uniform(0.5, 1.2, shape)
        else:
            value = 0.1 * random.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def golden_names(golden: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """The tensors of a golden's network in order: shape, and the name in the program."""
    return {name: (tuple(shape), known) for name, (shape, known) in json.loads(str(golden["names"])).items()}


def golden_arrays(golden: Any) -> Arrays:
    """The weights of a golden, in the order of a file."""
    names = golden_names(golden)
    arrays = weights({name: shape for name, (shape, _) in names.items()}, int(golden["weight_seed"]))
    return {name: arrays[name] for name in names}


def golden_clip(golden: Any) -> np.ndarray:
    """The clip of a golden."""
    shape = golden["input_shape"].tolist()
    return np.random.RandomState(int(golden["clip_seed"])).standard_normal(shape).astype(np.float32)


def write(path: Path, arrays: Arrays, table: Mapping[str, str], protocol: int = 4) -> None:
    """What ``paddle.save`` writes of a state dict under the numpy that is installed."""
    path.write_bytes(
        pickle.dumps({**arrays, NAME_TABLE: dict(zip(arrays, table.values(), strict=True))}, protocol)
    )


def write_golden(path: Path, golden: Any) -> Arrays:
    """Write a golden's file; returns its arrays."""
    arrays = golden_arrays(golden)
    write(path, arrays, {name: known for name, (_, known) in golden_names(golden).items()})
    return arrays


def end_point(block: str) -> str:
    """The reference network's name of the output of one of PaddleVideo's modules."""
    stems = {"conv": "stem", "conv1_1": "stem1", "conv1_2": "stem2", "conv1_3": "stem"}
    if block in stems or block.lower() == "pool2d_max":
        return stems.get(block, "pool1")
    if match := re.fullmatch(r"bb_(\d)_(\d+)", block):
        return f"layer{int(match[1]) + 1}.{match[2]}"
    if match := re.fullmatch(r"s(\d)\.pathway(\d)_(stem|res(\d+))", block):
        path = ("slow", "fast")[int(match[2])]
        return f"{path}.pool1" if match[3] == "stem" else f"{path}.layer{int(match[1]) - 1}.{match[4]}"
    match = re.fullmatch(r"res(\d)([a-z])(\d*)", block)
    assert match, block
    number = int(match[3]) if match[3] else ord(match[2]) - ord("a")
    return f"layer{int(match[1]) - 1}.{number}"
