"""ONNX graphs and Caffe2 nets as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.io.protobuf_reader import Field
    from converters.tensor import Tensor

    Size = int | str
    """The size of an axis, or the name of a dynamic one."""

    Attribute = int | float | str | Sequence[int]

OPSET = 18
"""The operator set of written graphs; onnxruntime has supported it since 1.14."""

IR_VERSION = 9


class Node(NamedTuple):
    """One ONNX node. ``attributes`` of a node read from a file are its numbers and lists of integers;
    one of another kind is an empty text."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


class Graph(Record):
    """An ONNX graph. ``inputs`` have a size, or the name of a dynamic size, for every axis. ``weights`` are
    the lazy tensors of the source that the graph reads, under their own names; ``constants`` are the few further ones
    that ONNX needs."""

    name: str
    nodes: tuple[Node, ...]
    inputs: Mapping[str, tuple[Size, ...]]
    outputs: tuple[str, ...]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]


class NetOp(NamedTuple):
    """A Caffe2 operator. ``args`` are its numbers, strings and lists of integers; ``values`` is the field with
    its floats, ``arguments`` are the fields of all its arguments."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: dict[str, Any]
    values: Field | None
    arguments: tuple[Field, ...]


class Caffe2Net(NamedTuple):
    """A Caffe2 net: its operators in order, its inputs and its outputs."""

    name: str
    ops: tuple[NetOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
