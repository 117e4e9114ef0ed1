"""PaddlePaddle's files: what the real one wrote is read, and written back to the same bytes."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters import BadInput, Refused
from converters.formats.io.output_stream import Output
from converters.formats.open import open_checkpoint
from converters.formats.paddle.writer import write_pdparams
from tests.helpers.paths import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from converters.tensor import Tensor

FOLDER = FIXTURES / "paddle"
TABLE, PIECES = "StructuredToParameterName@@", "UnpackBigParamInfor@@"
W = np.arange(15, dtype="f4").reshape(3, 5)


def written(path: Path, tensors: Sequence[Tensor], form: Mapping[str, Any], **options: Any) -> bytes:
    with open(path, "wb") as file:
        out = Output(file.fileno(), str(path))
        write_pdparams(out, tensors, form, **options)
        out.flush()
    return path.read_bytes()


@pytest.mark.parametrize("name", ["state-p2", "state-p3", "state-p4", "nested", "dense"])
def test_every_form_has_the_same_arrays(name: str) -> None:
    expected = np.load(FOLDER / "expected.npz")
    with open_checkpoint(str(FOLDER / f"{name}.pdparams")) as found:
        assert list(found.tensors) == expected.files
        for key, tensor in found.tensors.items():
            assert (tensor.shape, tensor.dtype) == (expected[key].shape, expected[key].dtype.name)
            assert tensor.tobytes() == expected[key].tobytes()


@pytest.mark.parametrize("name", ["state-p2", "state-p3", "state-p4", "bfloat16"])
def test_what_paddle_wrote_is_written_again(tmp_path: Path, name: str) -> None:
    """bfloat16 is stored as numbers of 16 bits, which have no other meaning in Paddle."""
    path = FOLDER / f"{name}.pdparams"
    with open_checkpoint(str(path)) as found:
        if name == "bfloat16":
            assert {tensor.dtype for tensor in found.tensors.values()} == {"bfloat16"}
        ours = written(tmp_path / "a.pdparams", list(found.tensors.values()), found.details["paddle"])
    assert ours == path.read_bytes()


def test_a_file_without_the_table_of_names(tmp_path: Path) -> None:
    raw = pickle.dumps({"a.b": W, "c.d": np.ones(3, "f4")}, 4)
    (tmp_path / "a.pdparams").write_bytes(raw)
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        tensors = list(found.tensors.values())
        assert written(tmp_path / "b.pdparams", tensors, found.details["paddle"]) == raw
        assert TABLE.encode() in written(tmp_path / "c.pdparams", tensors, {})


def dumped(state: dict[str, Any], protocol: int, *, numpy_1: bool) -> bytes:
    """What numpy 1 or 2 pickles."""
    raw = pickle.dumps(state, protocol)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    if numpy_1:
        return raw.replace(b"c" + new, b"c" + old)
    return raw


@pytest.mark.parametrize(("protocol", "numpy_1"), [(2, False), (2, True), (3, False), (3, True), (4, False)])
def test_every_size_of_array_is_pickles(tmp_path: Path, protocol: int, numpy_1: bool) -> None:
    """None, one and many elements; ASCII and beyond; longer than a frame; more items than are set at once. JAX's
    pickles test numpy 1 with protocol 4, which numpy 2 cannot write."""
    arrays = {
        "no.elements": np.ones((0, 3), "f4"),
        "none.again": np.ones((0,), "f8"),
        "scalar": np.ones((), "f4"),
        "axes": np.full((1, 2, 3, 4, 5), -1.5, "f4"),
        "counts": np.arange(300, dtype="i8"),
        "bytes": np.arange(256, dtype="u1"),
        "long": np.full(70_000, 200, "u1"),
        "long.again": np.arange(70_000, dtype="i4"),
        **{f"w.{number}": np.full(3, number, "f4") for number in range(1000)},
    }
    state = {**arrays, TABLE: {name: f"p_{number}" for number, name in enumerate(arrays)}}
    raw = dumped(state, protocol, numpy_1=numpy_1)
    (tmp_path / "a.pdparams").write_bytes(raw)
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        tensors = list(found.tensors.values())
        assert all(tensor.tobytes() == arrays[tensor.name].tobytes() for tensor in tensors)
        assert found.details["paddle"]["numpy2"] is not numpy_1
        assert written(tmp_path / "b.pdparams", tensors, found.details["paddle"]) == raw


def in_pieces(dtype: str = "f4") -> dict[str, Any]:
    """As ``paddle.framework.io_utils._unpack_saved_dict`` has them, in pieces of 24 bytes."""
    flat = W.astype(dtype).reshape(-1)
    count = 24 // flat.itemsize
    names = [f"big.w@@.{number}" for number in range(-(-flat.size // count))]
    state: dict[str, Any] = {"a.b": np.ones(2, dtype), "c.d": np.ones(3, dtype)}
    state[TABLE] = {"a.b": "linear_0.b_0", "big.w": "linear_1.w_0", "c.d": "linear_1.b_0"}
    state |= {name: flat[count * at : count * at + count] for at, name in enumerate(names)}
    state[PIECES] = {"big.w": {"OriginShape": W.shape, "slices": names}}
    return state


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_pieces_there_and_back(tmp_path: Path, protocol: int, dtype: str) -> None:
    raw = pickle.dumps(in_pieces(dtype), protocol)
    (tmp_path / "a.pdparams").write_bytes(raw)
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        assert list(found.tensors) == ["a.b", "big.w", "c.d"]
        assert found.tensors["big.w"].shape == W.shape
        assert found.tensors["big.w"].tobytes() == W.astype(dtype).tobytes()
        form = found.details["paddle"]
        assert written(tmp_path / "b.pdparams", list(found.tensors.values()), form, piece=24) == raw


WRONG_PIECES: dict[str, dict[str, Any]] = {
    "no table": {PIECES: [1]},
    "no shape": {PIECES: {"big.w": {"slices": ["big.w@@.0"]}}},
    "too few": {PIECES: {"big.w": {"OriginShape": (3, 5), "slices": ["big.w@@.0"]}}},
    "one twice": {PIECES: {"big.w": {"OriginShape": (2, 6), "slices": ["big.w@@.0"] * 2}}},
    "missing": {PIECES: {"big.w": {"OriginShape": (3, 5), "slices": ["x", "y"]}}},
    "none": {PIECES: {"big.w": {"OriginShape": (0,), "slices": []}}},
    "negative": {PIECES: {"big.w": {"OriginShape": (-3, -5), "slices": ["big.w@@.0", "big.w@@.1"]}}},
    "huge": {PIECES: {"big.w": {"OriginShape": (1 << 62, 1 << 62), "slices": ["big.w@@.0"]}}},
    "whole too": {"big.w": W},
    "of two dtypes": {"big.w@@.1": np.ones(6, "i4")},
    "a number": {"big.w@@.1": 3},
    "a name that is none": {PIECES: {5: {"OriginShape": (1,), "slices": ["big.w@@.0"]}}},
}


@pytest.mark.parametrize("name", WRONG_PIECES)
def test_pieces_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({**in_pieces(), **WRONG_PIECES[name]}, 2))
    with pytest.raises(BadInput, match="pieces that do not fit"):
        open_checkpoint(str(path))


class Runs:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, Any]:
    harm = f"open({str(marker)!r}, 'w')"
    return {
        "eval": Runs(eval, harm),
        "eval with names": Runs(eval, harm, {"data": W}),
        "eval of more names": Runs(eval, "data", {"data": W, "x": 1}),
        "eval of a text": Runs(eval, "data", {"data": harm}),
        "eval with three": Runs(eval, "data", {"data": W}, {}),
        "exec": Runs(exec, harm),
        "open": Runs(open, str(marker), "w"),
        "tuple of a call": ("w", Runs(exec, harm)),
        "tuple of a list": Runs(tuple, [W, W]),
        "import": Runs(__import__, "os"),
        "codec": Runs(__import__("_codecs").encode, "x", "rot13"),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", list(hostile(FOLDER)))
@pytest.mark.parametrize("place", ["a tensor", "the table", "the pieces", "an entry", "the whole"])
def test_nothing_runs(tmp_path: Path, name: str, place: str, protocol: int) -> None:
    marker = tmp_path / "ran"
    value = hostile(marker)[name]
    states: dict[str, Any] = {
        "a tensor": {"w": W, "x": value, TABLE: {"w": "w_0"}},
        "the table": {"w": W, TABLE: value},
        "the pieces": {"w": W, PIECES: value},
        "an entry": {"state_dict": {"w": W}, "x": {"y": [value]}},
        "the whole": value,
    }
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps(states[place], protocol))
    with pytest.raises(BadInput, match="contains code"):
        open_checkpoint(str(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("state.pdopt", "state of an optimizer.*pdparams beside it"),
        ("binary.pdparams", "one after the other"),
        ("inference.pdiparams", "one after the other"),
    ],
)
def test_other_files_of_paddle_are_named(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_checkpoint(str(FOLDER / name))


STATES: dict[str, tuple[Any, str]] = {
    "a list": ([W], "holds a list"),
    "a frozen set": (frozenset({1}), "holds a frozenset where"),
    "a number": (3, "holds an integer where"),
    "a tensor": (W, "holds a single tensor"),
    "a pair": (("linear_0.w_0", W), "holds a single tensor"),
    "numbers": ({"epoch": 3}, "holds no arrays"),
    "nothing": ({}, "holds no arrays"),
    "a number as a name": ({3: W, "w": W}, "whose name is not a string"),
    "two state dicts": ({"student": {"w": W}, "model": {"w": W}}, "holds 2 state dicts"),
}


@pytest.mark.parametrize("name", STATES)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, name: str) -> None:
    value, message = STATES[name]
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(value, 4))
    with pytest.raises((BadInput, Refused), match=message):
        open_checkpoint(str(tmp_path / "a.pdparams"))


def test_a_renamed_file_is_known_by_its_names(tmp_path: Path) -> None:
    for name, state in {
        "a.pkl": {"w": W, TABLE: {"w": "w_0"}},
        "b": {"w": W, "norm._mean": W[0], "norm._variance": W[0]},
        "c.bin": in_pieces(),
    }.items():
        (tmp_path / name).write_bytes(pickle.dumps(state, 2))
        with open_checkpoint(str(tmp_path / name)) as found:
            assert found.format == "paddle"


def as_python_2(raw: bytes) -> bytes:
    """Short texts as Python 2 wrote them: as bytes."""
    return re.sub(rb"X(.)\0\0\0(?=[ -~])", lambda match: b"U" + match[1], raw, flags=re.DOTALL)


def test_names_of_python_2(tmp_path: Path) -> None:
    state: dict[str, Any] = {"a.b": np.full(2, 1, "f4"), TABLE: {"a.b": "linear_0.b_0"}}
    raw = as_python_2(pickle.dumps(state, 3))
    assert b"U\x03a.b" in raw
    (tmp_path / "a.pdparams").write_bytes(raw)
    with open_checkpoint(str(tmp_path / "a.pdparams")) as found:
        assert found.tensors["a.b"].tobytes() == state["a.b"].tobytes()
        assert found.details["paddle"]["parameters"] == {"a.b": "linear_0.b_0"}
    (tmp_path / "b.pdparams").write_bytes(as_python_2(pickle.dumps(in_pieces(), 3)))
    with open_checkpoint(str(tmp_path / "b.pdparams")) as found:
        assert found.tensors["big.w"].tobytes() == W.tobytes()


@pytest.mark.parametrize("name", [b"\xff", b"w"])
def test_names_that_are_none_or_twice(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({name: W, "w": W}, 4))
    with pytest.raises(BadInput, match=r"not a string|twice, as bytes and as text"):
        open_checkpoint(str(tmp_path / "a.pdparams"))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    raw = (FOLDER / "state-p2.pdparams").read_bytes()
    for size in range(2, len(raw), 61):
        (tmp_path / "a.pdparams").write_bytes(raw[:size])
        with pytest.raises(BadInput):
            open_checkpoint(str(tmp_path / "a.pdparams"))


def test_names_of_paddles_own_entries_are_refused(tmp_path: Path) -> None:
    with open_checkpoint(str(FOLDER / "state-p4.pdparams")) as found:
        first = next(iter(found.tensors.values()))
        for tensors in ([first, first], [first._replace(name=TABLE)]):
            with pytest.raises(Refused, match="twice"):
                written(tmp_path / "a.pdparams", tensors, {})
