"""With real MXNet 1.9.1: it loads what is written here, and what it writes is read and written again here.

Not part of the usual run: ``make test-frameworks`` runs it in an environment of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from converters import convert
from converters.errors import BadInput
from converters.formats.mxnet.writer import Form, original_form, write_params
from converters.formats.open import open_checkpoint
from tests.helpers import seeded_weights_gluoncv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from converters.tensor import Tensor

DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")


class Block(nn.HybridBlock):
    """Layers that are attributes of a block and places in its sequence, as in GluonCV's I3D."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = nn.HybridSequential()
        self.conv = nn.Conv3D(4, 3, in_channels=3, use_bias=False)
        self.norm = nn.BatchNorm(in_channels=4)
        self.sequence.add(self.conv)
        self.sequence.add(self.norm)
        self.fc = nn.Dense(5, in_units=4)


@pytest.fixture
def network() -> Any:
    mx.random.seed(11)
    block = Block()
    block.initialize(mx.init.Normal(1))
    return block


def written(path: Path, tensors: Sequence[Tensor], form: Form) -> None:
    with open(path, "wb") as file:
        write_params(file, tensors, form)


def written_again(path: Path, copy: Path) -> None:
    """What is read of a file, in the form that it has."""
    with open_checkpoint(str(path)) as found:
        written(copy, list(found.tensors.values()), original_form(found.details))


@pytest.mark.parametrize("deduplicate", [False, True])
def test_what_gluon_saves_is_read_and_written_again(tmp_path: Path, network: Any, deduplicate: bool) -> None:
    path, copy = tmp_path / "a.params", tmp_path / "b.params"
    network.save_parameters(str(path), deduplicate=deduplicate)
    stored = {name: value.data().asnumpy() for name, value in network._collect_params_with_prefix().items()}
    with open_checkpoint(str(path)) as found:
        assert found.tensors.keys() <= stored.keys()
        assert len(found.tensors) == (7 if deduplicate else 12)
        for name, tensor in found.tensors.items():
            assert (tensor.shape, tensor.tobytes()) == (stored[name].shape, stored[name].tobytes())
    written_again(path, copy)
    assert copy.read_bytes() == path.read_bytes()
    other = Block()
    other.load_parameters(str(copy))
    assert all(
        (value.data().asnumpy() == stored[name]).all()
        for name, value in other._collect_params_with_prefix().items()
    )


def test_every_dtype(tmp_path: Path) -> None:
    values = {
        dtype: mx.nd.array(np.arange(6).reshape(2, 3), dtype=bool if dtype == "bool" else dtype)
        for dtype in DTYPES
    }
    mx.nd.save(str(tmp_path / "a.params"), values)
    with open_checkpoint(str(tmp_path / "a.params")) as found:
        assert {name: tensor.dtype for name, tensor in found.tensors.items()} == {
            name: name for name in DTYPES
        }
        assert all(found.tensors[name].tobytes() == values[name].asnumpy().tobytes() for name in DTYPES)
    written_again(tmp_path / "a.params", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == (tmp_path / "a.params").read_bytes()


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_version_is_loaded(tmp_path: Path, network: Any, version: int) -> None:
    network.save_parameters(str(tmp_path / "a.params"))
    with open_checkpoint(str(tmp_path / "a.params")) as found:
        written(tmp_path / "b.params", list(found.tensors.values()), Form(version=version, device=(2, 1)))
    with mx.util.np_shape(version == 3):
        loaded = mx.nd.load(str(tmp_path / "b.params"))
    stored = network._collect_params_with_prefix()
    assert all((loaded[name].asnumpy() == value.data().asnumpy()).all() for name, value in stored.items())


def test_lists_prefixes_and_sparse_arrays(tmp_path: Path) -> None:
    values = [mx.nd.array([1, 2.5]), mx.nd.array([[3.0]])]
    mx.nd.save(str(tmp_path / "list.params"), values)
    with open_checkpoint(str(tmp_path / "list.params")) as found:
        assert [one.tobytes() for one in found.tensors.values()] == [
            one.asnumpy().tobytes() for one in values
        ]
    module = {"arg:fc_weight": values[0], "aux:bn_moving_mean": values[1]}
    mx.nd.save(str(tmp_path / "module.params"), module)
    written_again(tmp_path / "module.params", tmp_path / "copy.params")
    assert mx.nd.load(str(tmp_path / "copy.params")).keys() == module.keys()
    for kind in ("row_sparse", "csr"):
        mx.nd.save(str(tmp_path / "sparse.params"), {"w": mx.nd.array(np.eye(3)).tostype(kind)})
        with pytest.raises(BadInput, match=rf"has a sparse array \({kind}\)"):
            open_checkpoint(str(tmp_path / "sparse.params"))


def test_a_network_of_gluoncv_there_and_back(tmp_path: Path) -> None:
    model = "resnet18_v1b_kinetics400"
    weights = seeded_weights_gluoncv.gluoncv_weights(model, 101, 5)
    path = tmp_path / "a.params"
    mx.nd.save(str(path), {name: mx.nd.array(value) for name, value in weights.items()})
    convert(path, tmp_path / "a.pth", source="gluoncv", check=True)
    convert(tmp_path / "a.pth", tmp_path / "b.params", to="gluoncv")
    assert (tmp_path / "b.params").read_bytes() == path.read_bytes()
    loaded = mx.nd.load(str(tmp_path / "b.params"))
    assert all((loaded[name].asnumpy() == value).all() for name, value in weights.items())


@pytest.mark.parametrize(
    ("model", "layout", "variant"),
    [
        ("i3d_resnet50_v1_kinetics400", "mmaction2", None),
        ("slowfast_8x8_resnet50_kinetics400", "native", "slowfast_8x8_resnet50"),
    ],
)
def test_a_new_file_is_what_save_parameters_writes(
    tmp_path: Path, model: str, layout: str, variant: str | None
) -> None:
    """The names' order is that of the real network's `save_parameters`, as the tables have it."""
    weights = seeded_weights_gluoncv.gluoncv_weights(model, 5, 5)
    mx.nd.save(str(tmp_path / "a.params"), {name: mx.nd.array(value) for name, value in weights.items()})
    convert(tmp_path / "a.params", tmp_path / "a.safetensors", to=layout)
    data = (tmp_path / "a.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    del header["__metadata__"]  # the record, and with it the original order
    bare = json.dumps(header).encode()
    (tmp_path / "b.safetensors").write_bytes(len(bare).to_bytes(8, "little") + bare + data[end:])
    convert(tmp_path / "b.safetensors", tmp_path / "b.params", source=layout, to="gluoncv", variant=variant)
    assert (tmp_path / "b.params").read_bytes() == (tmp_path / "a.params").read_bytes()
