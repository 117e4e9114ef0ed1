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
    "caffe2",
    "caffe",
    "chainer",
)
"""In the order in which they are asked whether a file is theirs."""


@cache
def formats() -> tuple[Format, ...]:
    """Every format's record, in the order in which they are tried."""
    modules = (import_module(f"{__package__}.{folder}") for folder in _FOLDERS)
    return tuple(record for module in modules for record in module.FORMATS)


def format_named(name: str) -> Format:
    """The format of a name. Raises `KeyError` where there is none."""
    return {record.name: record for record in formats()}[name]


def layout_formats() -> tuple[str, ...]:
    """The formats that layouts come in, as tables name them."""
    return tuple(dict.fromkeys(name for record in formats() for name in record.layout_formats))


def formats_for(layout_format: str) -> tuple[Format, ...]:
    """The formats that can hold a layout's tensors; those for its framework alone come first."""
    found = [record for record in formats() if layout_format in record.layout_formats]
    return tuple(sorted(found, key=lambda record: len(record.layout_formats)))


def titles(layout_format: str) -> str:
    """What the files of a layout are, in words."""
    *most, last = [record.title for record in formats_for(layout_format)]
    return f"{', '.join(most)} or {last}" if most else last


def usual_suffix(layout_format: str) -> str:
    """The suffix that an output of a layout usually has."""
    return formats_for(layout_format)[0].suffixes[0]
