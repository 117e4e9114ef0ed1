"""HDF5 as other writers leave it: values that were never written, blocks in front, odd datasets among good ones."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.hdf5.reader import Hdf5File, read_hdf5
from converters.formats.open import open_checkpoint
from converters.tensor import FileBytes
from tests.helpers.budgets import examples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

h5py = pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")

GOOD = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def read(path: Path) -> tuple[Hdf5File, dict[str, np.ndarray]]:
    with SourceFile(path) as file:
        found = read_hdf5(file)
        values = {
            name: np.frombuffer(one.tobytes(), one.dtype).reshape(one.shape)
            for name, one in found.tensors.items()
        }
    return found, values


def same_as_h5py(path: Path) -> dict[str, np.ndarray]:
    """The values, which are those that h5py reads."""
    _, values = read(path)
    with h5py.File(path, "r") as file:
        for name, array in values.items():
            assert np.array_equal(array, file[name][()]), name
    return values


# Never written


def low(file, name: str, *, chunk: tuple[int, ...] = (), time: int = h5py.h5d.FILL_TIME_NEVER) -> None:
    """A dataset by HDF5's own interface, whose fill value is never written."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_fill_time(time)
    if chunk:
        settings.set_chunk(chunk)
    space = h5py.h5s.create_simple((3, 4))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32BE, space, settings)


UNWRITTEN: dict[str, Callable] = {
    "contiguous": lambda file: file.create_dataset("w", (3, 4), "f4"),
    "a fill value": lambda file: file.create_dataset("w", (3, 4), "f4", fillvalue=2.5),
    "big-endian": lambda file: file.create_dataset("w", (3, 4), ">f8", fillvalue=-1.25),
    "integers": lambda file: file.create_dataset("w", (3, 4), "i2", fillvalue=-7),
    "bool": lambda file: file.create_dataset("w", (3, 4), "?", fillvalue=True),
    "scalar": lambda file: file.create_dataset("w", (), "f4", fillvalue=3),
    "no chunks": lambda file: file.create_dataset("w", (10, 10), "f4", chunks=(3, 3), fillvalue=7),
    "no elements": lambda file: file.create_dataset("w", (0, 4), "f4", maxshape=(None, 4)),
    "gzip": lambda file: file.create_dataset("w", (99, 99), "f4", chunks=(10, 10), compression="gzip"),
    "never filled": lambda file: low(file, "w"),
    "never filled chunks": lambda file: low(file, "w", chunk=(2, 2)),
    "filled if set": lambda file: low(file, "w", time=h5py.h5d.FILL_TIME_IFSET),
    "early": lambda file: file.create_dataset("w", (3, 4), "f4", fillvalue=4, track_times=False),
}


def test_values_that_were_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for case, make in UNWRITTEN.items():
            make(file.create_group(case))
        file["good"] = GOOD
    assert same_as_h5py(tmp_path / "a.h5").keys() == {"good", *(f"{case}/w" for case in UNWRITTEN)}


def test_some_chunks_only(tmp_path: Path) -> None:
    places = [np.s_[:3, :3], np.s_[9:, 9:], np.s_[4, :], np.s_[:, :]]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for compression, (number, place) in product([None, "gzip"], enumerate(places)):
            options = {"chunks": (3, 4), "fillvalue": 0.5, "compression": compression}
            file.create_dataset(f"{compression}{number}", (10, 10), "f4", **options)[place] = 9
        file.create_dataset("grown", (2, 5), "f4", maxshape=(None, 5), chunks=(2, 5))[:] = 1
        file["grown"].resize((7, 5))
    same_as_h5py(tmp_path / "a.h5")


def test_a_file_may_not_ask_for_much_that_was_never_written(tmp_path: Path) -> None:
    """Neither in one dataset nor in many."""
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("w", (20_000_000,), "f4")
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for index in range(40):
            file.create_dataset(f"w{index}", (1_000_000,), "f4")
    for name in ("one", "many"):
        with pytest.raises(BadInput, match="has 0 bytes for an array of"):
            read(tmp_path / f"{name}.h5")


# A block of the user in front


@pytest.mark.parametrize(
    ("size", "fill"),
    [
        (512, b""),
        (512, b"MATLAB 7.3 MAT-file, Platform: GLNXA64"),
        (1024, b"<html>"),
        (4096, b"\x08\x07\x12"),
        (65536, b"\xff\xfe"),
    ],
)
def test_a_user_block(size: int, fill: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=size) as file:
        file["w"] = GOOD
        file.create_dataset("packed", data=GOOD, compression="gzip")
        file.create_dataset("unwritten", (3,), "f4", fillvalue=2)
    with path.open("r+b") as raw:
        raw.write(fill)
    same_as_h5py(path)
    with SourceFile(path) as file:
        assert isinstance(read_hdf5(file).tensors["w"].data, FileBytes)
    with open_checkpoint(str(path)) as checkpoint:
        assert "HDF5" in checkpoint.container


# Odd datasets among good ones


