"""Reads ONNX models: their weights, which stay in the file or in files beside it, and their nodes.

Nothing is executed, and no files outside the model's folder are opened. Fields of onnx.proto: ModelProto has
ir_version 1, producer_name 2, graph 7, opset_import 8 (domain 1, version 2) and metadata_props 14; GraphProto has
node 1, initializer 5, input 11, output 12 and sparse_initializer 15; TensorProto has dims 1, data_type 2, float_data
4, name 8, raw_data 9, double_data 10 and external_data 13 (key 1, value 2).
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.graph import Node
from converters.formats.io.protobuf_reader import BYTES, FIXED32, VARINT, Field, Unpacked, Wire, signed
from converters.printable import short_name
from converters.record import Record
from converters.tensor import ITEMSIZE, FileBytes, Tensor

from .other_tensors import arguments, constants, other_tensor

if TYPE_CHECKING:
    from converters.formats.graph import Attribute
    from converters.formats.other_value import OtherValue
    from converters.tensor import Data

FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""Element types of weights by their numbers; tensors of other types are shapes or axes."""

_VERSIONS = 64  # of the format itself; there have been fourteen
_NODES = 100_000
_TENSORS = 50_000
_AXES = 32
_FILES = 1_000
_NUMBERS = 64  # of one attribute: strides, pads ...
_METADATA = 64 * 1024 * 1024


class OnnxModel(Record):
    """The contents of a model.

    ``tensors`` are its initializers of floating types, in the file's order; ``other_values`` are its other
    initializers, and the constants inside the graph; ``inputs`` are the inputs to feed (older
    exporters list initializers among them: these are left out). ``opset`` is the version of ONNX's own operators, 0
    where the file has none; ``files`` are the open files of external data.
    """

    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    producer: str
    metadata: dict[str, str]
    files: tuple[SourceFile, ...]


def is_onnx(file: SourceFile) -> bool:
    """Whether a protocol buffer is an ONNX model, even a damaged one: a small version number, then texts, a graph and
    opsets. Caffe's files start with a text, with two numbers, or with the large number of an iteration."""
    try:
        for field in Wire(file).fields(0, file.size):
            if field.number == 1:
                if field.wire != VARINT or not 0 < field.value <= _VERSIONS:
                    return False
            elif field.number in (7, 8):
                return field.wire == BYTES
            elif field.number != 5 and field.wire != BYTES:
                return False
    except BadInput:
        return file.size > 1 and file.read_at(0, 1) == b"\x08" and 0 < file.read_at(1, 1)[0] <= _VERSIONS
    return False


def read_onnx(file: SourceFile) -> OnnxModel:
    """Read the names, shapes and offsets of all weights.

    Raises `BadInput` for a damaged file, a name that occurs twice, values that do not fill their shape, sparse
    weights, and external data outside the model's folder.
    """
    reader = _Reader(file)
    try:
        return reader.model()
    except BaseException:
        for external in reader.external.values():
            external.close()
        raise


