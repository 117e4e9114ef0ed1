"""The goldens of GluonCV and MXNet, and the source side of them: MXNet's operators in onnxruntime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from converters.formats.onnx.runtime import run
from converters.source_graphs.registry import source_graph, source_net

from . import onnx_graphs, seeded_weights_gluoncv
from .golden_parity import TOLERANCE, block_error
from .paths import GOLDENS

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALLEST = "resnet18_v1b_72"
NAMES = sorted(path.stem for path in (GOLDENS / "gluoncv").glob("*.npz"))
EXACT = TOLERANCE["cpu"]


def golden_named(name: str) -> dict[str, np.ndarray]:
    """A golden's arrays."""
    with np.load(GOLDENS / "gluoncv" / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def assert_logits(golden: Mapping[str, np.ndarray], logits: np.ndarray) -> None:
    """The logits of each video are MXNet's."""
    assert np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max() <= EXACT


def assert_graph(
    name: str, golden: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], clip: np.ndarray
) -> None:
    """The source's graph computes every block that GluonCV left, and the logits. Of tensors with several names the
    last is enough."""
    if name.endswith("_two"):
        twice = seeded_weights_gluoncv.further_names(str(golden["model"]))
        last = {twice.get(own, own): own for own in arrays}
        arrays = {own: arrays[own] for own in last.values()}
    held = onnx_graphs.tensors(arrays)
    model = str(golden["model"]).removesuffix("_kinetics400") if "slowfast" in name else ""
    net = source_net(held, model=model)
    blocks = golden["blocks"].tolist()
    graph = source_graph(net, held, outputs=[*blocks, net.output])
    values = run(onnx_graphs.written(graph), {"data": clip}, [*blocks, net.output])
    for row, block in enumerate(blocks):
        flat = values[block].astype(np.float64).ravel()
        assert flat.size == np.prod(json.loads(str(golden["block_shapes"]))[row])
        error = block_error(flat, *(golden[f"block_{key}"][row] for key in ("stats", "index", "values")))
        assert error <= EXACT, f"the first to depart is {block}, by {error:.1e}"
    segments = int(golden["segments"])
    if segments > 1 and name.startswith("c3d"):
        return  # averaged before fc6, which is another function
    logits = values[net.output]
    assert_logits(golden, logits.reshape(-1, segments, logits.shape[1]).mean(axis=1))
