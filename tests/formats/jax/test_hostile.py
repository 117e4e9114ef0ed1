"""Msgpack and nested pickles that lie. Each is refused, quickly and in little memory."""

from __future__ import annotations

import pickle
import struct
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.formats.jax import msgpack_reader, names
from converters.formats.open import open_checkpoint
from tests.helpers.paths import FIXTURES

FOLDER = FIXTURES / "jax"
FLOAT32 = b"\xa7float32"
DATA = np.arange(3, dtype="<f4").tobytes()


def text(value):
    return bytes((0xA0 | len(value),)) + value.encode()


def array(
    shape=b"\x91\x03",
    dtype=FLOAT32,
    data=b"\xc4\x0c" + DATA,
    head=b"\x93",
    kind=1,
    length=None,
    more=b"",
):
    inner = head + shape + dtype + data + more
    return b"\xc8" + struct.pack(">H", len(inner) if length is None else length) + bytes((kind,)) + inner


def named(value, key=None):
    return b"\x81" + (text("w") if key is None else key) + value


def pieces(entries, flag=b"\xc3"):
    return (
        bytes((0x81 + len(entries),))
        + b"\xb9__msgpack_chunked_array__"
        + flag
        + b"".join(text(key) + value for key, value in entries)
    )


SHAPE = ("shape", b"\x81" + text("0") + b"\x03")
CHUNKS = ("chunks", b"\x81" + text("0") + array())

