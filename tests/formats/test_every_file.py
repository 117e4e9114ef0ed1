"""Every file at hand is read, or called by its name: nothing is passed over in silence, and nothing else is raised."""

from __future__ import annotations

import gzip
from pathlib import Path

import onnx
import pytest

from converters.errors import BadInput, ConverterError
from converters.formats.open import open_checkpoint
from converters.inspection.inspect import inspect
from converters.reports.terminal.inspection import inspection_text
from tests.helpers.paths import FIXTURES

ONNX = sorted(Path(onnx.__file__).parent.glob("backend/test/data/**/*.onnx"))
OURS = sorted(path for path in FIXTURES.rglob("*") if not path.name.endswith((".md", ".json", ".zip")))
SAID = (
    "holds no weights",
    "describes a network only",
    "holds a mean only",
    "never initialised",
    "name a file",
)
SAID += (
    "holds 4 checkpoints",
    "name the file inside",
    "holds the state of an optimizer",
    "one after the other",
    "several checkpoints",
    "inference model of PaddlePaddle",
)
"""What is said of files without weights, and of folders with several."""


def shown(path: Path) -> str:
    """What `inspect` prints; every tensor and everything else in the file is in it."""
    inspection = inspect(path)
    text = inspection_text(inspection, tensors=True)
    with open_checkpoint(str(path)) as checkpoint:
        assert len(inspection.tensors) == len(checkpoint.tensors)
        assert checkpoint.tensors or checkpoint.other_values
        assert {name for name, *_ in inspection.tensors} == {*checkpoint.tensors}
        for name, tensor in checkpoint.tensors.items():
            assert len(tensor.tobytes()) == tensor.nbytes, name
    return text


@pytest.mark.full
def test_inspect_over_every_model_that_onnx_ships() -> None:
    read = 0
    for path in ONNX:
        graph = onnx.load(path).graph
        if not graph.initializer and not any(node.op_type.startswith("Constant") for node in graph.node):
            with pytest.raises(BadInput, match="holds no weights"):
                inspect(path)
            continue
        text = shown(path)
        for tensor in graph.initializer:
            assert tensor.name in text or "{" in text
        read += 1
    assert read > 50


@pytest.mark.full
def test_inspect_over_every_fixture(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    read = 0
    for path in [*OURS, *(folder for folder in FIXTURES.rglob("*") if folder.is_dir())]:
        if path.suffix == ".gz":
            unpacked = tmp_path / path.stem
            unpacked.write_bytes(gzip.decompress(path.read_bytes()))
            path = unpacked
        try:
            assert shown(path)
            read += 1
        except ConverterError as error:
            said[path.name] = str(error)
    assert read > 60
    for name, text in said.items():
        assert text.isprintable(), name
        assert any(words in text for words in SAID), (name, text)
