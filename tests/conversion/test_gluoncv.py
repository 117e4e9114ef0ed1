"""GluonCV's networks from MXNet's parameter files to logits, and back byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from converters import convert, load_model
from converters.source_graphs.registry import source_net
from tests.helpers import gluoncv_goldens, onnx_graphs, seeded_weights_gluoncv
from tests.helpers.gluoncv_goldens import EXACT, NAMES, SMALLEST, assert_graph, assert_logits
from tests.helpers.golden_parity import block_error
from tests.helpers.mxnet_files import params
from tests.helpers.selection import full, longest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


def clip_for(net: Any, name: str, clip: np.ndarray, segments: int) -> torch.Tensor:
    """A golden's input as our networks take it, [N, C, T, H, W]: frames of one video, and C3D's segments one after the
    other."""
    given = torch.from_numpy(clip)
    if net.axes == "frames":
        return given.unflatten(0, (-1, segments)).transpose(1, 2)
    return torch.cat(list(given.split(1)), dim=2) if name.startswith("c3d") and segments > 1 else given


def is_long(name: str) -> bool:
    """A deep or large network, of whose kind there is a smaller one."""
    large = ("vgg", "resnet101", "resnet152", "resnet34_8x56", "c3d_16x112_two", "slowfast_16x8")
    return any(word in name for word in large)


@pytest.mark.parametrize(
    "name",
    longest([pytest.param(name, marks=() if name == SMALLEST else full) for name in NAMES], is_long),
)
def test_converted_file_computes_what_mxnet_computed(name: str, tmp_path: Path) -> None:
    """The parameter file itself, as MXNet's operators and as GluonCV's own network, and what it is converted to; it
    comes back byte for byte."""
    golden = gluoncv_goldens.golden_named(name)
    arrays, clip = seeded_weights_gluoncv.of_golden(golden)
    assert_graph(name, golden, arrays, clip)
    source, segments = tmp_path / "x.params", int(golden["segments"])
    source.write_bytes(params(arrays))
    net = source_net(onnx_graphs.tensors(arrays), layout="gluoncv")
    points = {value: label for label, value in net.blocks.items()}
    rows = {points[block]: row for row, block in enumerate(golden["blocks"].tolist()) if block in points}
    model = load_model(source).eval()
    given = clip_for(net, name, clip, segments)
    with torch.inference_mode():
        for point, value in model.steps(given):
            if point in rows and value.numel() > 1:
                row = rows.pop(point)
                wanted = [golden[f"block_{key}"][row] for key in ("stats", "index", "values")]
                error = block_error(value.double().numpy().ravel(), *wanted)
                assert error <= EXACT, f"the first to depart is {point}, by {error:.1e}"
            logits = value.numpy()
    assert not rows
    if net.axes != "frames":
        logits = logits.reshape(len(golden["logits"]), -1, logits.shape[1]).mean(axis=1)
    assert_logits(golden, logits)
    convert(source, tmp_path / "out.safetensors", source="gluoncv", check=True)
    convert(tmp_path / "out.safetensors", tmp_path / "back.params", to="gluoncv")
    assert (tmp_path / "back.params").read_bytes() == source.read_bytes()
    for path in tmp_path.iterdir():  # up to 500 MB each
        path.unlink()
