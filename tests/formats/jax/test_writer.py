"""What is written is what the real libraries write, or read back as they read it."""

from __future__ import annotations

import pickle
import pickletools
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from converters import Refused, convert
from converters.errors import BadInput
from converters.formats.io.output_stream import Output
from converters.formats.jax.msgpack_writer import write_msgpack
from converters.formats.jax.names import nested
from converters.formats.jax.pickle_writer import write as write_pickle
from converters.formats.open import open_checkpoint
from converters.suggestion.suggest import suggest
from converters.tensor import ITEMSIZE, Held, Tensor
from tests.helpers.paths import FIXTURES

FOLDER = FIXTURES / "jax"
KEYS = ["Branch_*/Conv"]


@contextmanager
def output(path):
    with open(path, "wb") as file:
        out = Output(file.fileno(), str(path))
        yield out
        out.flush()


def zeros(name, shape=(2,), dtype="float32"):
    count = int(np.prod(shape)) * ITEMSIZE[dtype]
    return Tensor(name, dtype, shape, Held(bytes(count)))


@pytest.mark.parametrize(("name", "piece"), [("network.msgpack", 1 << 30), ("pieces.msgpack", 64)])
def test_msgpack_is_flaxs_byte_for_byte(tmp_path, name, piece):
    with open_checkpoint(str(FOLDER / name)) as found, output(tmp_path / "a.msgpack") as out:
        write_msgpack(out, nested(found.tensors.values(), KEYS), piece=piece)
    assert (tmp_path / "a.msgpack").read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("piece", [4, 8, 12, 100, 1000])
def test_pieces_of_any_size_are_read_whole(tmp_path, piece):
    array = np.arange(150, dtype="<f4").reshape(10, 15)
    tensor = Tensor("w", "float32", array.shape, Held(array.tobytes()))
    with output(tmp_path / "a.msgpack") as out:
        write_msgpack(out, {"w": tensor}, piece=piece)
    with open_checkpoint(str(tmp_path / "a.msgpack")) as found:
        assert found.tensors["w"].shape == (10, 15)
        assert found.tensors["w"].tobytes() == array.tobytes()


MAPPING = """
[from]
format = "jax"
slash_keys = ["Branch_0/Conv"]

[to]
format = "pytorch"

[tensors]
"params/Conv_0/kernel" = { to = "conv.weight", axes = "D H W I O -> O I D H W" }
"params/Mixed/Branch_0/Conv/kernel" = { to = "mixed.weight", axes = "D H W I O -> O I D H W" }
"params/Mixed/Norm_0/bias" = "norm.bias"
"params/Mixed/Norm_0/scale" = "norm.weight"
"batch_stats/Mixed/Norm_0/mean" = "norm.running_mean"
"batch_stats/Mixed/Norm_0/var" = "norm.running_var"
"""


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MAPPING)
    return path


def test_a_mapping_of_ones_own_there_and_back(tmp_path, mapping):
    """From Flax's file to PyTorch's and back to the same bytes; also as a pickle."""
    for suffix in ("safetensors", "pth"):
        convert(FOLDER / "network.msgpack", tmp_path / f"a.{suffix}", mapping=mapping)
    convert(tmp_path / "a.pth", tmp_path / "b.msgpack", mapping=mapping, reverse=True, check=True)
    assert (tmp_path / "b.msgpack").read_bytes() == (FOLDER / "network.msgpack").read_bytes()
    convert(tmp_path / "a.safetensors", tmp_path / "b.pkl", mapping=mapping, reverse=True, check=True)
    ours = pickle.loads((tmp_path / "b.pkl").read_bytes())
    theirs = pickle.loads((FOLDER / "numpy-p4.pkl").read_bytes())
    assert str(ours) == str(theirs)
    kernel = ours["params"]["Mixed"]["Branch_0/Conv"]["kernel"]
    assert kernel.flags.writeable
    assert kernel.tobytes() == theirs["params"]["Mixed"]["Branch_0/Conv"]["kernel"].tobytes()


@pytest.mark.parametrize("suffix", ["msgpack", "pkl", "npz"])
def test_every_dtype_there_and_back(tmp_path, suffix):
    """Only ``.npz`` and numpy itself have no bfloat16."""
    dtypes = [dtype for dtype in ITEMSIZE if suffix == "msgpack" or dtype != "bfloat16"]
    arrays = {dtype: np.arange(300).astype("u1")[: 24 * ITEMSIZE[dtype]] % 2 for dtype in dtypes}
    tensors = [
        Tensor(f"params/{dtype}", dtype, (2, 3, 4), Held(raw.tobytes())) for dtype, raw in arrays.items()
    ]
    with output(tmp_path / "in.msgpack") as out:
        write_msgpack(out, nested(tensors, ()))
    rows = "\n".join(f'"params/{dtype}" = "params/{dtype}"' for dtype in dtypes)
    (tmp_path / "m.toml").write_text(f'[from]\nformat = "jax"\n[to]\nformat = "jax"\n[tensors]\n{rows}\n')
    convert(tmp_path / "in.msgpack", tmp_path / f"out.{suffix}", mapping=tmp_path / "m.toml", check=True)
    with open_checkpoint(str(tmp_path / f"out.{suffix}")) as found:
        assert {name: found.tensors[name].tobytes() for name in found.tensors} == {
            tensor.name: tensor.tobytes() for tensor in tensors
        }


