"""A ``.pth`` written without torch is torch's own, byte for byte, and loads every way torch can load one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters.files import CHUNK
from converters.formats.io.atomic import replacing
from converters.formats.io.output_stream import Output
from converters.formats.pytorch.writer import STORAGE, write_pth
from converters.tensor import ITEMSIZE, Repeated, Tensor
from tests.helpers import selection
from tests.helpers.budgets import examples
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ROOT = REPOSITORY
DTYPES = sorted(ITEMSIZE)
ID = "archive/.data/serialization_id"

same_layout = pytest.mark.skipif(
    torch.__version__.split(".")[:2] != ["2", "13"], reason="the bytes are those of torch 2.13's torch.save"
)


class Bytes:
    """Data that is in memory already."""

    def __init__(self, data: bytes, step: int = CHUNK):
        self.data = data
        self.step = step

    def chunks(self):
        for start in range(0, len(self.data), self.step):
            yield memoryview(self.data)[start : start + self.step]


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 256, (torch.Size(shape).numel() * ITEMSIZE[dtype],), generator=generator)
    if dtype == "bool":
        numbers %= 2
    return numbers.to(torch.uint8).view(getattr(torch, dtype)).reshape(shape)


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.reshape(-1).view(torch.uint8).numpy())


def lazy(state_dict) -> list[Tensor]:
    return [
        Tensor(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), Bytes(raw(tensor)))
        for name, tensor in state_dict.items()
    ]


def written(tensors, path: Path, **options) -> tuple[bytes, list[int]]:
    with replacing(path, force=True) as out:
        crcs = write_pth(out, tensors, **options)
    return path.read_bytes(), crcs


def saved(content: object) -> tuple[bytes, str]:
    """What torch.save writes, and its serialization id."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue(), zipfile.ZipFile(buffer).read(ID).decode()


def check_same_bytes(state_dict, path: Path) -> None:
    expected, identifier = saved(state_dict)
    got, _ = written(lazy(state_dict), path, serialization_id=identifier)
    assert got == expected
    # Without the id given: the same but for that record's 40 bytes and its CRC in two places.
    got, _ = written(lazy(state_dict), path)
    computed = zipfile.ZipFile(path).read(ID).decode()
    assert len(computed) == 40
    assert computed.isdecimal()
    assert computed[20:] == identifier[20:]
    crcs = [zlib.crc32(text.encode()).to_bytes(4, "little") for text in (computed, identifier)]
    assert got.replace(computed.encode(), identifier.encode()).replace(*crcs) == expected


def check_loads(path: Path, expected, key: str | None = None) -> None:
    for options in ({"weights_only": True}, {"weights_only": True, "mmap": True}, {"weights_only": False}):
        loaded = torch.load(path, **options)
        state_dict = loaded if key is None else loaded[key]
        assert type(state_dict) is OrderedDict
        assert list(state_dict) == list(expected)
        for name, tensor in expected.items():
            assert state_dict[name].dtype == tensor.dtype
            assert state_dict[name].shape == tensor.shape
            assert state_dict[name].stride() == tensor.contiguous().stride()
            assert raw(state_dict[name]) == raw(tensor)
            if "mmap" in options:
                assert state_dict[name].data_ptr() % 64 == 0


def check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    if shutil.which("unzip"):
        result = subprocess.run(["unzip", "-tq", path], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, ""), result.stdout


SHAPES = [
    (),
    (1,),
    (0,),
    (300,),
    (2, 3),
    (0, 3),
    (3, 0, 2),
    (4, 3, 2),
    (2, 1, 4, 5, 6),
    (1, 1, 1, 1, 1, 70_000),
]
MIXED = OrderedDict(
    (f"layer{number}.{dtype}.{'x'.join(map(str, shape))}", values(dtype, shape, number))
    for number, shape in enumerate(SHAPES)
    for dtype in DTYPES
)


def test_every_dtype_has_a_storage():
    assert STORAGE.keys() == ITEMSIZE.keys()


@same_layout
def test_same_bytes_as_torch_for_every_dtype_and_shape(tmp_path):
    check_same_bytes(MIXED, tmp_path / "out.pth")


@same_layout
@pytest.mark.parametrize(
    "count",
    selection.longest([0, 1, 2, 30, 999, 1000, 1001, 1002, 2000, 2001, 66_000], (66_000).__eq__),
)
def test_same_bytes_as_torch_for_any_number_of_tensors(tmp_path, count):
    """Around pickle's batches of 1,000, zip's 65,535 members and the widths of memo numbers."""
    state_dict = OrderedDict()
    for number in range(count):
        if number % 3 == 2:
            state_dict[f"bn{number}.num_batches_tracked"] = torch.tensor(number)
        else:
            state_dict[f"bn{number}.weight"] = torch.full((number % 7,), float(number))
    check_same_bytes(state_dict, tmp_path / "out.pth")


