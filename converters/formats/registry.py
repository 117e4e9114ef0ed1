"""All file formats. A new one is a folder with its record, and its line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .format import Format

_FOLDERS = (
    "pytorch",
    "safetensors",
    "tensorflow",
    "onnx",
    "paddle",
    "caffe2",
    "caffe",
    "mxnet",
    "chainer",
    "jax",
    "arrays",
)
"""In the order in which they are tried on a file."""


@cache
def formats() -> tuple[Format, ...]:
    """Every format's record, in the order in which they are tried."""
    modules = (import_module(f"{__package__}.{folder}") for folder in _FOLDERS)
    return tuple(record for module in modules for record in module.FORMATS)


def format_named(name: str) -> Format:
    """The format with a name. Raises `KeyError` for an unknown name."""
    return {record.name: record for record in formats()}[name]


def layout_formats() -> tuple[str, ...]:
    """The formats that layouts come in, as tables name them."""
    return tuple(dict.fromkeys(name for record in formats() for name in record.layout_formats))


def formats_for(layout_format: str) -> tuple[Format, ...]:
    """The formats that can hold a layout's tensors; those of its framework come first."""
    records = [record for record in formats() if layout_format in record.layout_formats]
    return tuple(sorted(records, key=lambda record: len(record.layout_formats)))


def titles(layout_format: str) -> str:
    """The formats of a layout's files in words, such as "a TensorFlow checkpoint"."""
    *most, last = [record.title for record in formats_for(layout_format)]
    return f"{', '.join(most)} or {last}" if most else last


def usual_suffix(layout_format: str) -> str:
    """The suffix that an output of a layout usually has."""
    return formats_for(layout_format)[0].suffixes[0]
