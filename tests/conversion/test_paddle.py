"""From PaddleVideo's file to logits: converted, loaded, and compared with what real PaddleVideo computed; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert, load_model
from tests.helpers import paddle_files, paths, seeded_weights
from tests.helpers.golden_parity import TOLERANCE, assert_parity

if TYPE_CHECKING:
    from pathlib import Path

GOLDENS = paths.GOLDENS / "paddle"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.npz"))


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_a_converted_file_computes_what_paddlevideo_computed(name: str, device: str, tmp_path: Path) -> None:
    """And it becomes the file that Paddle wrote again, byte for byte."""
    golden = np.load(GOLDENS / f"{name}.npz")
    variant = name.rsplit("_", 1)[0]
    arrays = paddle_files.write_golden(tmp_path / "x.pdparams", golden)
    clip = paddle_files.golden_clip(golden)
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]
    told = {"variant": variant} if variant.startswith("tsm") else {}
    convert(tmp_path / "x.pdparams", tmp_path / "out.pth", source="paddlevideo", **told)
    model = load_model(tmp_path / "out.pth").to(device)
    points = {block: paddle_files.end_point(block) for block in golden["blocks"].tolist()}
    with torch.inference_mode():
        steps = model.steps(torch.from_numpy(clip).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device])
    convert(tmp_path / "out.pth", tmp_path / "back.pdparams", source="native", to="paddlevideo")
    assert (tmp_path / "back.pdparams").read_bytes() == (tmp_path / "x.pdparams").read_bytes()
