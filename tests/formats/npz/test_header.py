"""Headers of arrays: whatever numpy reads is read as numpy reads it, by all the writers there are."""

from __future__ import annotations

import ast
import io
import struct
import tokenize
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.npz.literal import literal
from converters.formats.npz.reader import read_npy, read_npz
from converters.formats.open import open_checkpoint
from converters.tensor import ITEMSIZE
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.arange(6, dtype="<f4")


def npy(text: str, data: bytes = VALUES.tobytes(), version: int = 1) -> bytes:
    raw = text.encode("utf-8" if version == 3 else "latin-1")
    return (
        b"\x93NUMPY"
        + bytes((version, 0))
        + struct.pack("<H" if version == 1 else "<I", len(raw))
        + raw
        + data
    )


def read(path: Path, content: bytes):
    path.write_bytes(content)
    with SourceFile(path) as file:
        tensor = read_npy(file)
        return tensor.dtype, tensor.shape, tensor.tobytes()


HEADERS = {
    "Go": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3,)}",
    "Fortran": "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }   \n",
    "JSON's quotes": '{"descr": "<f4", "fortran_order": False, "shape": (2, 3)}\n',
    "another order of the keys": "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
    "spaces and lines": " { 'descr' : '<f4' ,\n\t'fortran_order' :False, 'shape' : ( 2,3 ) , } \n\n",
    "none of them": "{'descr':'<f4','fortran_order':False,'shape':(6,)}",
    "Python 2": "{u'descr': u'<f4', u'fortran_order': False, u'shape': (2L, 3L), }",
    "other integers": "{'descr': '<f4', 'fortran_order': False, 'shape': (0x2, 0b11, +1, 1_0_0)}".replace(
        "1_0_0", "1"
    ),
    "two texts": "{'de' 'scr': '<' \"f4\", 'fortran_order': False, 'shape': (6,)}",
    "an escape": "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (6,)}",
    "parentheses": "({'descr': ('<f4'), 'fortran_order': (False), 'shape': ((6),)})",
    "a key twice": "{'descr': '>f8', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
}


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_other_writers(name: str, version: int, tmp_path: Path) -> None:
    content = npy(HEADERS[name], version=version)
    dtype, shape, data = read(tmp_path / "a.npy", content)
    l_is_looked_for = name != "Python 2" or version < 3
    expected = np.load(io.BytesIO(content)) if l_is_looked_for else VALUES.reshape(2, 3)
    assert (dtype, shape, data) == ("float32", expected.shape, np.ascontiguousarray(expected).tobytes())


DTYPES = [
    "<f4",
    ">f4",
    "|f4",
    "=f4",
    "f4",
    "f",
    "d",
    "e",
    "float32",
    "float64",
    "half",
    "double",
    "single",
    "float",
]
DTYPES += [
    "<i1",
    "|i1",
    "b",
    "B",
    "?",
    "|b1",
    "bool",
    "int",
    "int8",
    ">i2",
    "h",
    "i",
    "l",
    "q",
    "int64",
    "uint8",
    ">i8",
]


@pytest.mark.parametrize("descr", DTYPES)
def test_dtypes_in_every_spelling(descr: str, tmp_path: Path) -> None:
    dtype = np.dtype(descr)
    values = np.array([0, 1, 1, 0, 1, 1]).astype(dtype)
    content = npy(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': (6,)}}", values.tobytes())
    name, shape, data = read(tmp_path / "a.npy", content)
    assert (name, shape) == (dtype.name, (6,))
    assert ITEMSIZE[name] == dtype.itemsize
    assert data == values.astype(dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 6), (2, 3)])
def test_orders_and_shapes(shape: tuple[int, ...], order: bool, tmp_path: Path) -> None:
    values = np.arange(np.prod(shape, dtype=int), dtype=">i4")
    content = npy(
        f"{{'descr':'>i4','fortran_order':{order},'shape':{shape},}}".ljust(118) + "\n", values.tobytes()
    )
    expected = np.load(io.BytesIO(content))
    assert read(tmp_path / "a.npy", content) == ("int32", shape, expected.astype("<i4").tobytes("C"))


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [6]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (06,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2*3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),)}",
        "{'descr': '<f4\n', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': 4, 'fortran_order': False, 'shape': (6,)}",
        "{['descr']: '<f4', 'fortran_order': False, 'shape': (6,)}",
        "-" * 50_000 + "1",
        "[" * 50_000,
        "{" * 50_000,
        "'" * 50_001,
        "9" * 50_000,
        "",
    ],
    ids=range(19),
)
@pytest.mark.timeout(20)
def test_what_numpy_does_not_read(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has a header that numpy does not read"):
        read(tmp_path / "a.npy", npy(text, version=2))
    if len(text) < 1000:
        with pytest.raises((ValueError, TypeError, tokenize.TokenError)):
            np.load(io.BytesIO(npy(text, version=2)))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("ab'\"\\\n<é\x00", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("ab'\\", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@examples(100)
@given(plain)
def test_what_python_writes_is_read_as_python_reads_it(value: object) -> None:
    assert literal(repr(value)) == ast.literal_eval(repr(value)) == value


def test_folders_and_unknown_sizes_in_the_archive(tmp_path: Path) -> None:
    """As `zip -r` lists folders, and as a writer that cannot seek leaves the sizes for later."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", npy(HEADERS["Go"]))
        archive.writestr("inner/", b"")
        archive.writestr("inner/v.npy", npy(HEADERS["Fortran"]))
    (tmp_path / "a.npz").write_bytes(pipe.content)
    with SourceFile(tmp_path / "a.npz") as file:
        found = read_npz(file)
        assert {name: tensor.shape for name, tensor in found.tensors.items()} == {
            "w": (2, 3),
            "inner/v": (3, 2),
        }
        assert found.tensors["w"].tobytes() == VALUES.tobytes()


@pytest.mark.parametrize(
    "text", ["{'a': (2, 3)} # c", "{'a': # b\n (2, # c # d\n 3)}\n# e\n", "{'a': '# f'}"]
)
def test_comments_are_passed_over(text):
    assert literal(text) == ast.literal_eval(text)


def test_an_unknown_escape_stays_and_nothing_is_printed():
    assert literal(r"{'\h': '\x41'}") == {r"\h": "A"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_without_their_suffix_are_read_as_numpy_does(tmp_path, method):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("w", npy(HEADERS["Go"]))
        archive.writestr("v.npy", npy(HEADERS["Go"]))
    with np.load(path) as wanted, open_checkpoint(str(path)) as found:
        assert found.tensors.keys() == set(wanted.files)
        assert all(found.tensors[name].tobytes() == wanted[name].tobytes() for name in wanted.files)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("README", b"hello")
    with open_checkpoint(str(path)) as found:
        assert found.tensors.keys() == {"w", "v"}
        assert b"".join(map(bytes, found.other_values["README"].data.chunks())) == b"hello"
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("w.npy", npy(HEADERS["Go"]))
    with pytest.raises(BadInput, match="an array twice"):
        open_checkpoint(str(path))
