"""How near is near enough, and what is compared: shared by all tests against goldens of real frameworks."""

from __future__ import annotations

import numpy as np

TOLERANCE = {"cpu": 1e-5, "cuda": 1e-4}
"""Of the largest value: float32 sums in another order reach 1e-6, the smallest mistake tried 2e-3."""


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
