"""Work and memory stay in proportion: an input of twice the size takes at most twice as much, counted in function
calls and in bytes held at the same time."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from converters.batches.manifest import load_manifest
from converters.batches.results import parse_line
from converters.errors import ConverterError
from converters.formats.open import open_checkpoint
from converters.formats.provenance_record import parse_provenance
from converters.formats.registry import formats
from converters.mapping.user_mapping import load_mapping
from tests.helpers.growing_files import FORMATS, NAMES
from tests.helpers.growing_structures import FILES
from tests.helpers.growing_tables import TABLES
from tests.helpers.proportion import Cost, cost, superlinear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SIZES = (50, 100, 200)
SLACK = Cost(300, 256_000)
"""Calls and bytes that do not count: what grows in steps, such as dictionaries and buffers."""
SAME_READER = {"caffe-hdf5": "hdf5", "chainer-hdf5": "hdf5", "arrays-hdf5": "hdf5"} | dict.fromkeys(
    ("npz", "arrays-npz", "nested-npz"), "npz"
)
"""Formats whose files are those of another, under other names."""


def opened(path: Path) -> None:
    with open_checkpoint(str(path)) as checkpoint:
        list(checkpoint.tensors)


def in_proportion(write: Callable[[int], Path], read: Callable[[Path], None], sizes: Sequence[int]) -> str:
    """What grows faster than the file, if anything does. The first run imports modules, and does not count."""

    def take(path: Path) -> None:
        with suppress(ConverterError):
            read(path)

    take(write(sizes[0]))
    costs = []
    for size in sizes:
        path = write(size)
        costs.append(cost(lambda path=path: take(path)))
    return superlinear(costs, SLACK)


def files(names: Sequence[str]) -> list[pytest.param]:
    return [
        pytest.param(
            lambda folder, n, write=write, grow=NAMES[name]: write(folder, grow(n)), id=f"{kind}-{name}"
        )
        for kind, write in FORMATS.items()
        for name in names
    ]


@pytest.mark.parametrize(
    "write", [*files(["entries"]), *(pytest.param(one, id=name) for name, one in FILES.items())]
)
def test_a_file_is_opened_in_proportion(write, tmp_path: Path) -> None:
    assert not in_proportion(lambda size: write(tmp_path, size), opened, SIZES)


@pytest.mark.full
@pytest.mark.parametrize("write", files([*NAMES][1:]))
def test_names_of_every_kind_are_read_in_proportion(write, tmp_path: Path) -> None:
    assert not in_proportion(lambda size: write(tmp_path, size), opened, SIZES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_in_proportion(name: str, tmp_path: Path) -> None:
    def write(size: int) -> Path:
        path = tmp_path / "a.toml"
        path.write_text(TABLES[name](size))
        return path

    def result(path: Path) -> None:
        line = path.read_bytes()
        parse_line(b"%08x %s\n" % (zlib.crc32(line), line))

    read = {
        "manifest": load_manifest,
        "mapping": lambda path: load_mapping(str(path)),
        "record": lambda path: parse_provenance(path.read_text(), "x"),
        "result": result,
    }[name.partition("_")[0]]
    assert not in_proportion(write, read, SIZES)


def test_there_is_a_growing_file_of_every_format() -> None:
    names = {record.name for record in formats()}
    assert {SAME_READER.get(name, name) for name in names} <= {*FORMATS}


@pytest.mark.parametrize("planted", ["calls", "memory"])
def test_what_grows_faster_is_seen(planted: str, tmp_path: Path) -> None:
    def read(path: Path) -> None:
        size = len(path.read_bytes())
        for _ in range(size * size if planted == "calls" else 0):
            len("")
        bytearray(size * size * 100 if planted == "memory" else 0)

    def write(size: int) -> Path:
        (tmp_path / "a").write_bytes(bytes(size))
        return tmp_path / "a"

    assert in_proportion(write, read, SIZES).startswith(planted)
