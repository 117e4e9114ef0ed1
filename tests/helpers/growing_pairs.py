"""Pairs of files for proposals, each with about n tensors: ``side`` is 0 or 1."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = Mapping[str, np.ndarray]

STEMS = ("layer{}.weight", "net/block{}/kernel")


def values(name: str, *shape: int) -> np.ndarray:
    return np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape).astype("f4")


def named(n: int, side: int, *shape: int) -> Arrays:
    return {name: values(name, *shape) for name in map(STEMS[side].format, range(n))}


def kernels_of_one_shape(n: int, side: int) -> Arrays:
    return named(n, side, 2, 3)


def equal_kernels(n: int, side: int) -> Arrays:
    return {name: np.ones((2, 3), "f4") for name in named(n, side, 1)}


def shuffled(n: int, side: int) -> Arrays:
    made = kernels_of_one_shape(n, side)
    return {name: made[name] for name in sorted(made, key=lambda name: zlib.crc32(name.encode()))}


def kernels_of_many_shapes(n: int, side: int) -> Arrays:
    return {STEMS[side].format(i): values(f"{side} {i}", 2, 3 + i) for i in range(n)}


def vectors(n: int, side: int) -> Arrays:
    return named(n, side, 3)


def words(n: int, side: int) -> Arrays:
    letters = (f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(n))
    return {f"{'ab'[side]}_{word}.weight": values(f"{side}{word}", 2, 3) for word in letters}


def blocks(n: int, side: int) -> Arrays:
    made: dict[str, np.ndarray] = {}
    for i in range(n // 5):
        module = ("layer{}", "net.block.{}.a")[side].format(i)
        made[f"{module}.conv.weight"] = values(f"{side} {i}", 4, 4, 1, 1)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            made[f"{module}.bn.{leaf}"] = values(f"{side} {i} {leaf}", 4)
    return made


def quotients(n: int, side: int) -> Arrays:
    """Means and variances; in the first file beside the number that they are to be divided by."""
    made: dict[str, np.ndarray] = {}
    for i in range(n // 3):
        divisor = np.float32(1 if side else 3 + i)
        made |= {f"m{i}/{leaf}": values(f"{i}{leaf}", 4) / divisor for leaf in ("mean", "variance")}
        made |= {} if side else {f"m{i}/number": np.array([1 / divisor], "f4")}
    return made


def stored_by_one(n: int, side: int) -> Arrays:
    """Shifts of zero that only the second file stores."""
    made = {f"a{i}.weight": values(f"{i}", 4) for i in range(n // 2)}
    return made | {f"a{i}.bias": np.zeros(4, "f4") for i in range(n // 2 if side else 0)}


def slots(n: int, side: int) -> Arrays:
    """Weights, each beside a slot of an optimizer of its own sort."""
    made = {f"w{i}": values(f"{side} {i}", 2, 3) for i in range(n // 2)}
    return made | {f"w{i}/Adam_{i}": values(f"a{i}", 2, 3) for i in range(n // 2)}


def one_module(n: int, side: int) -> Arrays:
    """Matrices of which some could hold gates."""
    return {f"m.{'ab'[side]}{i}": values(f"{side} {i}", 2 + i, 4 * (2 + i)) for i in range(n // 2)}


PAIRS: dict[str, Callable[[int, int], Arrays]] = {
    function.__name__: function
    for function in (
        kernels_of_one_shape,
        equal_kernels,
        shuffled,
        kernels_of_many_shapes,
        vectors,
        words,
        blocks,
        quotients,
        stored_by_one,
        slots,
        one_module,
    )
}
