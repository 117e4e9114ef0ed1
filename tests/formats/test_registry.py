"""Every format's record, and what is read off the records."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import signature

import pytest

from converters.errors import BadInput, UsageError
from converters.formats import sniff
from converters.formats.open import open_checkpoint
from converters.formats.registry import (
    format_named,
    formats,
    formats_for,
    layout_formats,
    titles,
    usual_suffix,
)
from converters.mapping.layout_tables import load_layout
from converters.mapping.table_files import layout_names
from tests.helpers.paths import REPOSITORY


@pytest.mark.parametrize("record", formats(), ids=lambda record: record.name)
def test_a_record_names_functions_that_take_what_they_are_given(record):
    for path, count in ((record.opener, 3), (record.writer, 2)):
        module, _, name = path.rpartition(".")
        assert len(signature(getattr(import_module(module), name)).parameters) == count


def test_names_and_suffixes_are_unique_for_every_layout_format():
    names = [record.name for record in formats()]
    assert len(names) == len(set(names))
    for layout_format in layout_formats():
        suffixes = [suffix for record in formats_for(layout_format) for suffix in record.suffixes]
        assert len(suffixes) == len(set(suffixes))
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)


def test_every_kind_of_a_record_is_one_that_is_recognised():
    for record in formats():
        assert set(record.kinds) <= sniff._DESCRIPTIONS.keys(), record.name


def test_every_layout_has_a_format_and_every_format_a_layout():
    """But for arrays of any writer, whose names only a user's own mapping file has."""
    used = {load_layout(name).format for name in layout_names()}
    assert used == set(layout_formats()) - {"arrays"}


def test_what_a_layout_comes_as():
    assert titles("pytorch") == "a PyTorch file (.pth) or a safetensors file"
    assert titles("chainer") == "a Chainer file (.npz), its HDF5 form (.h5) or an ONNX model (.onnx)"
    assert [usual_suffix(name) for name in ("pytorch", "caffe2-pickle", "caffe")] == [
        ".pth",
        ".pkl",
        ".caffemodel",
    ]
    assert titles("arrays") == "a NumPy file (.npz) or an HDF5 file (.h5)"
    assert format_named("onnx").suffixes == (".onnx",)
    with pytest.raises(KeyError):
        format_named("zip")


def test_the_records_import_no_reader_and_no_writer():
    code = "import sys; from converters.formats.registry import formats; formats(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    parts = ("reader", "writer", "opener", "machine", "checkpoint", "open", "nets", "files")
    ours = [name for name in done.stdout.split() if name.startswith("converters.")]
    assert not [name for name in ours if name.split(".")[-1] in parts]
    assert not {"dataclasses", "inspect", "numpy", "json"} & set(done.stdout.split())


@pytest.mark.parametrize("content", [b"<html></html>", b"\x1f\x8b\x08", b""], ids=["page", "gzip", "empty"])
def test_what_no_format_takes_is_refused_by_its_kind(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(path))
    assert caught.value.what == sniff._DESCRIPTIONS[sniff.sniff(content)][0]
    with pytest.raises(UsageError, match="only files of PyTorch, TensorFlow and JAX have entries"):
        open_checkpoint(str(path), entry="state_dict")
