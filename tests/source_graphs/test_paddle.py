"""PaddleVideo's networks as Paddle's operators, against what real PaddleVideo computed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import onnx_graphs, paddle_files
from tests.helpers.golden_parity import TOLERANCE, block_error
from tests.helpers.paths import GOLDENS
from tests.helpers.selection import longest

FOLDER = GOLDENS / "paddle"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


@pytest.mark.full
@pytest.mark.parametrize("name", longest(NAMES, lambda name: "-r101" in name))
def test_a_golden(name: str) -> None:
    """Every block and the logits."""
    golden = np.load(FOLDER / f"{name}.npz")
    clip, variant = paddle_files.golden_clip(golden), name.rsplit("_", 1)[0]
    frames = clip if variant.startswith("slowfast") else clip[0].transpose(1, 0, 2, 3).copy()
    net, values = onnx_graphs.computed(paddle_files.golden_arrays(golden), {"data": frames}, model=variant)
    for row, block in enumerate(golden["blocks"].tolist()):
        value = values[net.blocks[paddle_files.end_point(block)]]
        assert list(value.shape) == json.loads(str(golden["block_shapes"]))[row]
        parts = (golden[key][row] for key in ("block_stats", "block_index", "block_values"))
        error = block_error(value.astype(np.float64).ravel(), *parts)
        assert error <= TOLERANCE["cpu"], f"the first to depart is {block}, by {error:.1e}"
    logits = values[net.blocks["logits"]].reshape(
        -1 if net.axes == "frames" else 1, golden["logits"].shape[1]
    )
    error = np.abs(logits.mean(axis=0) - golden["logits"][0]).max() / np.abs(golden["logits"]).max()
    assert error <= TOLERANCE["cpu"]
