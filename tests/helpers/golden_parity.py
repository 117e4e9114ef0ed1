"""Tolerances and comparisons that all tests against goldens of real frameworks share."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

TOLERANCE = {"cpu": 1e-5, "cuda": 1e-4}
"""Of the largest value: float32 sums in another order reach 1e-6, the smallest mistake tried 2e-3."""


def assert_parity(
    golden: Any,
    steps: Iterable[tuple[str, torch.Tensor]],
    points: Mapping[str, str],
    *,
    tolerance: float = TOLERANCE["cpu"],
    channels_last: bool = False,
) -> None:
    """Every block and all logits of a golden are what a network computes, in the order that it computes them.

    ``points`` names the end point of each of the golden's blocks. Blocks may have trailing axes of size 1 that ours
    lack; ``channels_last`` says that they are N,T,H,W,C.
    """
    sizes = [tuple(shape) for shape in json.loads(str(golden["block_shapes"]))]
    rows = {points[block]: row for row, block in enumerate(golden["blocks"].tolist())}
    missing = {name for name in ("logits", "frame_logits") if name in golden}
    assert len(rows) == len(sizes)
    for point, value in steps:
        if point in missing:
            missing.remove(point)
            wanted = golden[point]
            assert tuple(value.shape) == wanted.shape
            error = np.abs(value.cpu().numpy() - wanted).max() / np.abs(wanted).max()
            assert error <= tolerance, f"{point} depart by {error:.1e} and no block before them"
        elif point in rows:
            row = rows.pop(point)
            block = value.permute(0, 2, 3, 4, 1) if channels_last else value
            shape = sizes[row]
            assert tuple(block.shape) == shape[: block.dim()], f"{point} is {list(block.shape)} for {shape}"
            assert prod(shape[block.dim() :]) == 1
            flat = block.double().cpu().numpy().ravel()
            error = block_error(
                flat, golden["block_stats"][row], golden["block_index"][row], golden["block_values"][row]
            )
            assert error <= tolerance, f"the first to depart is {point}, by {error:.1e}"
    assert not rows, f"never computed: {list(rows)}"
    assert not missing


def block_error(flat: np.ndarray, stats: np.ndarray, index: np.ndarray, values: np.ndarray) -> float:
    """The largest relative difference in mean, deviation, minimum, maximum, L2 norm and 64 samples."""
    norm = stats[4]
    largest = np.abs(stats[2:4]).max()
    ours = np.array([flat.mean(), flat.std(), flat.min(), flat.max()])
    return max(
        np.abs(ours - stats[:4]).max() / largest,
        abs(np.sqrt(flat @ flat) - norm) / norm,
        np.abs(flat[index] - values).max() / largest,
    )