@same_layout
@examples(60)
@given(
    st.dictionaries(
        st.text(min_size=2, max_size=300),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 9), max_size=6).map(tuple)),
        max_size=8,
    )
)
def test_same_bytes_as_torch_for_any_names(tmp_path, entries):
    state_dict = OrderedDict((name, values(*entry)) for name, entry in entries.items())
    check_same_bytes(state_dict, tmp_path / "out.pth")


def test_loads_every_way(tmp_path):
    path = tmp_path / "out.pth"
    _, crcs = written(lazy(MIXED), path)
    assert crcs == [zlib.crc32(raw(tensor)) for tensor in MIXED.values()]
    check_loads(path, MIXED)
    check_zip(path)


def test_further_records(tmp_path):
    path = tmp_path / "out.pth"
    records = {"provenance.json": b'{"tool": "x"}', "notes/empty": b"", "zeros": b"\0" * 100_000}
    written(lazy(MIXED), path, records=records)
    check_loads(path, MIXED)
    check_zip(path)
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(f"archive/{name}") for name in records} == records

    asked = []

    def ask(crcs):
        asked.append(list(crcs))
        return {"crcs": str(crcs).encode()}

    _, crcs = written(lazy(MIXED), path, records=ask)
    assert asked == [crcs]
    assert zipfile.ZipFile(path).read("archive/crcs") == str(crcs).encode()


META = {
    "meta": {
        "config": "x = 1\n" * 50,
        "epoch": 3,
        "numbers": [
            0,
            255,
            256,
            65535,
            65536,
            -1,
            -129,
            2**31 - 1,
            2**31,
            -(2**31),
            -(2**31) - 1,
            10**30,
            2.5,
        ],
        "mean": (0.45, 0.45, 0.45),
        "nothing": [None, True, False, [], {}, (), "", {"deep": [{"er": 1}]}],
        "long": list(range(1001)),
        "table": {str(number): number for number in range(1001)},
        5: "number as key",
    },
    "epoch": 12,
}


@pytest.mark.parametrize("wrap", [{}, {"epoch": 1}, META])
@pytest.mark.parametrize("key", ["state_dict", "model_state"])
def test_wrapped(tmp_path, wrap, key):
    path = tmp_path / "out.pth"
    written(lazy(MIXED), path, wrap=wrap, key=key)
    check_loads(path, MIXED, key)
    check_zip(path)
    loaded = torch.load(path, weights_only=True)
    assert list(loaded) == [key, *wrap]
    assert {name: loaded[name] for name in wrap} == wrap


@same_layout
def test_wrapped_has_torch_s_bytes_too(tmp_path):
    state_dict = OrderedDict(ab=torch.zeros(3))
    wrap = {"meta": {"version": "1.0", "numbers": [1, 2.5], "on": True}, "epoch": 70_000}
    expected, identifier = saved({"state_dict": state_dict, **wrap})
    got, _ = written(lazy(state_dict), tmp_path / "out", wrap=wrap, serialization_id=identifier)
    assert got == expected


def test_same_input_same_bytes_and_other_input_another_id(tmp_path):
    first, _ = written(lazy(MIXED), tmp_path / "a.pth", records={"r": b"1"})
    again, _ = written(lazy(MIXED), tmp_path / "b.pth", records={"r": b"1"})
    assert first == again
    identifiers = {zipfile.ZipFile(tmp_path / "a.pth").read(ID)}
    changed = OrderedDict(MIXED)
    changed[next(reversed(changed))] = changed[next(reversed(changed))].clone().fill_(1)
    written(lazy(changed), tmp_path / "b.pth", records={"r": b"1"})
    identifiers.add(zipfile.ZipFile(tmp_path / "b.pth").read(ID))
    written(lazy(MIXED), tmp_path / "b.pth", records={"s": b"1"})
    identifiers.add(zipfile.ZipFile(tmp_path / "b.pth").read(ID))
    assert len(identifiers) == 3


def test_the_size_of_the_pieces_does_not_matter(tmp_path):
    data = os.urandom(100_000)
    files = {
        written([Tensor("w", "uint8", (100_000,), Bytes(data, step))], tmp_path / "out.pth")[0]
        for step in (1000, 32_768, 99_999, 100_000)
    }
    assert len(files) == 1


def test_progress_counts_the_data(tmp_path):
    moved = []
    written(lazy(MIXED), tmp_path / "out.pth", progress=moved.append)
    assert sum(moved) == sum(tensor.nbytes for tensor in lazy(MIXED))


