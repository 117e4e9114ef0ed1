"""DeepMind's own weights in our network, against real TensorFlow and Sonnet.

They are not in the repository. `make real` fetches them and sets ``GENUINE_I3D``, the path of a file that they were
converted to; without it only the recipe of the clips is compared.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from converters import load_model
from tests.helpers import seeded_weights, seeded_weights_i3d
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS

NAMES = sorted(path.stem for path in (GOLDENS / "i3d-genuine").glob("*.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_genuine_weights(name: str) -> None:
    path = os.environ.get("GENUINE_I3D")
    if not path:
        pytest.skip("no genuine weights here: `make real` fetches them")
    with np.load(GOLDENS / "i3d-genuine" / f"{name}.npz") as file:
        golden = dict(file)
    clip = seeded_weights_i3d.i3d_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]
    model = load_model(path)
    points = {name: name for name in golden["blocks"].tolist()}
    with torch.inference_mode():
        steps = model.steps(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3)))
        assert_parity(golden, steps, points, tolerance=TOLERANCE["cpu"], channels_last=True)
