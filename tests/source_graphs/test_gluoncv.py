"""GluonCV's networks as MXNet's operators, against what real MXNet and GluonCV computed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from converters.errors import Refused
from converters.formats.onnx.runtime import run
from converters.source_graphs.registry import NoSourceNet, source_graph, source_net
from converters.tensor import Held, Tensor
from tests.helpers import onnx_graphs, seeded_weights_gluoncv
from tests.helpers.golden_parity import TOLERANCE, block_error
from tests.helpers.paths import GOLDENS

EXACT = TOLERANCE["cpu"]
FAST = "resnet18_v1b_72"
GOLDEN_NAMES = sorted(path.stem for path in (GOLDENS / "gluoncv").glob("*.npz"))


def averaged(logits: np.ndarray, segments: int) -> np.ndarray:
    """The logits of each video of so many segments."""
    return logits.reshape(-1, segments, logits.shape[1]).mean(axis=1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == FAST else pytest.mark.full) for name in GOLDEN_NAMES]
)
def test_golden(name: str) -> None:
    """Every block that GluonCV left, and the logits. Of tensors with several names the last is enough."""
    with np.load(GOLDENS / "gluoncv" / f"{name}.npz") as archive:
        golden = {key: archive[key] for key in archive.files}
    arrays, clip = seeded_weights_gluoncv.of_golden(golden)
    if name.endswith("_two"):
        twice = seeded_weights_gluoncv.further_names(str(golden["model"]))
        last = {twice.get(own, own): own for own in arrays}
        arrays = {own: arrays[own] for own in last.values()}
    held = onnx_graphs.tensors(arrays)
    model = str(golden["model"]).removesuffix("_kinetics400") if "slowfast" in name else ""
    net = source_net(held, model=model)
    blocks = golden["blocks"].tolist()
    values = run(
        onnx_graphs.written(source_graph(net, held, outputs=[*blocks, net.output])),
        {"data": clip},
        [*blocks, net.output],
    )
    for row, block in enumerate(blocks):
        flat = values[block].astype(np.float64).ravel()
        assert flat.size == np.prod(json.loads(str(golden["block_shapes"]))[row])
        rows = [golden[f"block_{key}"][row] for key in ("stats", "index", "values")]
        error = block_error(flat, *rows)
        assert error <= EXACT, f"the first to depart is {block}, by {error:.1e}"
    segments = int(golden["segments"])
    if segments > 1 and name.startswith("c3d"):
        return  # averaged before fc6, which is another function
    logits = averaged(values[net.output], segments)
    assert np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max() <= EXACT


def shells(model: str) -> dict[str, Tensor]:
    """A file's tensors without their values."""
    sizes = seeded_weights_gluoncv.shapes(model, classes=3)
    return {name: Tensor(name, "float32", shape, Held(b"")) for name, shape in sizes.items()}


@pytest.mark.parametrize("model", seeded_weights_gluoncv.models())
def test_every_network_is_recognised_and_read_whole(model: str) -> None:
    """One name of each tensor is read; one that is missing is told."""
    held = shells(model)
    twice = seeded_weights_gluoncv.further_names(model)
    net = source_net(held)
    assert net.framework == "MXNet"
    read = source_graph(net, held).weights.keys()
    assert {twice.get(name, name) for name in read} == held.keys() - twice.keys()
    assert len(read) == len(held) - len(twice)
    missing = [name for name in read if name.endswith((".beta", ".bias"))][-1]
    less = {name: one for name, one in held.items() if twice.get(name, name) != twice.get(missing, missing)}
    with pytest.raises(Refused, match=r"reads .*, which nothing wrote"):
        source_graph(source_net(less), less)


def test_the_same_names_of_a_pytorch_project_are_not_gluoncvs() -> None:
    from converters.tensor import Held, Tensor

    held = {
        name: Tensor(name, "float32", one.shape, Held(b"")) for name, one in shells("c3d_kinetics400").items()
    }
    assert source_net(held, layout="gluoncv").framework == "MXNet"
    with pytest.raises(NoSourceNet):
        source_net(held, layout="c3d-pytorch")