@pytest.mark.parametrize(
    ("tensors", "options", "error"),
    [
        ([Tensor("a", "int8", (3,), Bytes(b"12"))], {}, "a: 2 bytes of data, 3 by its shape"),
        ([Tensor("a", "int8", (), Bytes(b"12"))], {}, "a: 2 bytes of data, 1 by its shape"),
        ([Tensor("a", "int8", (), Bytes(b"1"))] * 2, {}, "occurs twice"),
        ([], {"records": {"data.pkl": b""}}, "the format's own"),
        ([], {"records": {"data/0": b""}}, "the format's own"),
        ([], {"records": {"version": b""}}, "the format's own"),
        ([], {"records": {"ünicode": b""}}, "not named in ASCII"),
        ([], {"wrap": {"state_dict": 1}}, "own key"),
        ([], {"wrap": {"meta": 2**3000}}, "255 bytes"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, tensors, options, error):
    with pytest.raises(ValueError, match=error):
        written(tensors, tmp_path / "out.pth", **options)
    assert os.listdir(tmp_path) == []


def test_only_plain_data_around_a_state_dict(tmp_path):
    with pytest.raises(TypeError, match="plain data, not PosixPath"):
        written([], tmp_path / "out.pth", wrap={"meta": [tmp_path]})


def test_neither_torch_nor_numpy_is_imported(tmp_path):
    code = """
import sys
from converters.tensor import Repeated, Tensor
from converters.formats.io.atomic import replacing
from converters.formats.pytorch.writer import write_pth
from converters.formats.safetensors.writer import write_safetensors
tensors = [Tensor("a", "float32", (100, 1000), Repeated(b"abcd", 100_000))]
with replacing(sys.argv[1] + "/a.pth") as out:
    write_pth(out, tensors)
with replacing(sys.argv[1] + "/a.safetensors") as out:
    write_safetensors(out, tensors, metadata={})
heavy = {"torch", "numpy", "pathlib", "tempfile", "shutil", "zipfile", "pickle", "hashlib"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-S", "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
    assert torch.load(tmp_path / "a.pth")["a"].shape == (100, 1000)


# --- over 4 GB


class Sparse(Output):
    """Leaves holes where zeros would stand."""

    def write(self, piece):
        if len(piece) == CHUNK and piece[0] == 0:
            self.flush()
            os.lseek(self._fd, CHUNK, os.SEEK_CUR)
            self.position += CHUNK
        else:
            super().write(piece)


@same_layout
def test_zip64_records_are_torch_s(tmp_path):
    """torch writes the layout of huge tensors without their data, and so do we: 13 GB of holes."""
    sizes = [3, 2**32 - 2, 5, 2**32 - 1, 0, 2**32, 7]
    names = [f"tensor{number}" for number in range(len(sizes))]
    with torch.serialization.skip_data():
        torch.save(
            OrderedDict(
                (name, torch.empty(size, dtype=torch.uint8)) for name, size in zip(names, sizes, strict=True)
            ),
            tmp_path / "archive.pth",
        )
    identifier = zipfile.ZipFile(tmp_path / "archive.pth").read(ID).decode()

    def crc(data, value):
        return 0 if data[0] == 0 else zlib.crc32(data, value)  # torch has 0 for what it left out

    with open(tmp_path / "ours.pth", "wb", buffering=0) as file:
        out = Sparse(file.fileno(), "ours.pth")
        tensors = [
            Tensor(name, "uint8", (size,), Repeated(b"\0", size))
            for name, size in zip(names, sizes, strict=True)
        ]
        write_pth(out, tensors, crc=crc, serialization_id=identifier)
        out.flush()
    assert (tmp_path / "ours.pth").stat().st_size == (tmp_path / "archive.pth").stat().st_size > 3 * 2**32
    with zipfile.ZipFile(tmp_path / "ours.pth") as archive:
        places = [info.header_offset for info in archive.infolist()]
        assert [info.file_size for info in archive.infolist()][4:-2] == sizes
    with open(tmp_path / "ours.pth", "rb") as ours, open(tmp_path / "archive.pth", "rb") as theirs:
        for place in places:
            for file in (ours, theirs):
                file.seek(max(0, place - 1000))
            assert ours.read(2000) == theirs.read(2000)
        assert ours.read() == theirs.read()


@pytest.mark.full
def test_a_real_file_over_4_gb(tmp_path):
    path = tmp_path / "out.pth"
    size = 2**30 + 10
    tensors = [
        Tensor("first", "float32", (3,), Repeated(b"\0\0\x80?", 3)),
        Tensor("large", "float32", (2, size // 2), Repeated(b"\0\0\0@", size)),
        Tensor("last", "int16", (5,), Repeated(b"\7\0", 5)),
    ]
    try:
        with open(path, "wb", buffering=0) as file:
            out = Output(file.fileno(), str(path))
            write_pth(out, tensors, records={"provenance.json": b"{}"})
            out.flush()
        assert path.stat().st_size > 2**32
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert archive.read("archive/provenance.json") == b"{}"
        loaded = torch.load(path, weights_only=True, mmap=True)
        assert loaded["first"].tolist() == [1.0] * 3
        assert loaded["last"].tolist() == [7] * 5
        assert loaded["large"].shape == (2, size // 2)
        assert loaded["large"][0, 0] == loaded["large"][-1, -1] == 2.0
        assert all(tensor.data_ptr() % 64 == 0 for tensor in loaded.values())
    finally:
        path.unlink(missing_ok=True)
