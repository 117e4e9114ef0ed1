"""The recorders, as far as they run without the frameworks: their seeded weights are those of the goldens."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.paths import GOLDENS, REPOSITORY

FOLDER = REPOSITORY / "scripts" / "record"
TABLES_ALONE = {"pytorchvideo-x3d_l"}
"""Networks of which only the table was recorded."""


@pytest.fixture
def recorder(monkeypatch):
    """A recorder as a module, and what all of them share."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.mark.parametrize("name", ["record_caffe2", "record_nonlocal", "record_targets"])
def test_the_list_names_the_goldens(name: str) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--list"], capture_output=True, text=True, check=True
    )
    stems = {path.stem for path in GOLDENS.glob("*/*.npz")} | TABLES_ALONE
    assert {line.split()[0] for line in done.stdout.splitlines()} <= stems


def test_caffe2s_weights_are_the_goldens(recorder) -> None:
    recording, script = recorder("recording"), recorder("record_caffe2")
    (spec,) = [spec for spec in script.specs() if spec.name == "ir-csn-26"]
    table = script.apply_variant(script.read_tables(script.TABLES)[spec.table], spec.variant)
    arrays = dict(script.weights(table["blobs"], spec.weight_seed))
    golden = recording.load_npz(str(GOLDENS / "caffe2" / f"{spec.name}.npz"))
    assert recording.sha256_of_all(arrays) == str(golden["weights_sha256"])
    assert recording.sha256(script.inputs(spec, table["ops"])["data"]) == str(golden["input_sha256"])


def test_a_written_golden_is_read_back_and_has_the_same_bytes_each_time(recorder, tmp_path) -> None:
    recording = recorder("recording")
    arrays = {"meta": json.dumps({"recipe": "T"}), "f32/logits": np.arange(6, dtype=np.float32).reshape(2, 3)}
    for name in ("a", "b"):
        recording.write_npz(str(tmp_path / f"{name}.npz"), arrays)
    found = recording.load_npz(str(tmp_path / "a.npz"))
    assert str(found["meta"]) == arrays["meta"]
    assert np.array_equal(found["f32/logits"], arrays["f32/logits"])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
