"""What a ``.pth`` holds is confirmed without evaluating its pickle, and nothing else is confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.errors import BadInput
from converters.formats.format import Wrapper
from converters.formats.io.atomic import replacing
from converters.formats.pytorch.confirmer import confirm
from converters.formats.pytorch.writer import write_pth
from converters.tensor import Held, Tensor

TENSORS = [
    Tensor("conv.weight", "float32", (2, 3), Held(bytes(24))),
    Tensor("bn.num_batches_tracked", "int64", (), Held(bytes(8))),
    Tensor("empty", "float16", (0, 3), Held(b"")),
]


@pytest.fixture
def path(tmp_path) -> str:
    with replacing(tmp_path / "x.pth") as out:
        write_pth(out, TENSORS)
    return str(tmp_path / "x.pth")


def test_what_was_written_is_confirmed(path, tmp_path):
    assert confirm(path, TENSORS, None)
    wrapper = Wrapper("state_dict", {"meta": {"epoch": 3}})
    with replacing(tmp_path / "wrapped.pth") as out:
        write_pth(out, TENSORS, wrap=wrapper.entries, key=wrapper.key)
    assert confirm(str(tmp_path / "wrapped.pth"), TENSORS, wrapper)
    assert not confirm(str(tmp_path / "wrapped.pth"), TENSORS, None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "conv.weights"},
        {"shape": (3, 2)},
        {"shape": (6,)},
        {"dtype": "int32"},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_another_name_shape_or_dtype_is_not_confirmed(path, change):
    assert not confirm(path, [TENSORS[0]._replace(**change), *TENSORS[1:]], None)


def test_neither_another_order_nor_another_number(path):
    assert not confirm(path, TENSORS[::-1], None)
    assert not confirm(path, TENSORS[:2], None)
    assert not confirm(path, [*TENSORS, TENSORS[0]._replace(name="more")], None)


def test_a_name_that_the_reader_keeps_in_the_file_is_left_to_the_reader(tmp_path):
    tensors = [TENSORS[0]._replace(name="x" * 256)]
    with replacing(tmp_path / "x.pth") as out:
        write_pth(out, tensors)
    assert not confirm(str(tmp_path / "x.pth"), tensors, None)


def test_a_pickle_or_a_directory_that_was_changed_is_not_confirmed(path):
    whole = Path(path).read_bytes()
    start = whole.index(b"\x80\2ccollections")
    end = whole.index(b"PK\7\b", start)
    for place in range(start, end):
        Path(path).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not confirm(path, TENSORS, None), place
    Path(path).write_bytes(whole[:-30])
    with pytest.raises(BadInput):
        confirm(path, TENSORS, None)
