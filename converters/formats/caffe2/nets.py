"""Reads Caffe2's nets: the blobs that an ``init_net.pb`` fills, which stay in the file, and the operators of a
``predict_net.pb``. Nothing is executed.

Fields of caffe2.proto: NetDef has name 1, op 2, external_input 7 and external_output 8; OperatorDef has input 1,
output 2, type 4 and arg 5; Argument has name 1, f 2, i 3, s 4, floats 5 and ints 6.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.graph import Caffe2Net, NetOp
from converters.formats.io.protobuf_reader import BYTES, FIXED32, VARINT, Field, Unpacked, Wire, signed
from converters.formats.other_value import OtherValue
from converters.printable import short_name
from converters.tensor import FileBytes, Joined, Repeated, Tensor

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.tensor import Data

_OPS = 50_000
_AXES = 32
_NUMBERS = 64  # of an argument that is not a blob's values: kernels, pads ...
_OTHER_FILLS = {
    "GivenTensorIntFill": "int32",
    "GivenTensorInt64Fill": "int64",
    "GivenTensorInt16Fill": "int16",
    "GivenTensorBoolFill": "bool",
    "GivenTensorDoubleFill": "float64",
    "GivenTensorStringFill": "text",
    "GivenTensorByteStringToUInt8Fill": "uint8",
    "Int8GivenTensorFill": "quint8",
    "Int8GivenIntTensorFill": "qint32",
}
"""Operators that fill blobs which are not converted, and their dtypes: shapes and other integers, quantised weights."""


def is_caffe2_net(file: SourceFile) -> bool:
    """Whether a protocol buffer is a Caffe2 net. Its first operator has its type as text in field 4; a Caffe layer
    has a name there, and its type as a number."""
    wire = Wire(file)
    try:
        for field in wire.fields(0, file.size):
            if field.number == 2 and field.wire == BYTES:
                kinds = {
                    inner.number: inner.wire for inner in wire.fields(field.offset, field.offset + field.size)
                }
                return (
                    kinds.get(4) == BYTES and kinds.get(5, BYTES) == BYTES and {1, 2} & kinds.keys() != set()
                )
            if field.number not in (1, 3, 4, 5, 6, 7, 8):
                return False
    except BadInput:
        return False
    return False


def read_caffe2_net(file: SourceFile) -> Caffe2Net:
    """Read a net's operators. Raises `BadInput` for a damaged file."""
    wire = Wire(file)
    name = ""
    ops: list[NetOp] = []
    inputs: list[str] = []
    outputs: list[str] = []
    for field in wire.fields(0, file.size):
        if field.number == 1:
            name = wire.text(field)
        elif field.number == 2:
            if len(ops) == _OPS:
                raise wire.damaged(f"has more than {_OPS:,} operators", field.offset)
            ops.append(_op(wire, field))
        elif field.number in (7, 8):
            (inputs if field.number == 7 else outputs).append(wire.text(field))
    return Caffe2Net(name, tuple(ops), tuple(inputs), tuple(outputs))


def other_blobs(file: SourceFile, net: Caffe2Net) -> dict[str, OtherValue]:
    """The blobs of other dtypes that an init net fills: the whole arguments of their operators, for a comparison."""
    found: dict[str, OtherValue] = {}
    for op in net.ops:
        kind = _OTHER_FILLS.get(op.kind, "")
        if op.kind == "ConstantFill" and op.args.get("dtype", 1) != 1:
            kind = f"dtype {op.args['dtype']}"
        if not kind or len(op.outputs) != 1:
            continue
        shape = op.args.get("shape", ())
        sizes = shape if isinstance(shape, tuple) else (shape,)
        arguments = tuple(FileBytes(file, field.offset, field.size) for field in op.arguments)
        found[op.outputs[0]] = OtherValue(kind=kind, shape=sizes, data=Joined(arguments))
    return found


