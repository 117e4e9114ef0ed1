"""The graphs that files hold, as plain data: ONNX's and Caffe2's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.io.protobuf_reader import Field
    from converters.tensor import Tensor

    Size = int | str
    """The size of an axis, or the name of a free one."""

    Attribute = int | float | str | Sequence[int]

OPSET = 18
"""The operator set that is written; onnxruntime has supported it since 1.14."""

IR_VERSION = 9


class Node(NamedTuple):
    """One ONNX node. Of a file's, ``attributes`` has the numbers and lists of integers only."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


class Graph(Record):
    """An ONNX graph. ``inputs`` have a size or a free name for every axis. ``weights`` are the tensors of a file that
    the graph reads, still lazy, under their own names; ``constants`` are the few that ONNX needs beside them."""

    name: str
    nodes: tuple[Node, ...]
    inputs: Mapping[str, tuple[Size, ...]]
    outputs: tuple[str, ...]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]


class NetOp(NamedTuple):
    """An operator. ``args`` are its numbers, texts and lists of integers; ``values`` is the field with its floats."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: dict[str, Any]
    values: Field | None


class Caffe2Net(NamedTuple):
    """A net: its operators in order, its inputs and its outputs."""

    name: str
    ops: tuple[NetOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
