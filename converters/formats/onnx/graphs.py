"""Walks an ONNX graph: its nodes, and every tensor in it, also in constants, branches, loops and functions.

GraphProto has node 1, initializer 5, input 11, output 12 and sparse_initializer 15; NodeProto input 1, output 2,
name 3, op_type 4 and attribute 5; AttributeProto name 1, f 2, i 3, s 4, t 5, g 6, floats 7, ints 8, strings 9,
tensors 10, graphs 11, sparse_tensor 22 and sparse_tensors 23; FunctionProto name 1, node 7 and domain 10.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.graph import Node
from converters.formats.io.protobuf_reader import BYTES, FIXED32, VARINT, Field, signed
from converters.printable import short_name
from converters.tensor import FileBytes, Held

from .arguments import ARGUMENTS
from .integers import integers
from .tensors import AXES, FLOATS, Stored

if TYPE_CHECKING:
    from converters.formats.graph import Attribute
    from converters.formats.io.protobuf_reader import Wire

    from .tensors import TensorReader

_NODES = 100_000
_TENSORS = 50_000
_NUMBERS = 64  # of an attribute that is kept: strides, pads ...
_DEPTH = 16
_SPARSE = "sparse tensor"
_OF_ANOTHER_KIND = ""  # what stands for an attribute that is neither number nor list of integers


class Found:
    """The tensors of a model by name, and the nodes, inputs and outputs of its outermost graph.

    ``initializers`` are of all graphs: a name inside a node's graph has the node's first output and the attribute in
    front. ``constants`` are the tensors in nodes; ``settings`` are the names of those that are sizes, scales or limits.
    """

    def __init__(self) -> None:
        self.initializers: dict[str, Stored] = {}
        self.constants: dict[str, Stored] = {}
        self.settings: set[str] = set()
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []

    @property
    def count(self) -> int:
        """The number of all tensors."""
        return len(self.initializers) + len(self.constants)


class GraphReader:
    """Reads the graphs and functions of one file."""

    def __init__(self, wire: Wire, tensors: TensorReader) -> None:
        self.wire = wire
        self.tensors = tensors
        self.found = Found()
        self._nodes = 0

    def graph(self, field: Field, path: str = "", depth: int = 0) -> None:
        """A GraphProto at ``path``, empty for the outermost. Raises `BadInput`."""
        if depth == _DEPTH:
            raise self.wire.damaged("nests its graphs too deeply", field.offset)
        for inner in self.wire.inside(field):
            if inner.number == 1:
                self.node(inner, path, depth)
            elif inner.number == 5:
                self._add(self.found.initializers, self._placed(self.tensors.read(inner), path), inner)
            elif inner.number == 15:
                self._add(self.found.initializers, self._placed(self._sparse(inner), path), inner)
            elif inner.number in (11, 12) and not path:
                names = self.found.inputs if inner.number == 11 else self.found.outputs
                names.append(self._value_name(inner))

    def function(self, field: Field) -> None:
        """A FunctionProto, whose tensors are constants only."""
        texts = {inner.number: inner for inner in self.wire.inside(field) if inner.number in (1, 10)}
        names = [self.wire.text(texts[number]) for number in (10, 1) if number in texts]
        path = f"{'.'.join(filter(None, names))}/"
        for inner in self.wire.inside(field):
            if inner.number == 7:
                self.node(inner, path, 1)

    def node(self, field: Field, path: str, depth: int) -> None:
        """A NodeProto with all graphs and tensors in it."""
        self._nodes += 1
        if self._nodes > _NODES:
            raise self.wire.damaged(f"has more than {_NODES:,} nodes", field.offset)
        kind, inputs, outputs = "", [], []
        attributes: list[Field] = []
        for inner in self.wire.inside(field):
            if inner.number == 1:
                inputs.append(self.wire.text(inner))
            elif inner.number == 2:
                outputs.append(self.wire.text(inner))
            elif inner.number == 4:
                kind = self.wire.text(inner)
            elif inner.number == 5:
                attributes.append(inner)
        places = ARGUMENTS.get(kind, ())
        self.found.settings |= {path + name for place, name in enumerate(inputs) if place in places}
        output = path + (outputs[0] if outputs else f"node {self._nodes}")
        numbers: dict[str, Attribute] = {}
        for attribute in attributes:
            numbers |= self._attribute(attribute, kind == "Constant", output, depth)
        if not path:
            self.found.nodes.append(Node(kind, tuple(inputs), tuple(outputs), numbers))

    def _attribute(self, field: Field, constant: bool, output: str, depth: int) -> dict[str, Attribute]:
        """An attribute's number or list of integers by its name, an empty text for any else. Its graphs and tensors
        are added to what was found. A constant is called as its node's ``output``, another tensor has the attribute
        behind that."""
        name, value = "", None
        parts: dict[int, list[Field]] = {}
        for inner in self.wire.inside(field):
            if inner.number == 1:
                name = self.wire.text(inner)
            elif inner.number == 2 and inner.wire == FIXED32:
                (value,) = struct.unpack("<f", self.wire.file.read_at(inner.offset + inner.size - 4, 4))
            elif inner.number == 3 and inner.wire == VARINT:
                value = signed(inner.value)
            else:
                parts.setdefault(inner.number, []).append(inner)
        place = output if constant else f"{output}/{name}"
        for number in (6, 11):
            for index, inner in enumerate(parts.get(number, ())):
                self.graph(inner, f"{place}/" if number == 6 else f"{place}/{index}/", depth + 1)
        for number in (5, 10):
            for index, inner in enumerate(parts.get(number, ())):
                where = place if number == 5 else f"{place}/{index}"
                self._add(
                    self.found.constants, self.tensors.read(inner).replace(name=where, in_node=True), inner
                )
        if 22 in parts or 23 in parts:
            sparse = Stored(name=place, dtype="sparse tensor", shape=(), data=None, in_node=True)
            self._add(self.found.constants, sparse, field)
        many = [inner for inner in parts.get(8, ()) if inner.wire in (VARINT, BYTES)]
        if constant:
            self._constant(place, value, parts, many, field)
        if many:
            if integers(self.wire, many, 8).nbytes > 8 * _NUMBERS:
                return {}
            return {name: tuple(signed(one) for piece in many for one in self.wire.varints(piece, _NUMBERS))}
        return {name: _OF_ANOTHER_KIND if value is None else value}

    def _constant(
        self, name: str, value: float | None, parts: dict[int, list[Field]], many: list[Field], field: Field
    ) -> None:
        """The value of a Constant node that is a number, a text, or a list of these."""
        stored: Stored | None = None
        if many:
            found = integers(self.wire, many, 8)
            stored = Stored(name=name, dtype="int64", shape=(found.nbytes // 8,), data=found, in_node=True)
        elif 7 in parts:
            stored = self.tensors.floats(name, parts[7])
        elif 4 in parts or 9 in parts:
            shape = () if 4 in parts else (len(parts[9]),)
            stored = Stored(name=name, dtype="string", shape=shape, data=None, in_node=True)
        elif value is not None:
            code, dtype = ("<f", "float32") if isinstance(value, float) else ("<q", "int64")
            data = Held(struct.pack(code, value))
            stored = Stored(name=name, dtype=dtype, shape=(), data=data, in_node=True)
        if stored is not None:
            self._add(self.found.constants, stored, field)

    def _add(self, into: dict[str, Stored], stored: Stored, field: Field) -> None:
        if self.found.count == _TENSORS:
            raise self.wire.damaged(f"has more than {_TENSORS:,} initializers", field.offset)
        if stored.name in self.found.initializers or stored.name in self.found.constants:
            raise BadInput(f"has the initializer {short_name(stored.name)} twice", path=self.wire.file.path)
        into[stored.name] = stored

    def _sparse(self, field: Field) -> Stored:
        """A SparseTensorProto, which has the name of its values (1) and a shape (3). It is not converted."""
        name, shape = "", list[int]()
        for inner in self.wire.inside(field):
            if inner.number == 1:
                name = self.tensors.read(inner).name
            elif inner.number == 3 and inner.wire in (VARINT, BYTES):
                shape += self.wire.varints(inner, AXES)
        if len(shape) > AXES:
            raise self.wire.damaged(f"has a tensor of more than {AXES} axes", field.offset)
        data = FileBytes(self.wire.file, field.offset, field.size)
        return Stored(name=name, dtype=_SPARSE, shape=tuple(shape), data=data)

    def _placed(self, stored: Stored, path: str) -> Stored:
        return stored.replace(name=path + stored.name) if path else stored

    def _value_name(self, field: Field) -> str:
        """The name of a ValueInfoProto."""
        return next((self.wire.text(inner) for inner in self.wire.inside(field) if inner.number == 1), "")


def weights(found: Found) -> set[str]:
    """The names of the tensors that are weights: floating initializers; where none of these has several values, the
    floating constants that have."""

    def several(tensors: dict[str, Stored]) -> set[str]:
        return {name for name, one in tensors.items() if one.dtype in FLOATS.values() and prod(one.shape) > 1}

    floats = {name for name, one in found.initializers.items() if one.dtype in FLOATS.values()}
    return floats if several(found.initializers) else floats | (several(found.constants) - found.settings)
