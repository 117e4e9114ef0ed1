"""Work and memory stay in proportion: an input of twice the size takes at most twice as much, counted in function
calls and in bytes held at the same time."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from converters import convert, diff, inspect
from converters.batches.manifest import load_manifest
from converters.batches.results import parse_line
from converters.errors import ConverterError
from converters.formats.open import open_checkpoint
from converters.formats.provenance_record import parse_provenance
from converters.formats.registry import formats
from converters.mapping.user_mapping import load_mapping
from converters.reports.terminal.inspection import inspection_text
from converters.suggestion import nearest
from converters.suggestion.suggest import suggest
from tests.helpers.growing_files import FORMATS, NAMES, safetensors
from tests.helpers.growing_pairs import PAIRS
from tests.helpers.growing_structures import FILES
from tests.helpers.growing_tables import TABLES
from tests.helpers.proportion import Cost, cost, more_than_doubled, superlinear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SIZES = (50, 100, 200)
LARGE = (400, 800)
"""Tensors of files that are compared with all networks: fewer tensors are compared with fewer networks."""
SLACK = Cost(300, 256_000)
"""Calls and bytes that do not count: what grows in steps, such as dictionaries and buffers."""
SAME_READER = {"caffe-hdf5": "hdf5", "chainer-hdf5": "hdf5", "arrays-hdf5": "hdf5"} | dict.fromkeys(
    ("npz", "arrays-npz", "nested-npz"), "npz"
)
"""Formats whose files are those of another, under other names."""


def opened(path: Path) -> None:
    with open_checkpoint(str(path)) as checkpoint:
        list(checkpoint.tensors)


def costs(write: Callable[[int], Path], read: Callable[[Path], None], sizes: Sequence[int]) -> list[Cost]:
    """What reading a file of each size takes. The first run imports modules, and does not count."""

    def take(path: Path) -> None:
        with suppress(ConverterError):
            read(path)

    take(write(sizes[0]))
    found = []
    for size in sizes:
        path = write(size)
        found.append(cost(lambda path=path: take(path)))
    return found


def in_proportion(write: Callable[[int], Path], read: Callable[[Path], None]) -> str:
    """What grows faster than the file, if anything does."""
    return superlinear(costs(write, read, SIZES), SLACK)


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
    assert not in_proportion(lambda size: write(tmp_path, size), opened)


@pytest.mark.full
@pytest.mark.parametrize("write", files([*NAMES][1:]))
def test_names_of_every_kind_are_read_in_proportion(write, tmp_path: Path) -> None:
    assert not in_proportion(lambda size: write(tmp_path, size), opened)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_in_proportion(name: str, tmp_path: Path) -> None:
    def write(size: int) -> Path:
        path = tmp_path / "a.toml"
        path.write_text(TABLES[name](size))
        return path

    def result(path: Path) -> None:
        text = path.read_bytes()
        assert parse_line(b'{"crc32":"%08x","row":%s}\n' % (zlib.crc32(text), text))

    read = {
        "manifest": load_manifest,
        "mapping": lambda path: load_mapping(str(path)),
        "record": lambda path: parse_provenance(path.read_text(), "x"),
        "result": result,
    }[name.partition("_")[0]]
    assert not in_proportion(write, read)


VERBS = {
    "inspect": lambda path, _other: inspection_text(inspect(path)),
    "convert": lambda path, _other: convert(path, path.with_name("out.pth"), dry_run=True),
    "diff": diff,
}


OFTEN = {
    "inspect": ("pth", "caffe", "mxnet"),
    "convert": ("pth", "caffe", "mxnet"),
    "diff": ("pth", "onnx", "tensorflow", "caffe", "hdf5", "mxnet"),
}
"""The kinds of file that are not left to `make test-full`: a verb does the same with all that it has opened."""


@pytest.mark.full
@pytest.mark.parametrize(
    ("verb", "kind", "name"),
    [
        *((verb, "safetensors", "numbered") for verb in VERBS),
        *(
            pytest.param(verb, kind, "entries", marks=() if kind in kinds else pytest.mark.long)
            for verb, kinds in OFTEN.items()
            for kind in FORMATS
        ),
    ],
)
def test_a_verb_works_in_proportion(verb: str, kind: str, name: str, tmp_path: Path) -> None:
    """The second file has the first one's values under other names."""

    def write(size: int) -> Path:
        arrays = NAMES[name](size)
        for folder, end in (("a", ""), ("b", "2")):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = FORMATS[kind](tmp_path / folder, {key + end: array for key, array in arrays.items()})
        return tmp_path / "a" / path.name

    def read(path: Path) -> None:
        VERBS[verb](path, tmp_path / "b" / path.name)

    assert not more_than_doubled(*costs(write, read, LARGE), SLACK)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("vectors", "words") else pytest.mark.full) for name in PAIRS],
)
def test_a_mapping_is_proposed_in_proportion(name: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nearest, "MOST", 8)

    def write(size: int) -> Path:
        for side, stem in enumerate("ab"):
            (tmp_path / stem).mkdir(exist_ok=True)
            safetensors(tmp_path / stem, PAIRS[name](size, side))
        return tmp_path / "a" / "a.safetensors"

    def propose(path: Path) -> None:
        suggest(path, tmp_path / "b" / "a.safetensors", tmp_path / "map.toml", force=True)

    assert not in_proportion(write, propose)


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

    assert in_proportion(write, read).startswith(planted)