def compound(file) -> None:
    file["odd"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def virtual(file) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", shape=(3,))
    file.create_virtual_dataset("odd", layout)


def time_type(file) -> None:
    space = h5py.h5s.create_simple((2,))
    h5py.h5d.create(file.id, b"odd", h5py.h5t.UNIX_D32LE, space)


def many_chunks(file) -> None:
    file.create_dataset("odd", (9_000_000,), "f4", chunks=(9_000_000,), compression="gzip")[:3] = 1


ODD: dict[str, tuple[Callable, str]] = {
    "texts": (lambda file: file.__setitem__("odd", ["a", "b"]), "text"),
    "fixed texts": (lambda file: file.__setitem__("odd", np.array([b"a", b"bc"])), "text"),
    "compound": (compound, "compound"),
    "references": (lambda file: file.create_dataset("odd", (1,), h5py.ref_dtype), "object references"),
    "enumeration": (
        lambda file: file.create_dataset("odd", (2,), h5py.enum_dtype({"a": 1}, "i1")),
        "enumeration",
    ),
    "lists": (lambda file: file.create_dataset("odd", (2,), h5py.vlen_dtype("f4")), "lists"),
    "opaque": (lambda file: file.create_dataset("odd", data=np.zeros(2, "V5")), "opaque bytes"),
    "complex": (lambda file: file.__setitem__("odd", np.zeros(2, "c8")), "complex64"),
    "unsigned": (lambda file: file.__setitem__("odd", np.zeros(2, "u4")), "uint32"),
    "times": (time_type, "elements of a type that numpy does not have"),
    "external link": (
        lambda file: file.__setitem__("odd", h5py.ExternalLink("x.h5", "/w")),
        "link that refers",
    ),
    "soft link": (lambda file: file.__setitem__("odd", h5py.SoftLink("/good")), "link that refers"),
    "dangling link": (lambda file: file.__setitem__("odd", h5py.SoftLink("/none")), "link that refers"),
    "external storage": (
        lambda file: file.create_dataset("odd", (3,), "f4", external=[("raw", 0, 12)]),
        "float32 with its values in another file",
    ),
    "virtual": (virtual, "float32 with its values in another file"),
    "another filter": (
        lambda file: file.create_dataset("odd", data=np.zeros(9999, "f4"), compression="lzf"),
        "float32 compressed by filter 32000, which is not read",
    ),
    "large chunks": (many_chunks, "float32 in chunks of more than 32 MiB"),
}


def test_odd_datasets_are_named_and_not_fatal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for case, (make, _) in ODD.items():
            make(file.create_group(case))
        file["good"] = GOOD
        file["also/good"] = GOOD + 1
    found, values = read(tmp_path / "a.h5")
    assert values.keys() == {"good", "also/good"}
    assert np.array_equal(values["good"], GOOD)
    for case, (_, kind) in ODD.items():
        assert found.other_values[f"{case}/odd"].kind.startswith(kind)
    with open_checkpoint(str(tmp_path / "a.h5")) as checkpoint:
        assert {f"{case}/odd" for case in ODD} <= checkpoint.other_values.keys()


def test_what_the_bytes_of_odd_datasets_do_not_show(tmp_path: Path) -> None:
    """Other fields, other names of values and another byte order make another value, or the same."""

    def other(value: np.ndarray, dtype=None) -> tuple[str, bytes]:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("odd", data=value, dtype=dtype)
        with SourceFile(tmp_path / "a.h5") as file:
            odd = read_hdf5(file).other_values["odd"]
            return odd.kind, b"".join(map(bytes, odd.data.chunks()))

    zeros = np.zeros(2, [("a", "f4")])
    assert other(zeros) != other(np.zeros(2, [("b", "f4")]))
    small = np.zeros(2, "i1")
    assert other(small, h5py.enum_dtype({"a": 0}, "i1")) != other(small, h5py.enum_dtype({"b": 0}, "i1"))
    numbers = np.array([1, 2], "<u4")
    assert other(numbers) == other(numbers.astype(">u4"))
    assert other(numbers) != other(numbers.byteswap())


def test_types_that_libhdf5_converts(tmp_path: Path) -> None:
    """Floats and integers whose bits are not numpy's: as h5py converts them, not as they are in the file."""
    half = h5py.h5t.IEEE_F32LE.copy()
    half.set_fields(15, 7, 8, 0, 7)
    half.set_size(2)
    half.set_ebias(127)
    few = h5py.h5t.STD_I32LE.copy()
    few.set_precision(24)
    few.set_offset(8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, kind in (("brain", half), ("few", few), ("vax", h5py.h5t.IEEE_F64BE)):
            space = h5py.h5s.create_simple((3, 4))
            dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, (GOOD * 64).astype("i4").astype("f4"))
    values = same_as_h5py(tmp_path / "a.h5")
    assert values["few"].tolist() == (GOOD * 64).astype("i4").tolist()


DATASET = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.sampled_from(["<f4", ">f4", "<f8", ">i2", "i1", "?"]),
    st.floats(0, 1),
    st.sampled_from([None, "gzip"]),
    st.booleans(),
)


@examples(4)
@given(datasets=st.lists(DATASET, min_size=1, max_size=20))
def test_any_dataset_is_read_as_h5py_reads_it(tmp_path_factory, datasets) -> None:
    path = tmp_path_factory.getbasetemp() / "any.h5"
    with h5py.File(path, "w") as file:
        for number, (shape, dtype, written, compression, chunked) in enumerate(datasets):
            options = {"compression": compression, "fillvalue": 1}
            if chunked or compression:
                options["chunks"] = tuple(max(1, size // 2) for size in shape)
            dataset = file.create_dataset(f"w{number}", shape, dtype, **options)
            rows = round(written * shape[0])
            if rows:
                dataset[:rows] = np.random.default_rng(rows).integers(0, 2, (rows, *shape[1:])).astype(dtype)
    same_as_h5py(path)
