"""The tensors of an ONNX model that are no weights: of dtypes that are not converted, and constants inside the graph.

Fields of onnx.proto: TensorProto has dims 1, data_type 2, float_data 4, int32_data 5, string_data 6, int64_data 7,
name 8, raw_data 9, double_data 10, uint64_data 11 and external_data 13; AttributeProto has name 1, f 2, i 3, s 4, t 5,
g 6, floats 7, ints 8, strings 9, tensors 10 and graphs 11; GraphProto has node 1 and initializer 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.formats.io.protobuf_reader import BYTES, VARINT, Field, Unpacked, Wire
from converters.formats.other_value import OtherValue
from converters.tensor import FileBytes, Held, Joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from converters.files import SourceFile
    from converters.formats.graph import Node
    from converters.tensor import Data

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "text",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
    27: "float6_e2m3",
    28: "float6_e3m2",
}
"""The element types by their numbers, up to ONNX 1.23."""

_ARGUMENTS = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Pad": (1, 2, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "OneHot": (1, 2),
    "TopK": (1,),
    "Range": (0, 1, 2),
    "Clip": (1, 2),
    "CenterCropPad": (1,),
    "AffineGrid": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Trilu": (1,),
    "NonMaxSuppression": (2, 3, 4),
    "Dropout": (1, 2),
    "Loop": (0, 1),
    "If": (0,),
} | dict.fromkeys(
    (
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
    ),
    (1,),
)
"""The inputs of ONNX's operators that say how something is done: shapes, axes, indices, limits."""

_TYPED = (4, 5, 6, 7, 10, 11)
_DEPTH = 8
_AXES = 64


class TensorFields(NamedTuple):
    """The fields of one TensorProto, unread."""

    name: str
    kind: int
    shape: tuple[int, ...]
    raw: tuple[Field, ...]
    typed: tuple[Field, ...]
    external: bool


def tensor_fields(wire: Wire, field: Field) -> TensorFields:
    """What a TensorProto says of itself. Raises `BadInput` for a damaged one."""
    name, kind, external = "", 0, False
    shape: list[int] = []
    raw: list[Field] = []
    typed: list[Field] = []
    for inner in wire.inside(field):
        if inner.number == 1 and inner.wire in (VARINT, BYTES):
            shape += wire.varints(inner, _AXES)
        elif inner.number == 2 and inner.wire == VARINT:
            kind = inner.value
        elif inner.number == 8:
            name = wire.text(inner)
        elif inner.number == 9 and inner.wire == BYTES:
            raw.append(inner)
        elif inner.number in _TYPED:
            typed.append(inner)
        elif inner.number == 13:
            external = True
    return TensorFields(name, kind, tuple(shape), tuple(raw), tuple(typed), external)


def other_tensor(wire: Wire, field: Field, *, beside: bool) -> tuple[str, OtherValue]:
    """The name of a TensorProto and the tensor, as what is not converted. Values in another file are not compared."""
    found = tensor_fields(wire, field)
    kind = DTYPES.get(found.kind, f"element type {found.kind}")
    data = None if found.external else Joined(tuple(_pieces(wire.file, kind, found)))
    return found.name, OtherValue(kind=kind, shape=found.shape, data=data, opaque=data is None, beside=beside)


def _pieces(file: SourceFile, kind: str, found: TensorFields) -> Iterator[Data]:
    """The bytes of a tensor: as they are, or from a list of numbers. Texts have their lengths in front."""
    for field in found.raw:
        yield FileBytes(file, field.offset, field.size)
    for field in found.typed:
        if field.number == 6 and field.wire == BYTES:
            yield Held(field.size.to_bytes(8, "little"))
            yield FileBytes(file, field.offset, field.size)
        elif field.number in (5, 7, 11):
            yield _Varints(file, field, _itemsize(kind))
        elif field.wire == BYTES:
            yield FileBytes(file, field.offset, field.size)
        elif field.wire != VARINT:
            yield Unpacked(file, field)


def _itemsize(kind: str) -> int:
    """Bytes that an element takes as raw data."""
    bits = "".join(letter for letter in kind.partition("_")[0] if letter.isdigit())
    return max(1, int(bits or 8) // 8)


class _Varints(NamedTuple):
    """Integers that are stored as varints, packed or one field each."""

    file: SourceFile
    field: Field
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        wire, mask = Wire(self.file), (1 << 8 * self.itemsize) - 1
        numbers = wire.varints(self.field, self.file.size)
        yield memoryview(b"".join((number & mask).to_bytes(self.itemsize, "little") for number in numbers))


def constants(wire: Wire, node: Field, path: str = "") -> Iterator[tuple[str, OtherValue]]:
    """The tensors in the attributes of a node, and in the graphs inside it: those of Constant nodes by the name of
    their output, others by attribute."""
    if path.count("/") > _DEPTH:
        return
    kind, output, attributes = "", "", []
    for inner in wire.inside(node):
        if inner.number == 2 and not output:
            output = wire.text(inner)
        elif inner.number == 4:
            kind = wire.text(inner)
        elif inner.number == 5:
            attributes.append(inner)
    for attribute in attributes:
        name, tensors, graphs = _attribute(wire, attribute)
        own = f"{path}{output}" if kind == "Constant" else f"{path}{output}.{name}"
        for index, tensor in enumerate(tensors):
            _, other = other_tensor(wire, tensor, beside=True)
            yield f"{own}[{index}]" if len(tensors) > 1 else own, other
        for graph in graphs:
            for inner in wire.inside(graph):
                if inner.number == 1:
                    yield from constants(wire, inner, f"{own}/")
                elif inner.number == 5:
                    inner_name, other = other_tensor(wire, inner, beside=True)
                    yield f"{own}/{inner_name}", other


def arguments(nodes: Iterable[Node]) -> set[str]:
    """The names that the graph uses only to say how something is done, so that they are no weights."""
    how: set[str] = set()
    what: set[str] = set()
    for node in nodes:
        places = _ARGUMENTS.get(node.kind, ())
        for place, name in enumerate(node.inputs):
            (how if place in places else what).add(name)
    return how - what


def _attribute(wire: Wire, field: Field) -> tuple[str, list[Field], list[Field]]:
    """An attribute's name, its tensors and its graphs."""
    name = ""
    tensors: list[Field] = []
    graphs: list[Field] = []
    for inner in wire.inside(field):
        if inner.number == 1:
            name = wire.text(inner)
        elif inner.number in (5, 10) and inner.wire == BYTES:
            tensors.append(inner)
        elif inner.number in (6, 11) and inner.wire == BYTES:
            graphs.append(inner)
    return name, tensors, graphs
