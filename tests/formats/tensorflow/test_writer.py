"""The writer of TensorFlow checkpoints: the bytes of real files, and what our reader makes of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import Refused
from converters.files import SourceFile
from converters.formats.tensorflow import checkpoint_names
from converters.formats.tensorflow.reader import read_tensorflow, verify_crcs
from converters.formats.tensorflow.sstable import read_table
from converters.formats.tensorflow.writer import write_table, write_tensorflow
from converters.tensor import ITEMSIZE, FileBytes, Repeated, Tensor
from tests.helpers import i3d_tables
from tests.helpers.budgets import examples
from tests.helpers.tensorflow_files import FIXTURES, Memory, contents, fixtures, values

if TYPE_CHECKING:
    from pathlib import Path


class Bytes:
    """Data in memory, in pieces."""

    def __init__(self, content: bytes, piece: int = 7) -> None:
        self.content = content
        self.piece = piece

    def chunks(self):
        for start in range(0, len(self.content), self.piece):
            yield memoryview(self.content)[start : start + self.piece]


def written(tensors: list[Tensor], folder: Path) -> str:
    """The prefix of a checkpoint with these tensors."""
    prefix = str(folder / "out.ckpt")
    outs = Memory(), Memory()
    write_tensorflow(*outs, tensors)
    for name, out in zip(checkpoint_names(prefix), outs, strict=True):
        with open(name, "wb") as file:
            file.write(out.getvalue())
    return prefix


def some(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, dtype, shape, Bytes(values(name, dtype, shape)))


@pytest.mark.parametrize(
    "path",
    [
        *sorted(i3d_tables.INDEXES.glob("[!h]*.index")),
        *sorted(path for path in FIXTURES.rglob("*.index") if path.name != "snappy.index"),
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_an_index_comes_out_as_tensorflow_wrote_it(path: Path) -> None:
    with SourceFile(path) as file:
        rows = [(one.key, bytes(one.value)) for one in read_table(file)]
        out = Memory()
        write_table(out, rows)
        assert out.getvalue() == file.read_at(0, file.size)


@pytest.mark.parametrize("name", ["trained", "saved_model"])
def test_a_whole_checkpoint_comes_out_as_tensorflow_wrote_it(name: str, tmp_path) -> None:
    with read_tensorflow(str(FIXTURES / name)) as checkpoint:
        prefix = written(list(reversed(checkpoint.tensors.values())), tmp_path)
        for name, original in zip(
            checkpoint_names(prefix), (checkpoint.files[1], checkpoint.files[0]), strict=True
        ):
            with open(name, "rb") as file:
                assert file.read() == original.read_at(0, original.size)


def test_every_dtype(tmp_path) -> None:
    table = fixtures()["every"]
    with read_tensorflow(
        written([some(name, *kind) for name, kind in table.items()], tmp_path)
    ) as checkpoint:
        assert contents(checkpoint.tensors) == {
            name: (*kind, values(name, *kind)) for name, kind in table.items()
        }
        assert {dtype for dtype, _ in table.values()} == set(ITEMSIZE)
        verify_crcs(checkpoint)
        assert checkpoint.other_values == {}


def test_keys_of_several_blocks(tmp_path) -> None:
    """More names than one block holds: 256 KiB of what keys have other than the ones before them."""
    tensors = [
        Tensor(f"{'scope/' * 8}{number * 7919:08d}", "int8", (1,), Repeated(b"\5", 1))
        for number in range(9000)
    ]
    prefix = written(tensors, tmp_path)
    with SourceFile(f"{prefix}.index") as file:
        assert len({one.block.offset for one in read_table(file)}) == 2
    with read_tensorflow(prefix) as checkpoint:
        assert set(checkpoint.tensors) == {tensor.name for tensor in tensors}


def test_nothing_at_all(tmp_path) -> None:
    with read_tensorflow(written([], tmp_path)) as checkpoint:
        assert checkpoint.tensors == {}


def test_a_large_tensor(tmp_path) -> None:
    """More than is folded at once."""
    content = os.urandom(1_000_004)
    large = Tensor("large", "float32", (250_001,), Bytes(content, 131_077))
    with read_tensorflow(written([large, some("small", "int8", (3,))], tmp_path)) as checkpoint:
        assert isinstance(checkpoint.tensors["small"].data.file, SourceFile)
        assert checkpoint.tensors["large"].tobytes() == content


def test_progress_counts_all_bytes() -> None:
    seen: list[int] = []
    write_tensorflow(
        Memory(), Memory(), [some("a", "float32", (5, 5)), some("b", "int64", ())], progress=seen.append
    )
    assert sum(seen) == 108


@pytest.mark.parametrize("name", ["", "\0x", "lone \ud800"])
def test_names_that_no_checkpoint_has(name: str) -> None:
    with pytest.raises(Refused, match="cannot have this name"):
        write_tensorflow(Memory(), Memory(), [Tensor(name, "int8", (1,), Repeated(b"\0", 1))])


def test_a_name_twice() -> None:
    one = some("x", "int8", (2,))
    with pytest.raises(ValueError, match="x: the name occurs twice"):
        write_tensorflow(Memory(), Memory(), [one, one])


def test_data_of_another_length() -> None:
    with pytest.raises(ValueError, match="x: 3 bytes of data, 4 by its shape"):
        write_tensorflow(Memory(), Memory(), [Tensor("x", "int8", (4,), Bytes(b"abc"))])


def test_a_source_that_is_cut_meanwhile(tmp_path) -> None:
    (tmp_path / "source").write_bytes(bytes(100))
    with SourceFile(tmp_path / "source") as file:
        tensor = Tensor("x", "int8", (100,), FileBytes(file, 0, 100))
        os.truncate(tmp_path / "source", 50)
        with pytest.raises(Exception, match="ends early"):
            write_tensorflow(Memory(), Memory(), [tensor])


@examples(100)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda name: name[0] != "\0"),
        st.tuples(st.sampled_from(sorted(ITEMSIZE)), st.lists(st.integers(0, 4), max_size=4)),
        max_size=40,
    )
)
def test_any_names_and_shapes(table: dict) -> None:
    import tempfile
    from pathlib import Path

    tensors = [some(name, dtype, tuple(shape)) for name, (dtype, shape) in table.items()]
    with (
        tempfile.TemporaryDirectory() as folder,
        read_tensorflow(written(tensors, Path(folder))) as checkpoint,
    ):
        assert contents(checkpoint.tensors) == contents({tensor.name: tensor for tensor in tensors})
        assert list(checkpoint.tensors) == sorted(table, key=str.encode)
