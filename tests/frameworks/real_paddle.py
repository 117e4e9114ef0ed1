"""With real PaddlePaddle 3.3.1: it loads what is written here, and what it writes is read and written again here.

Not part of the usual run: ``make test-frameworks`` runs it in an environment of its own.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
import pytest

from converters import convert
from converters.errors import BadInput
from converters.formats.io.output_stream import Output
from converters.formats.open import open_checkpoint
from converters.formats.paddle.writer import write_pdparams
from tests.helpers import paddle_files, paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from converters.tensor import Tensor

GOLDENS = paths.GOLDENS / "paddle"


def fixtures() -> Any:
    """The script that wrote the fixtures: its network."""
    folder = str(paths.REPOSITORY / "scripts" / "fixtures")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("make_paddle_fixtures")


def written(path: Path, tensors: Sequence[Tensor], form: Mapping[str, Any], **options: Any) -> None:
    with open(path, "wb") as file:
        out = Output(file.fileno(), str(path))
        write_pdparams(out, tensors, form, **options)
        out.flush()


@pytest.fixture
def network() -> Any:
    paddle.seed(11)
    return fixtures().Network()


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_what_paddle_saves_is_read_and_written_again(
    tmp_path: Path, network: Any, protocol: int, dtype: str
) -> None:
    state = {name: value.astype(dtype) for name, value in network.state_dict().items()}
    paddle.save(state, str(tmp_path / "a.pdparams"), protocol=protocol)
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        assert list(found.tensors) == list(state)
        for name, tensor in found.tensors.items():
            assert (tensor.dtype, list(tensor.shape)) == (dtype, list(state[name].shape))
            assert tensor.tobytes() == state[name].numpy().tobytes()
        written(tmp_path / "b.pdparams", list(found.tensors.values()), found.details["paddle"])
    assert (tmp_path / "b.pdparams").read_bytes() == (tmp_path / "a.pdparams").read_bytes()


@pytest.mark.parametrize("form", [{}, {"protocol": 2}, {"protocol": 3, "numpy2": True}])
def test_paddle_loads_what_is_written(tmp_path: Path, network: Any, form: dict[str, Any]) -> None:
    """Also big tensors in pieces, here of 64 bytes."""
    paddle.save(network.state_dict(), str(tmp_path / "a.pdparams"))
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        written(tmp_path / "b.pdparams", list(found.tensors.values()), form, piece=64)
    paddle.seed(12)
    other = fixtures().Network()
    missing = other.set_state_dict(paddle.load(str(tmp_path / "b.pdparams")))
    assert not any(missing)
    for name, value in network.state_dict().items():
        assert np.array_equal(value.numpy(), other.state_dict()[name].numpy()), name


def test_every_other_form_that_paddle_saves(tmp_path: Path) -> None:
    """In an entry, of a static program, and what is called by its name: the fixtures, written again."""
    fixtures().main(str(tmp_path))
    expected = np.load(tmp_path / "expected.npz")
    for name in ("nested", "dense"):
        with open_checkpoint(str(tmp_path / f"{name}.pdparams")) as found:
            assert all(tensor.tobytes() == expected[key].tobytes() for key, tensor in found.tensors.items())
    for name in ("state.pdopt", "binary.pdparams", "inference.pdiparams", "inference.json"):
        with pytest.raises(BadInput):
            open_checkpoint(str(tmp_path / name))


def test_paddle_loads_the_way_back(tmp_path: Path) -> None:
    """A file of PaddleVideo to PyTorch's and back."""
    golden = np.load(GOLDENS / "tsm-r50-8seg_8x64x64.npz")
    arrays = paddle_files.write_golden(tmp_path / "a.pdparams", golden)
    told = {"source": "paddlevideo", "variant": "tsm-r50-8seg"}
    convert(tmp_path / "a.pdparams", tmp_path / "b.safetensors", to="mmaction2", **told)
    convert(tmp_path / "b.safetensors", tmp_path / "c.pdparams", source="mmaction2", to="paddlevideo")
    loaded = paddle.load(str(tmp_path / "c.pdparams"))
    assert list(loaded) == list(arrays)
    assert all(np.array_equal(loaded[name].numpy(), array) for name, array in arrays.items())