class _Reader:
    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.wire = Wire(file)
        self.external: dict[str, SourceFile] = {}
        self.other_values: dict[str, OtherValue] = {}
        self.holds_tensors = False  # in the attributes of the node that was read last

    def model(self) -> OnnxModel:
        producer, opset = "", 0
        metadata: dict[str, str] = {}
        graph: Field | None = None
        for field in self.wire.fields(0, self.file.size):
            if field.number == 2:
                producer = self.wire.text(field)
            elif field.number == 7:
                if graph is not None:
                    raise self.wire.damaged("has two graphs", field.offset)
                graph = field
            elif field.number == 8:
                parts = {inner.number: inner for inner in self.wire.inside(field)}
                if 1 not in parts or not self.wire.text(parts[1]):  # ONNX's own domain
                    opset = parts[2].value if 2 in parts else 0
            elif field.number == 14:
                key, value = self.pair(field)
                metadata[key] = value
        if graph is None:
            raise BadInput("is an ONNX model without a graph", path=self.file.path)
        tensors: dict[str, Tensor] = {}
        other_values = self.other_values
        known: set[str] = set()
        nodes: list[Node] = []
        inputs: list[str] = []
        outputs: list[str] = []
        for field in self.wire.inside(graph):
            if field.number == 1:
                if len(nodes) == _NODES:
                    raise self.wire.damaged(f"has more than {_NODES:,} nodes", field.offset)
                self.holds_tensors = False
                nodes.append(self.node(field))
                if self.holds_tensors:
                    self.other_values |= constants(self.wire, field)
            elif field.number == 5:
                if len(known) == _TENSORS:
                    raise self.wire.damaged(f"has more than {_TENSORS:,} initializers", field.offset)
                name, tensor = self.tensor(field)
                if name in known:
                    raise BadInput(f"has the initializer {short_name(name)} twice", path=self.file.path)
                known.add(name)
                if tensor is not None:
                    tensors[name] = tensor
                else:
                    other_values[name] = other_tensor(self.wire, field, beside=False)[1]
            elif field.number in (11, 12):
                (inputs if field.number == 11 else outputs).append(self.value_name(field))
            elif field.number == 15:
                raise BadInput("has sparse weights", path=self.file.path, hint="export it with dense ones")
        for name in other_values.keys() & arguments(nodes):
            other_values[name] = other_values[name].replace(beside=True)
        if not tensors and not other_values:
            raise BadInput("holds no weights", path=self.file.path, hint="it describes a network only")
        return OnnxModel(
            tensors=tensors,
            other_values=other_values,
            nodes=tuple(nodes),
            inputs=tuple(name for name in inputs if name not in known),
            outputs=tuple(outputs),
            opset=opset,
            producer=producer,
            metadata=metadata,
            files=tuple(self.external.values()),
        )

    def pair(self, field: Field) -> tuple[str, str]:
        """The key and value of a StringStringEntryProto."""
        texts = {inner.number: inner for inner in self.wire.inside(field)}
        key = self.wire.text(texts[1]) if 1 in texts else ""
        return key, self.wire.text(texts[2], _METADATA) if 2 in texts else ""

    def value_name(self, field: Field) -> str:
        """The name of a ValueInfoProto."""
        return next((self.wire.text(inner) for inner in self.wire.inside(field) if inner.number == 1), "")

    def node(self, field: Field) -> Node:
        """A NodeProto: input 1, output 2, op_type 4, attribute 5."""
        kind, inputs, outputs = "", [], []
        attributes: dict[str, Attribute] = {}
        for inner in self.wire.inside(field):
            if inner.number == 1:
                inputs.append(self.wire.text(inner))
            elif inner.number == 2:
                outputs.append(self.wire.text(inner))
            elif inner.number == 4:
                kind = self.wire.text(inner)
            elif inner.number == 5:
                attributes |= self.attribute(inner)
        return Node(kind, tuple(inputs), tuple(outputs), attributes)

    def attribute(self, field: Field) -> dict[str, Attribute]:
        """An AttributeProto: name 1, f 2, i 3, ints 8."""
        import struct

        name, value = "", None
        many: list[int] = []
        for inner in self.wire.inside(field):
            if inner.number == 1:
                name = self.wire.text(inner)
            elif inner.number == 2 and inner.wire == FIXED32:
                (value,) = struct.unpack("<f", self.file.read_at(inner.offset + inner.size - 4, 4))
            elif inner.number == 3 and inner.wire == VARINT:
                value = signed(inner.value)
            elif inner.number in (5, 6, 10, 11):
                self.holds_tensors = True
            elif inner.number == 8 and inner.wire in (VARINT, BYTES):
                many += [signed(number) for number in self.wire.varints(inner, _NUMBERS)]
                if len(many) > _NUMBERS:
                    raise self.wire.damaged(f"has an attribute of more than {_NUMBERS} numbers", inner.offset)
        if many:
            return {name: tuple(many)}
        return {} if value is None else {name: value}

    def tensor(self, field: Field) -> tuple[str, Tensor | None]:
        """The name and tensor of a TensorProto; None for one that is not a weight."""
        name, kind, shape = "", 0, []
        raw: list[Field] = []
        typed: dict[int, list[Field]] = {4: [], 10: []}
        entries: dict[str, str] = {}
        for inner in self.wire.inside(field):
            if inner.number == 1 and inner.wire in (VARINT, BYTES):
                shape += self.wire.varints(inner, _AXES)
                if len(shape) > _AXES:
                    raise self.wire.damaged(f"has a tensor of more than {_AXES} axes", inner.offset)
            elif inner.number == 2 and inner.wire == VARINT:
                kind = inner.value
            elif inner.number == 8:
                name = self.wire.text(inner)
            elif inner.number == 9 and inner.wire == BYTES:
                raw.append(inner)
            elif inner.number in typed:
                typed[inner.number].append(inner)
            elif inner.number == 13:
                key, value = self.pair(inner)
                entries[key] = value
        dtype = FLOATS.get(kind)
        if dtype is None:
            return name, None
        if not all(0 < size < 1 << 31 for size in shape):
            raise BadInput("has an impossible shape", path=self.file.path, where=short_name(name))
        nbytes = prod(shape) * ITEMSIZE[dtype]
        data: Data
        if entries:
            data = self.external_data(name, entries, nbytes)
        elif raw:
            data = FileBytes(self.file, raw[-1].offset, raw[-1].size)
            self.check_size(name, raw[-1].size, nbytes)
        else:
            data = self.typed_data(name, typed[{"float32": 4, "float64": 10}.get(dtype, 4)], nbytes)
        return name, Tensor(name, dtype, tuple(shape), data)

    def typed_data(self, name: str, pieces: list[Field], nbytes: int) -> Data:
        """Values in a typed list: packed, or one field each."""
        if len(pieces) != 1 or pieces[0].wire == VARINT:
            raise BadInput(
                "has values in a form that is not read here",
                path=self.file.path,
                where=short_name(name),
                hint="save it with raw data, as onnx.save does with numpy_helper's tensors",
            )
        field = pieces[0]
        if field.wire == BYTES:
            self.check_size(name, field.size, nbytes)
            return FileBytes(self.file, field.offset, field.size)
        unpacked = Unpacked(self.file, field)
        self.check_size(name, unpacked.count * unpacked.size, nbytes)
        return unpacked

    def check_size(self, name: str, size: int, nbytes: int) -> None:
        if size != nbytes:
            raise BadInput(
                f"has {size:,} bytes of values where the shape wants {nbytes:,}",
                path=self.file.path,
                where=short_name(name),
                hint="the file is damaged; export it again",
            )

    def external_data(self, name: str, entries: dict[str, str], nbytes: int) -> Data:
        """External data: a range of a file in the model's folder."""
        location = entries.get("location", "")
        offset, length = (
            _whole(entries.get(key, ""), other) for key, other in (("offset", 0), ("length", nbytes))
        )
        if offset is None or length is None:
            raise BadInput("has external data at no place", path=self.file.path, where=short_name(name))
        self.check_size(name, length, nbytes)
        if location not in self.external:
            if len(self.external) == _FILES:
                raise BadInput(f"has external data in more than {_FILES:,} files", path=self.file.path)
            self.external[location] = SourceFile(self.external_path(name, location))
        file = self.external[location]
        if offset + length > file.size:
            raise file.cut(offset, length)
        return FileBytes(file, offset, length)

    def external_path(self, name: str, location: str) -> str:
        """The real path of an external file. Raises `BadInput` if it is outside the model's folder."""
        folder = os.path.realpath(os.path.dirname(self.file.path) or os.curdir)
        path = os.path.realpath(os.path.join(folder, location)) if "\0" not in location else ""
        unsafe = not location or os.path.isabs(location) or ".." in location.replace("\\", "/").split("/")
        if unsafe or os.path.commonpath([folder, path or os.sep]) != folder:
            raise BadInput(
                f"has external data in {short_name(location)}, which is not in its own folder",
                path=self.file.path,
                where=short_name(name),
                hint="only files beside the model are read",
            )
        return path


def _whole(text: str, missing: int) -> int | None:
    """A non-negative integer in a text: ``missing`` if the text is empty, None if it is something else."""
    if not text:
        return missing
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