def test_bfloat16_in_a_pickle(tmp_path):
    rows = '"params/w" = "params/w"'
    with output(tmp_path / "in.msgpack") as out:
        write_msgpack(out, nested([zeros("params/w", (300,), "bfloat16")], ()))
    (tmp_path / "m.toml").write_text(f'[from]\nformat = "jax"\n[to]\nformat = "jax"\n[tensors]\n{rows}\n')
    convert(tmp_path / "in.msgpack", tmp_path / "out.pkl", mapping=tmp_path / "m.toml", check=True)
    raw = (tmp_path / "out.pkl").read_bytes()
    theirs = (FOLDER / "bfloat16.pkl").read_bytes()
    assert b"\x8c\x09ml_dtypes" in raw
    assert b"\x8c\x09ml_dtypes" in theirs


def test_names_become_dictionaries_again():
    names = ["a/b/c", "a/x/~/y/w", "a/x/~/z/w", "d"]
    tree = nested([zeros(name) for name in names], ["x/~/*"])
    assert {key: list(value) for key, value in tree.items() if isinstance(value, dict)} == {
        "a": ["b", "x/~/y", "x/~/z"]
    }
    assert tree["d"].name == "d"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a/b"], "names both an array and a dictionary"),
        (["a/b", "a"], "names both an array and a dictionary"),
        (["a/b", "a/b"], "occurs twice"),
        (["/".join("x" * 80)], "more than 64 deep"),
    ],
)
def test_names_that_are_no_dictionaries_are_refused(names, message):
    with pytest.raises(Refused, match=message):
        nested([zeros(name) for name in names], ())


def test_a_file_of_one_value_is_no_checkpoint(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(b"\x81\xa1w\x01")
    with pytest.raises(BadInput, match="holds no arrays"):
        open_checkpoint(str(tmp_path / "a.msgpack"))


def interned(tree):
    """A tree whose equal keys are one object, as those of code are."""
    return {
        sys.intern(key): interned(value) if isinstance(value, dict) else value for key, value in tree.items()
    }


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield Tensor("/".join((*path, key)), value.dtype.name, value.shape, Held(value.tobytes()))


def instructions(raw):
    """All but frames; numpy 2 calls a module of its own by another name."""
    return [
        (op.name, "numpy.core.multiarray" if argument == "numpy._core.multiarray" else argument)
        for op, argument, _ in pickletools.genops(raw)
        if op.name != "FRAME"
    ]


TREES = {
    "one": {"w": np.ones(3, "f4")},
    "nested": {
        "params": {"a": {"w": np.ones((2, 3), "f4"), "b": np.ones(3, "f4")}, "b": {"w": np.ones(1, "i8")}}
    },
    "no elements and no axes": {"a": np.ones((0, 3), "f4"), "b": np.ones((), "f4"), "c": np.ones((), "u1")},
    "dtypes": {
        code: np.ones((2, 1, 1, 300), code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")
    },
    "long": {"small": np.ones(100, "f4"), "long": np.ones(70_000, "u1"), "more": np.ones(60_000, "u1")},
    "long keys": {"k" * 300: np.ones(1, "f4"), "ü" * 100: np.ones(1, "f4")},
    "as many as are set at once": {f"w{number}": np.ones(1, "f4") for number in range(1000)},
    "more than are set at once": {f"w{number}": np.ones(1, "f4") for number in range(1001)},
}


@pytest.mark.parametrize("name", TREES)
def test_a_pickle_is_pythons(tmp_path, name):
    tree = interned(TREES[name])
    with output(tmp_path / "a.pkl") as out:
        write_pickle(
            [out],
            SimpleNamespace(tensors=list(leaves(tree)), same_layout=False, slash_keys=(), progress=None),
        )
    raw = (tmp_path / "a.pkl").read_bytes()
    assert instructions(raw) == instructions(pickle.dumps(tree, 4))
    assert str(pickle.loads(raw)) == str(tree)


def test_a_proposed_mapping_leads_back_to_the_same_bytes(tmp_path, mapping):
    """It says which keys contain slashes."""
    convert(FOLDER / "network.msgpack", tmp_path / "a.pth", mapping=mapping)
    suggest(tmp_path / "a.pth", FOLDER / "network.msgpack", tmp_path / "proposed.toml")
    assert 'slash_keys = ["Branch_0/Conv"]' in (tmp_path / "proposed.toml").read_text()
    convert(
        tmp_path / "a.pth",
        tmp_path / "b.msgpack",
        mapping=tmp_path / "proposed.toml",
        accept_unsure=True,
    )
    with (
        open_checkpoint(str(tmp_path / "b.msgpack")) as ours,
        open_checkpoint(str(FOLDER / "network.msgpack")) as theirs,
    ):
        assert ours.details == theirs.details
        assert {name: one.tobytes() for name, one in ours.tensors.items()} == {
            name: one.tobytes() for name, one in theirs.tensors.items()
        }