def filled_blobs(file: SourceFile, net: Caffe2Net) -> dict[str, Tensor]:
    """The float32 blobs that an init net fills, in its order.

    Raises `BadInput` for a blob that is filled twice or at random, and for values that do not fill the blob's shape.
    """
    tensors: dict[str, Tensor] = {}
    for op in net.ops:
        if op.kind in _OTHER_FILLS:
            continue
        if len(op.outputs) != 1 or op.inputs or op.kind not in ("GivenTensorFill", "ConstantFill"):
            raise BadInput(
                f"has the operator {short_name(op.kind)}, which gives no stored blob",
                path=file.path,
                where=short_name(op.outputs[0] if op.outputs else ""),
                hint="an init_net.pb of a trained net has GivenTensorFill only; save it with Caffe2's mobile exporter",
            )
        (name,) = op.outputs
        if name in tensors:
            raise BadInput(f"fills the blob {short_name(name)} twice", path=file.path)
        shape = op.args.get("shape", ())
        if not isinstance(shape, tuple):
            shape = (shape,)
        if len(shape) > _AXES or not all(isinstance(size, int) and 0 <= size < 1 << 31 for size in shape):
            raise BadInput("has an impossible shape", path=file.path, where=short_name(name))
        if op.kind == "ConstantFill":
            if op.args.get("dtype", 1) == 1:  # float32
                element = struct.pack("<f", float(op.args.get("value", 0.0)))
                tensors[name] = Tensor(name, "float32", shape, Repeated(element, prod(shape)))
            continue
        data, count = _values(file, op.values)
        if count != prod(shape):
            raise BadInput(
                f"has {count:,} values where the shape needs {prod(shape):,}",
                path=file.path,
                where=short_name(name),
            )
        tensors[name] = Tensor(name, "float32", shape, data)
    return tensors


def _values(file: SourceFile, field: Field | None) -> tuple[Data, int]:
    if field is None:
        return FileBytes(file, 0, 0), 0
    if field.wire == BYTES:
        return FileBytes(file, field.offset, field.size), field.size // 4
    return Unpacked(file, field), field.value


def _op(wire: Wire, field: Field) -> NetOp:
    kind, inputs, outputs = "", [], []
    args: dict[str, Any] = {}
    arguments: list[Field] = []
    values: Field | None = None
    for inner in wire.inside(field):
        if inner.number == 1:
            inputs.append(wire.text(inner))
        elif inner.number == 2:
            outputs.append(wire.text(inner))
        elif inner.number == 4:
            kind = wire.text(inner)
        elif inner.number == 5:
            arguments.append(inner)
            name, value = _argument(wire, inner)
            if isinstance(value, Field):
                values = value
            elif value is not None:
                args[name] = value
    return NetOp(kind, tuple(inputs), tuple(outputs), args, values, tuple(arguments))


def _argument(wire: Wire, field: Field) -> tuple[str, Any]:
    """An argument's name and value: for a list of floats the field that holds it, None for what is not read."""
    fields = list(wire.inside(field))
    name = next((wire.text(inner) for inner in fields if inner.number == 1), "")
    value: Any = None
    ints: list[int] = []
    for inner in fields:
        if inner.number == 5 and inner.wire in (FIXED32, BYTES):
            if isinstance(value, Field):
                raise wire.damaged("has a list of numbers in several pieces", inner.offset)
            value = inner
        elif name == "values":
            continue  # those of a blob that is not converted, of any number
        elif inner.number == 2 and inner.wire == FIXED32:
            (value,) = struct.unpack("<f", wire.file.read_at(inner.offset + inner.size - 4, 4))
            value = float(f"{value:.6g}")  # stored as float32: the shortest decimal is what was meant
        elif inner.number == 3 and inner.wire == VARINT:
            value = signed(inner.value)
        elif inner.number == 4:
            value = wire.text(inner)
        elif inner.number == 6 and inner.wire in (VARINT, BYTES):
            ints += [signed(number) for number in wire.varints(inner, _NUMBERS)]
            if len(ints) > _NUMBERS:
                raise wire.damaged(f"has an argument of more than {_NUMBERS} numbers", inner.offset)
    return name, tuple(ints) if ints else value