HOSTILE = {
    "a map of 4 billion": (b"\xdf\xff\xff\xff\xff" + text("w") + array(), "ends early"),
    "a map of 65,535": (b"\xde\xff\xff" + text("w") + array(), "ends early"),
    "a list of 4 billion": (named(b"\xdd\xff\xff\xff\xff"), "ends early"),
    "an extension of 4 GB": (named(b"\xc9\xff\xff\xff\xff\x01\x93"), "ends early"),
    "bytes of 4 GB": (named(b"\xc6\xff\xff\xff\xff"), "ends early"),
    "a text of 4 GB": (named(b"\xdb\xff\xff\xff\xff"), "ends early"),
    "a key of 4 GB": (
        named(b"\x01", b"\xdb\xff\xff\xff\xff") + bytes(2000),
        "ends early|key of|not a known kind",
    ),
    "a long key": (named(array(), b"\xda\x10\x00" + b"x" * 4096), "key of 4,096 bytes"),
    "deep maps": (named(b"\x81\xa1w" * 5000 + array()), "more than 64 deep"),
    "deep lists": (named(b"\x91" * 100_000 + b"\xc0"), "more than 64 deep"),
    "a key twice": (b"\x82" + (text("w") + array()) * 2, "has the key w twice"),
    "a number and a text": (b"\x82\x00" + array() + text("0") + array(), "has the key 0 twice"),
    "keys with slashes": (
        b"\x82" + text("a") + b"\x81" + text("b") + array() + text("a/b") + array(),
        "has the name a/b twice",
    ),
    "a key that is a map": (named(array(), b"\x80"), "not a string|not a known kind"),
    "a key that is nil": (b"\x82" + text("w") + array() + b"\xc0" + array(), "not a string"),
    "a key that is a float": (b"\x82" + text("w") + array() + b"\xca" + bytes(4) + array(), "not a string"),
    "a key that is not a string": (named(array(), b"\xa2\xff\xfe"), "cannot be decoded"),
    "an unknown extension": (named(array(kind=7)), "extension of type 7"),
    "a date": (named(b"\xd6\xff" + bytes(4)), "extension of type -1"),
    "a scalar with axes": (named(array(kind=3)), "scalar with axes"),
    "an unknown code": (named(b"\xc1"), "0xc1"),
    "an unknown dtype": (named(array(dtype=text("float33"))), "float33"),
    "objects": (named(array(dtype=text("object"))), "object"),
    "a structure": (named(array(dtype=text("f4,f4"))), "f4,f4"),
    "a dtype that runs": (named(array(dtype=text("__import__('os')"))), "numpy does not have"),
    "a dtype of another length": (named(array(dtype=text("float64"))), "not those of its shape"),
    "a shape that is too large": (named(array(shape=b"\x91\x04")), "not those of its shape"),
    "a shape that is negative": (named(array(shape=b"\x91\xff")), "impossible shape"),
    "a shape that overflows": (
        named(array(shape=b"\x94" + (b"\xcf" + b"\x7f" + b"\xff" * 7) * 4)),
        "not those of its shape",
    ),
    "a shape of many axes": (named(array(shape=b"\xdc\x01\x00" + b"\x01" * 256)), "impossible shape"),
    "a shape of floats": (named(array(shape=b"\x91\xca\x40\x40\x00\x00")), "impossible shape"),
    "a shape that is a text": (named(array(shape=text("3"))), "impossible shape"),
    "an array without contents": (named(array(data=b"\xc0")), "without contents"),
    "an array of four": (named(array(head=b"\x94", more=b"\xc0")), "unknown form"),
    "more in the extension": (named(array(more=b"\0\0")), "2 bytes too many"),
    "a short extension": (named(array(length=10) + bytes(20)), "longer than the extension"),
    "contents beyond the extension": (
        named(array(data=b"\xc4\xff" + DATA) + bytes(300)),
        "longer than the extension",
    ),
    "a complex number of three": (named(b"\xc7\x04\x02\x93\x01\x02\x03"), "unknown form"),
    "more after the end": (named(array()) + b"\0", "1 more bytes after its end"),
    "no arrays": (named(b"\x01"), "holds no arrays"),
    "an array in pieces without a shape": (named(pieces([CHUNKS])), "unknown form"),
    "an array in pieces without pieces": (named(pieces([SHAPE, ("chunks", b"\x80")])), "not arrays"),
    "pieces that are numbers": (
        named(pieces([SHAPE, ("chunks", b"\x81" + text("0") + b"\x01")])),
        "not arrays",
    ),
    "pieces with a gap": (named(pieces([SHAPE, ("chunks", b"\x81" + text("1") + array())])), "unknown form"),
    "pieces that are too short": (
        named(pieces([("shape", b"\x81" + text("0") + b"\x04"), CHUNKS])),
        "as long as its shape",
    ),
    "a shape in pieces that lies": (
        named(pieces([("shape", b"\x81" + text("0") + b"\xff"), CHUNKS])),
        "unknown form",
    ),
    "pieces of several dtypes": (
        named(
            pieces(
                [
                    ("shape", b"\x81" + text("0") + b"\x06"),
                    ("chunks", b"\x82" + text("0") + array() + text("1") + array(dtype=text("int32"))),
                ]
            )
        ),
        "several dtypes",
    ),
    "pieces with more": (named(pieces([SHAPE, CHUNKS, ("x", b"\x01")])), "unknown form"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_msgpack_is_refused(tmp_path, name):
    raw, message = HOSTILE[name]
    path = tmp_path / "a.msgpack"
    path.write_bytes(raw)
    started = perf_counter()
    with pytest.raises(BadInput, match=message):
        open_checkpoint(str(path))
    assert perf_counter() - started < 1


def test_the_parts_of_these_files_are_right(tmp_path):
    """Without the lies they are read."""
    for place, raw in enumerate(
        (
            named(array()),
            named(array(kind=3, shape=b"\x90", data=b"\xc4\x04" + DATA[4:8])),
            named(pieces([SHAPE, CHUNKS])),
        )
    ):
        path = tmp_path / f"{place}.msgpack"
        path.write_bytes(raw)
        with open_checkpoint(str(path)) as found:
            assert DATA[4:8] in found.tensors["w"].tobytes()


def test_a_file_of_instructions_only_is_bounded(tmp_path, monkeypatch):
    """Many small values cost more than their bytes: these are limited."""
    monkeypatch.setattr(msgpack_reader, "_WALK_LIMIT", 1 << 14)
    path = tmp_path / "a.msgpack"
    path.write_bytes(named(b"\xdd" + struct.pack(">I", 1 << 15) + b"\x01" * (1 << 15)))
    with pytest.raises(BadInput, match="bytes beside its arrays"):
        open_checkpoint(str(path))


@pytest.mark.parametrize("name", ["network.msgpack", "every.msgpack", "pieces.msgpack"])
def test_a_file_cut_anywhere_is_refused(tmp_path, name):
    whole = (FOLDER / name).read_bytes()
    path = tmp_path / "a.msgpack"
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput):
            open_checkpoint(str(path))


@given(st.integers(0, 662), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_whole(tmp_path_factory, place, byte):
    raw = bytearray((FOLDER / "network.msgpack").read_bytes())
    raw[place] = byte
    path = tmp_path_factory.mktemp("changed") / "a.msgpack"
    path.write_bytes(raw)
    try:
        with open_checkpoint(str(path)) as found:
            for tensor in found.tensors.values():
                assert len(tensor.tobytes()) == tensor.nbytes <= len(raw)
    except BadInput:
        pass


class Call:
    """Pickled as a call of a name with arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def jax_array(*arguments, name=b"jax._src.array\n_reconstruct_array"):
    """A pickle whose parameter is what ``_reconstruct_array`` is called with; the name is put in afterwards."""
    raw = pickle.dumps({"params": {"w": Call(stand_in, *arguments), "a": np.ones(3, "f4")}}, 2)
    assert raw.count(b"ctests.formats.jax.test_hostile\nstand_in\n") == 1
    return raw.replace(b"ctests.formats.jax.test_hostile\nstand_in\n", b"c" + name + b"\n")


def stand_in(*_):
    """What a pickle has a name for."""


def state(shape=(3,), data=DATA, order=False):
    return (1, shape, np.dtype("<f4"), order, data)


RECONSTRUCT = np.ones(1).__reduce__()[0]
GIVEN = (np.ndarray, (0,), b"b")

ODD_ARRAYS = {
    "another function": ((pickle.loads, GIVEN, state(), {}), "pickle"),
    "a call of print": ((print, ("hello",), state(), {}), "print"),
    "a type": ((np.ndarray, GIVEN, state(), {}), "unknown form"),
    "no function": ((None, GIVEN, state(), {}), "unknown form"),
    "another array class": ((RECONSTRUCT, (np.dtype, (0,), b"b"), state(), {}), "unknown form"),
    "too few arguments": ((RECONSTRUCT, GIVEN, state()), "unknown form"),
    "a state that is a text": ((RECONSTRUCT, GIVEN, "state", {}), "unknown form"),
    "a shape that lies": ((RECONSTRUCT, GIVEN, state((9,)), {}), "its shape takes"),
    "a shape that is negative": ((RECONSTRUCT, GIVEN, state((-1,)), {}), "impossible shape"),
    "an abstract value of another form": ((RECONSTRUCT, GIVEN, state(), {"sharding": 1}), "unknown form"),
    "an abstract value that is a list": ((RECONSTRUCT, GIVEN, state(), []), "unknown form"),
}


@pytest.mark.parametrize("name", ODD_ARRAYS)
def test_odd_jax_arrays_are_refused(tmp_path, name):
    arguments, message = ODD_ARRAYS[name]
    path = tmp_path / "a.pkl"
    path.write_bytes(jax_array(*arguments))
    with pytest.raises(BadInput, match=message):
        open_checkpoint(str(path))


@pytest.mark.parametrize(
    ("name", "abstract"),
    [
        (b"jax._src.array\n_reconstruct_array", {"weak_type": False}),
        (b"jax._src.array\n_reconstruct_array", {"weak_type": False, "named_shape": {}}),
        (b"jax._src.device_array\nreconstruct_device_array", {"weak_type": True, "named_shape": {}}),
    ],
)
def test_a_right_jax_array_is_read(tmp_path, name, abstract):
    """In the spellings of jax 0.3, 0.4 and later."""
    path = tmp_path / "a.pkl"
    path.write_bytes(jax_array(RECONSTRUCT, GIVEN, state(), abstract, name=name))
    with open_checkpoint(str(path)) as found:
        assert found.tensors["params/w"].tobytes() == DATA


def nest(depth, inner):
    for _ in range(depth):
        inner = {"x": inner}
    return inner


def shared(levels):
    """A dictionary that is in itself 2^levels times."""
    tree = {"w": np.ones(3, "f4")}
    for _ in range(levels):
        tree = {"a": tree, "b": tree}
    return tree


def looped():
    tree = {"w": np.ones(3, "f4"), "inner": {}}
    tree["inner"]["again"] = tree
    return tree


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (nest(70, np.ones(3, "f4")), "more than 64 deep"),
        (shared(40), "more than"),
        (looped(), "more than"),
        ({"a": {"b": np.ones(3, "f4")}, "a/b": np.ones(3, "f4")}, "has the name a/b twice"),
        ({"a": {1: np.ones(3, "f4"), "1": np.ones(3, "f4")}}, "has the key 1 twice"),
        ({"a": {None: np.ones(3, "f4")}}, "key that is not a string"),
        ({"a": {1.5: np.ones(3, "f4")}}, "key that is not a string"),
        ({"a": {(): np.ones(3, "f4")}}, "key that is not a string"),
        ({"a": {b"\xff": np.ones(3, "f4")}}, "key that is not a string"),
        ({"params": {"w": np.ones(3, "f4")}, "f": print}, "print"),
    ],
)
def test_nested_pickles_that_lie_are_refused(tmp_path, tree, message, monkeypatch):
    monkeypatch.setattr(names, "_VALUES", 5000)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(tree, 4))
    started = perf_counter()
    with pytest.raises(BadInput, match=message):
        open_checkpoint(str(path))
    assert perf_counter() - started < 1
