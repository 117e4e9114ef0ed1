"""From a VMZ file to logits: written, converted by the product, loaded, and compared with real Caffe2.

Every golden that `scripts/record/record_caffe2.py` recorded goes all the way: pickle, mapping, file, network.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert, inspect, load_model
from tests.helpers import canonical_names, paths, seeded_weights, selection, vmz_files
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.upstream_tables import vmz_tables

if TYPE_CHECKING:
    from pathlib import Path

GOLDENS = paths.GOLDENS / "caffe2"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.npz"))


def shows(name: str) -> set[str]:
    """The kinds of block of a golden's network, and the flag that was changed, sizes left out."""
    golden = np.load(GOLDENS / f"{name}.npz")
    flag = str(golden["variant"]).split(",")[-1].split("=")[0]
    return selection.kinds_by_name(str(golden["table"])) | {flag} - {"num_labels", "num_channels"}


def cost(name: str) -> float:
    return selection.parameters_of(str(np.load(GOLDENS / f"{name}.npz")["table"]))


def is_long(name: str) -> bool:
    """A deep network, of whose kind there is a smaller one, or more classes; the deepest CSN are what people have."""
    deep = ("-101", "-152", "-34", "_487")
    return any(word in name for word in deep) and name not in ("ir-csn-152", "ip-csn-152", "r2plus1d-34_flow")


@pytest.mark.parametrize("name", selection.longest(selection.one_of_each(NAMES, shows, cost), is_long))
def test_converted_file_computes_what_caffe2_computed(name: str, device: str, tmp_path: Path) -> None:
    golden = np.load(GOLDENS / f"{name}.npz")
    flags = json.loads(str(golden["flags"]))
    change = str(golden["variant"])
    table = vmz_tables()[str(golden["table"])]
    arrays = vmz_files.write(
        tmp_path / "x.pkl", str(golden["table"]), int(golden["weight_seed"]), change=change
    )
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    told = {"pool1": bool(flags["use_pool1"]), "stem_stride": flags["conv1_temporal_stride"]}
    known = inspect(tmp_path / "x.pkl").network.settings
    suffix = "safetensors" if sum(name.encode()) % 2 else "pth"
    out = tmp_path / f"out.{suffix}"
    convert(
        tmp_path / "x.pkl",
        out,
        source="vmz",
        settings={name: value for name, value in told.items() if name in known},
    )
    model = load_model(out).to(device)

    shapes = [tuple(golden[key].tolist()) for key in ("input_shape", "logmels_shape") if key in golden]
    inputs = [
        torch.from_numpy(array).to(device)
        for array in seeded_weights.vmz_inputs(int(golden["input_seed"]), *shapes)
    ]
    made = table.variant(change) if change else table
    points = {blob: canonical_names.vmz_end_point(blob, made) for blob in golden["blocks"].tolist()}
    with torch.inference_mode():
        assert_parity(golden, model.steps(*inputs), points, tolerance=TOLERANCE[device])


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("ir-csn-50_nopool1", "mmaction2"),
        pytest.param("ip-csn-101", "mmaction2", marks=selection.full),
        pytest.param("ip-csn-101", "mmaction", marks=selection.full),
        pytest.param("r2plus1d-34", "mmaction", marks=selection.long),
        pytest.param("r2plus1d-50", "mmaction", marks=selection.full),
        pytest.param("r3d-34", "mmaction", marks=selection.long),
        pytest.param("r3d-18", "torchvision", marks=selection.full),
        ("mc3-18", "torchvision"),
        ("ir-csn-26", "native"),
    ],
)
def test_every_layout_computes_the_same(name: str, to: str, tmp_path: Path) -> None:
    """Another layout's names, and for torchvision another eps: the function is Caffe2's all the same."""
    golden = np.load(GOLDENS / f"{name}.npz")
    vmz_files.write(
        tmp_path / "x.pkl", str(golden["table"]), int(golden["weight_seed"]), change=str(golden["variant"])
    )
    pool1 = bool(json.loads(str(golden["flags"]))["use_pool1"])
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz", to=to, settings={"pool1": pool1})
    (clip,) = seeded_weights.vmz_inputs(int(golden["input_seed"]), tuple(golden["input_shape"].tolist()))
    with torch.inference_mode():
        logits = load_model(tmp_path / "out.pth")(torch.from_numpy(clip)).numpy()
        bare = torch.load(tmp_path / "out.pth", weights_only=True)
        torch.save(bare, tmp_path / "bare.pth")  # without provenance: layout by names, pool1 by keyword
        again = load_model(tmp_path / "bare.pth", layout=to, settings={"pool1": pool1})
        again = again(torch.from_numpy(clip)).numpy()
    assert np.abs(logits - golden["logits"]).max() <= 1e-5 * np.abs(golden["logits"]).max()
    if to != "native":
        assert np.array_equal(logits, again)
