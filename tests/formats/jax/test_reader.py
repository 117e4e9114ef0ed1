"""Files of the real libraries: every array as the library itself reads it, and all else by name."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from converters.errors import BadInput
from converters.formats.open import open_checkpoint
from converters.tensor import ITEMSIZE, FileBytes, Joined
from tests.helpers.paths import FIXTURES, REPOSITORY

FOLDER = FIXTURES / "jax"
DIGESTS = {
    name: arrays
    for file in ("digests.json", "digests-old.json")
    for name, arrays in json.loads((FOLDER / file).read_text()).items()
}


def read(path):
    """Every array that a file holds: dtype, shape, and the SHA-256 of its bytes."""
    with open_checkpoint(str(path)) as found:
        assert found.format == "jax"
        arrays = {name: (tensor.dtype, tensor.shape, tensor.data) for name, tensor in found.tensors.items()}
        arrays |= {
            name: (other.kind, other.shape, other.data)
            for name, other in found.other_values.items()
            if other.is_tensor
        }
        return {
            name: [kind, list(shape), hashlib.sha256(b"".join(map(bytes, data.chunks()))).hexdigest()]
            for name, (kind, shape, data) in arrays.items()
        }


def values_of(path):
    with open_checkpoint(str(path)) as found:
        return {name: other for name, other in found.other_values.items() if not other.is_tensor}


@pytest.mark.parametrize("name", [name for name in DIGESTS if name != "trained.pkl"])
def test_every_array_is_as_the_library_reads_it(name):
    assert read(FOLDER / name) == DIGESTS[name]


def test_an_optimizers_state_in_a_pickle_is_shown_beside_the_weights():
    """Its arrays are in named tuples of optax, which are inert; a numpy scalar in a pickle is a number."""
    found = read(FOLDER / "trained.pkl")
    assert found == {name: row for name, row in DIGESTS["trained.pkl"].items() if name.startswith("params/")}
    others = values_of(FOLDER / "trained.pkl")
    assert others["step"].value == 4
    assert others["opt_state/0"].kind == "optax.ScaleByAdamState"
    assert [name for name, _ in others["opt_state/0"].parts()] == ["[0]", "[1]", "[2]"]


def test_keys_of_random_numbers_are_shown_beside_the_weights():
    others = values_of(FOLDER / "keys.pkl")
    assert {name: other.kind for name, other in others.items()} == dict.fromkeys(
        ("rng/threefry2x32", "rng/rbg", "rng/unsafe_rbg"), "jax.random.key"
    )


def test_the_names_are_the_keys_joined_by_slashes():
    with open_checkpoint(str(FOLDER / "network.msgpack")) as found:
        assert list(found.tensors) == [
            "params/Conv_0/kernel",
            "params/Mixed/Branch_0/Conv/kernel",
            "params/Mixed/Norm_0/bias",
            "params/Mixed/Norm_0/scale",
            "batch_stats/Mixed/Norm_0/mean",
            "batch_stats/Mixed/Norm_0/var",
        ]
        assert found.details == {"slash_keys": ["Branch_0/Conv"]}
        assert found.container == "Flax file (msgpack)"
        assert all(isinstance(tensor.data, FileBytes) for tensor in found.tensors.values())


def test_arrays_in_pieces_stay_in_the_file():
    with open_checkpoint(str(FOLDER / "pieces.msgpack")) as found:
        kernel = found.tensors["params/Conv_0/kernel"]
        assert isinstance(kernel.data, Joined)
        assert len(kernel.data.parts) == 5
        assert kernel.shape == (2, 3, 3, 1, 4)


def test_everything_else_is_kept_by_name():
    others = values_of(FOLDER / "every.msgpack")
    plain = {name: other.value for name, other in others.items() if other.value is not None}
    assert plain == {
        "python/int": 3,
        "python/big": 1 << 40,
        "python/minus": -70000,
        "python/float": 0.1,
        "python/bool": True,
        "text": "a network",
    }
    assert others["python/none"].kind == "None"
    assert others["bytes"].data.data == b"\0\1\2"
    assert others["long text"].data.nbytes == 400
    assert others["complex"].data.data == struct.pack("<dd", 1, 2)
    assert [part.value for _, part in others["numbers"].parts()] == [1, 2, 3]
    assert others["empty"].kind == "dictionary"


def test_names_in_npz_are_joined_by_slashes_or_dots():
    assert read(FOLDER / "slashes.npz") == read(FOLDER / "dots.npz")


def test_a_numpy_file_of_other_names_is_named_arrays_as_before(tmp_path):
    np.savez(tmp_path / "a.npz", **{"conv/kernel": np.zeros(3, "f4"), "parameter": np.zeros(2, "f4")})
    with open_checkpoint(str(tmp_path / "a.npz")) as found:
        assert found.format == "arrays"


def test_pickled_dictionaries_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", params=np.array({"kernel": np.zeros(3)}, object))
    with pytest.raises(BadInput, match="pickled Python objects"):
        open_checkpoint(str(tmp_path / "a.npz"))


def test_big_endian_and_fortran_arrays_in_nested_pickles(tmp_path):
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    tree = {"params": {"big": array, "fortran": np.asfortranarray(array.astype("<f8"))}}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree, 4))
    with open_checkpoint(str(tmp_path / "a.pkl")) as found:
        assert found.tensors["params/big"].tobytes() == array.astype("<f4").tobytes()
        assert found.tensors["params/fortran"].tobytes() == array.astype("<f8").tobytes()


@pytest.mark.parametrize(
    "tree",
    [
        {"conv/~/w": {"w": np.ones(3, "f4")}},
        ({"conv": {"w": np.ones(3, "f4")}}, {}),
        [{"conv": {"w": np.ones(3, "f4")}}],
        {("params", "conv"): np.ones(3, "f4")},
        {"params/conv": np.ones(3, "f4")},
        {0: {1: {"kernel": np.ones(3, "f4")}}},
        {b"params": {b"kernel": np.ones(3, "f4")}},
    ],
)
def test_nested_pickles_of_every_form(tmp_path, tree):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree, 4))
    with open_checkpoint(str(tmp_path / "a.pkl")) as found:
        assert found.format == "jax"
        (tensor,) = found.tensors.values()
        assert (tensor.dtype, tensor.tobytes()) == ("float32", np.ones(3, "f4").tobytes())


@pytest.mark.parametrize(
    "tree",
    [
        {"blobs": {"conv1_w": np.ones(3, "f4")}, "cfg": {"size": np.ones(2)}},
        {"conv1_w": np.ones(3, "f4"), "model_iter": 7},
        {"parameters": np.ones(3, "f4")},
    ],
)
def test_blobs_stay_caffe2s(tmp_path, tree):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree, 2))
    with open_checkpoint(str(tmp_path / "a.pkl")) as found:
        assert found.format == "caffe2-pickle"


def test_reading_imports_no_framework_and_no_pickle():
    code = (
        "import sys; from converters.formats.open import open_checkpoint\n"
        "for name in sys.argv[1:]:\n"
        "    with open_checkpoint(name) as found: [tensor.tobytes() for tensor in found.tensors.values()]\n"
        "print(*sys.modules)"
    )
    files = [str(FOLDER / name) for name in ("network.msgpack", "jax-p4.pkl", "bfloat16.pkl", "haiku.pkl")]
    done = subprocess.run(
        [sys.executable, "-c", code, *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not {"jax", "flax", "haiku", "msgpack", "numpy", "pickle", "ml_dtypes"} & set(done.stdout.split())


def test_every_convertible_dtype_is_in_the_fixture():
    with open_checkpoint(str(FOLDER / "every.msgpack")) as found:
        assert {tensor.dtype for tensor in found.tensors.values()} == set(ITEMSIZE)
