"""scripts/compare_outputs.py finds a changed byte, and leaves the provenance record aside."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from converters import convert
from tests.helpers import vmz_files
from tests.helpers.paths import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


def script(*words: object) -> subprocess.CompletedProcess[str]:
    path = SCRIPTS / "compare_outputs.py"
    return subprocess.run(
        [sys.executable, path, *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("comparison.make")


@pytest.mark.full
def test_two_runs_are_equal_until_a_byte_changes(comparison, tmp_path):
    inputs = comparison.Inputs(tmp_path / "inputs")
    comparison.means(inputs)
    comparison.write_cases(inputs.folder, inputs.cases)
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    for rows in (before, after):
        done = script("run", inputs.folder, rows, "--only", "mean/own.npy -> out.npz")
        assert done.returncode == 0, done.stderr
    done = script("diff", before, after)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "no output and no exit code differs",
            "2 cases in both, 2 with an output; all bytes are the same in 2",
            "0 errors have another text",
        ],
    )
    cube = inputs.path("mean/own.npy")
    data = bytearray(cube.read_bytes())
    data[-2] ^= 1
    cube.write_bytes(data)
    script("run", inputs.folder, after, "--only", "mean/own.npy -> out.npz")
    done = script("diff", before, after)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "another output: mean/own.npy -> out.npz",
        "another output: mean/own.npy -> out.npz -> back",
    ]


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors", "out.onnx"])
def test_the_record_is_left_aside(comparison, tmp_path, name):
    """Two sources of one network's values, the second in another file: the outputs differ in their records alone."""
    from comparison.digests import digest_file

    vmz_files.write(tmp_path / "a.pkl", "ir-csn-26", seed=8)
    (tmp_path / "b.pkl").write_bytes((tmp_path / "a.pkl").read_bytes())
    target = "vmz" if name == "out.onnx" else "mmaction"
    digests = []
    for source in ("a", "b"):
        (tmp_path / source).mkdir()
        convert(tmp_path / f"{source}.pkl", tmp_path / source / name, source="vmz", to=target)
        digests.append(digest_file(tmp_path / source / name))
    one, other = digests
    assert one.masked == other.masked
    assert one.raw != other.raw
    assert one.record != other.record
