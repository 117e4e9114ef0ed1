"""Reads Caffe models (``.caffemodel``, and C3D's releases, which have no suffix) and mean files.

Three dialects of ``caffe.proto`` number their fields differently, and a file does not say which it is:

====================  =============================  ============================  =====================
message               ``c3d-v1.0``                   ``bvlc-v1``                   ``bvlc``
====================  =============================  ============================  =====================
NetParameter          name 1, layers 2               name 1, layers 2              name 1, layer 100
layer                 name 4, type 5, blobs 6        name 4, type 5, blobs 6       name 1, type 2, blobs 7
BlobProto             num 1, channels 2, length 3,   num 1, channels 2, height 3, width 4, data 5,
                      height 4, width 5, data 6,     diff 6, shape 7, double_data 8, double_diff 9
                      diff 7
====================  =============================  ============================  =====================

``bvlc`` is also C3D-v1.1's and the TSN fork's. Sources: facebookarchive/C3D 71336a2, BVLC/caffe,
yjxiong/caffe 9831a2b. Field 5 of a blob is a number in one BlobProto and the values in the other, and a
blob's values must be as many as its sizes say, so no blob with values reads as both.
"""

from __future__ import annotations

from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput
from converters.formats.io.protobuf_reader import BYTES, FIXED32, FIXED64, VARINT, Field, Unpacked, Wire
from converters.formats.other_value import OtherValue
from converters.formats.sniff import HEAD, expect, sniff
from converters.printable import short_name
from converters.record import Record
from converters.tensor import FileBytes, Joined, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile

C3D, BVLC_V1, BVLC, HDF5 = "c3d-v1.0", "bvlc-v1", "bvlc", "hdf5"
"""The dialects; the last has no fields."""

_LAYERS = 20_000
_BLOBS = 64  # of one layer
_AXES = 32  # as in Caffe, kMaxBlobAxes
_PIECES = 1_000  # fields of one blob
_FLOATS = {BYTES: 4, FIXED32: 4}
_DOUBLES = {BYTES: 8, FIXED64: 8}
_PROTOTXT = (
    rb"(?:\s|#.*)*(?:name|layers?|input(?:_dim|_blob_shape|_param)?|force_backward|state|debug_info|net|net_param"
    rb"|train_net|test_net|train_state|test_(?:iter|interval|state)|base_lr|lr_policy|gamma|power|momentum"
    rb"|weight_decay|stepsize|display|max_iter|type|iter_size|average_loss|snapshot(?:_prefix)?|solver_mode|random_seed|transform_param)\s*[:{]"
)


class Numbers(NamedTuple):
    """The field numbers of a dialect, for a layer and a blob; 0 for a field that the dialect does not have."""

    name: int
    kind: int
    blobs: int
    sizes: tuple[int, ...]
    data: int
    diff: int
    shape: int = 0
    doubles: int = 0
    double_diff: int = 0


_BVLC_BLOB: Any = {"sizes": (1, 2, 3, 4), "data": 5, "diff": 6, "shape": 7, "doubles": 8, "double_diff": 9}

NUMBERS = {
    C3D: Numbers(name=4, kind=5, blobs=6, sizes=(1, 2, 3, 4, 5), data=6, diff=7),
    BVLC_V1: Numbers(name=4, kind=5, blobs=6, **_BVLC_BLOB),
    BVLC: Numbers(name=1, kind=2, blobs=7, **_BVLC_BLOB),
}
"""The table above, for the writer as well."""


class Layer(NamedTuple):
    """A layer, with ``blobs`` arrays of weights. ``kind`` is its type: text in ``bvlc``, a number in the other
    dialects, empty where the file gives none."""

    name: str
    kind: str | int
    blobs: int


class CaffeModel(Record):
    """A model's weights in the file's order. ``tensors`` are named ``LAYER/0``, ``LAYER/1`` ... and have the shapes
    that the file states; ``net`` is the network's name in the file. Of an HDF5 file, ``other_values`` are the datasets
    that are not weights, such as gradients, and ``metadata`` the attributes."""

    tensors: dict[str, Tensor]
    dialect: str
    net: str
    layers: tuple[Layer, ...]
    other_values: Mapping[str, OtherValue] = MappingProxyType({})
    metadata: Mapping[str, OtherValue] = MappingProxyType({})


class _Blob(NamedTuple):
    """A blob's fields, whose meaning depends on the dialect."""

    name: str
    fields: tuple[Field, ...]


class _Reading(NamedTuple):
    """A blob as one dialect reads it; ``fault`` says why the dialect cannot."""

    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    pieces: tuple[Field, ...] = ()
    fault: str = ""


def read_caffemodel(file: SourceFile) -> CaffeModel:
    """Read the names, shapes and offsets of all blobs.

    Raises `BadInput` for a damaged file, a file of another kind (solver states, mean files and network descriptions
    are named), blobs that fit no dialect, and two layers with weights and the same name.
    """
    _expect(file, "model")
    wire = Wire(file)
    net = ""
    entries: list[Field] = []
    for field in wire.fields(0, file.size):
        if field.number == 1:
            net = wire.text(field)
        elif field.number in (2, 100):
            if field.wire != BYTES:
                raise wire.damaged("has a layer that is not a message", field.offset)
            if len(entries) == _LAYERS:
                raise wire.damaged(f"has more than {_LAYERS:,} layers", field.offset)
            entries.append(field)
    forms = {field.number for field in entries}
    if not forms:
        raise BadInput("holds no layers", path=file.path, hint="this is not a Caffe model, or an empty one")
    if len(forms) > 1:
        raise BadInput(
            "has layers of the old form and of the new (fields 2 and 100)",
            path=file.path,
            hint="Caffe would use only one of them; write the file again with upgrade_net_proto_binary",
        )
    dialects = (BVLC,) if 100 in forms else (C3D, BVLC_V1)
    layers, blobs = _layers(wire, entries, NUMBERS[dialects[0]])
    dialect = _dialect(wire, blobs, dialects)
    tensors = {
        blob.name: _lazy_tensor(file, blob.name, _reading(wire, blob, NUMBERS[dialect])) for blob in blobs
    }
    return CaffeModel(tensors=tensors, dialect=dialect, net=net, layers=layers)


def read_caffe_hdf5(file: SourceFile) -> CaffeModel:
    """Read a ``.caffemodel.h5``, whose datasets are ``data/LAYER/0`` ... (dialect ``hdf5``). Raises `BadInput` as
    `read_caffemodel` does, and `Refused` without h5py."""
    from converters.formats.hdf5.reader import read_hdf5

    contents = read_hdf5(file)
    if "history" in contents.groups:
        what, hint = _KIND_WORDS["solverstate"]
        raise BadInput(what, path=file.path, hint=hint)
    if "data" not in contents.groups:
        raise BadInput(
            "is an HDF5 file, but not one of Caffe's", path=file.path, hint="a .caffemodel.h5 was expected"
        )
    tensors: dict[str, Tensor] = {}
    other_values = {name.removeprefix("data/"): other for name, other in contents.other_values.items()}
    other_values |= {path: OtherValue(kind="None", beside=True) for path in contents.empty}
    blobs: dict[str, int] = {}
    for path, tensor in contents.tensors.items():
        name = path.removeprefix("data/")
        layer, _, index = name.rpartition("/")
        if name == path:
            other_values[path] = OtherValue(
                kind=tensor.dtype, shape=tensor.shape, data=tensor.data, beside=True
            )
            continue  # the group ``diff``
        if not layer or not index.isdecimal():
            raise BadInput(
                "has a dataset that is not a blob of a layer",
                path=file.path,
                where=short_name(path),
                hint="a .caffemodel.h5 has data/LAYER/0, data/LAYER/1 ... only",
            )
        tensors[name] = Tensor(name, tensor.dtype, tensor.shape, tensor.data)
        blobs[layer] = blobs.get(layer, 0) + 1
    if not tensors:
        raise BadInput("holds no weights", path=file.path, hint="it is empty, or a snapshot of another net")
    names = (group.removeprefix("data/") for group in contents.groups if group.startswith("data/"))
    return CaffeModel(
        tensors=tensors,
        dialect=HDF5,
        net="",
        layers=tuple(Layer(name, "", blobs.get(name, 0)) for name in names),
        other_values=other_values,
        metadata=contents.metadata,
    )


def read_mean(file: SourceFile) -> Tensor:
    """The mean image or cube of a ``.binaryproto``, which is a bare BlobProto of any dialect.

    The tensor is called ``mean`` and has the shape [channels, (frames,) height, width]; a leading ``num`` of 1 is
    dropped. Raises `BadInput` for any other file, saying what it is.
    """
    _expect(file, "mean")
    wire = Wire(file)
    blob = _Blob("mean", _blob_fields(wire, 0, file.size))
    dialect = _dialect(wire, [blob], (C3D, BVLC))
    reading = _reading(wire, blob, NUMBERS[dialect])
    shape = reading.shape
    has_shape_field = any(field.number == NUMBERS[dialect].shape for field in blob.fields)
    if len(shape) >= 4 and shape[0] == 1:
        shape = shape[1:]
    elif not has_shape_field or len(shape) not in (
        3,
        4,
    ):  # pycaffe's array_to_blobproto adds no axis to an array
        raise BadInput(
            f"holds an array of {_shape_text(shape)}, which is not a mean",
            path=file.path,
            hint="a mean file has 1 x channels x (frames x) height x width",
        )
    return _lazy_tensor(file, "mean", reading._replace(shape=shape))


def message_kind(file: SourceFile) -> str:
    """The kind of a Caffe file by its outermost fields: ``model``, ``mean``, ``solverstate`` or ``prototxt``; empty
    for other files."""
    head = file.read_at(0, min(HEAD, file.size))
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()  # an empty first line looks like a net's name
    if sniff(text) == "text":
        from re import match

        return "prototxt" if match(_PROTOTXT, text) else ""
    if sniff(head) not in ("protobuf", "unknown"):
        return ""
    wires: dict[int, int] = {}
    wire = Wire(file)
    try:
        tag, _ = wire.varint(0, file.size)
        wires[tag >> 3] = tag & 7
        for field in wire.fields(0, file.size):
            wires.setdefault(field.number, field.wire)
            if 2 in wires and wires.get(1) != VARINT:
                break
    except BadInput:
        pass  # the fields before the damage are enough
    first, first_wire = next(iter(wires.items()), (0, BYTES))
    if first_wire == BYTES and first in (1, 2, 3, 100):
        return "model"
    if (
        (first == 1 and first_wire == VARINT and wires.get(2) == VARINT)
        or first == 5
        or (first == 7 and 8 in wires)
    ):
        return "mean"  # the last with double values, in front of which is their shape
    if (
        first == 1
        and first_wire == VARINT
        and BYTES in (wires.get(2), wires.get(3))
        and not {7, 8} & wires.keys()
    ):
        return "solverstate"  # with 7 or 8, the graph and its operator sets, it is an ONNX model
    return ""


_KIND_WORDS = {
    "model": ("is a Caffe model", "convert it as such; the mean is in a .binaryproto beside it"),
    "mean": (
        "is a Caffe mean file (.binaryproto), not a model",
        "`convert c3d` turns it into an .npy; the weights are in the .caffemodel",
    ),
    "solverstate": (
        "is a Caffe solver state (.solverstate), not a model",
        "the weights are in the .caffemodel of the same iteration",
    ),
    "prototxt": (
        "is the description of a Caffe network or its training (.prototxt), without weights",
        "the weights are in the .caffemodel",
    ),
}


def _expect(file: SourceFile, expected: str) -> None:
    """Raise `BadInput`, which says what the file is, unless it is of the kind ``expected``."""
    kind = message_kind(file)
    if kind == expected:
        return
    if kind:
        what, hint = _KIND_WORDS[kind]
        raise BadInput(what, path=file.path, hint=hint)
    if sniff(file.read_at(0, min(HEAD, file.size))) != "protobuf":
        expect(file, "protobuf")
    raise BadInput(
        "is a protocol buffer, but not one of Caffe's", path=file.path, hint="a .caffemodel was expected"
    )


def _layers(wire: Wire, entries: list[Field], numbers: Numbers) -> tuple[tuple[Layer, ...], list[_Blob]]:
    """All layers, and the blobs of those with weights."""
    path = wire.file.path
    layers: list[Layer] = []
    blobs: list[_Blob] = []
    owners: set[str] = set()
    has_v0_layers = False
    for entry in entries:
        name, kind = "", ""  # type: str, str | int
        layer_blobs: list[tuple[Field, ...]] = []
        for field in wire.fields(entry.offset, entry.offset + entry.size):
            if field.number == numbers.name:
                name = wire.text(field)
            elif field.number == numbers.kind:
                kind = field.value if field.wire == VARINT else wire.text(field)
            elif field.number == numbers.blobs:
                if field.wire != BYTES:
                    raise wire.damaged("has a blob that is not a message", field.offset)
                if len(layer_blobs) == _BLOBS:
                    raise wire.damaged(f"has a layer of more than {_BLOBS} blobs", entry.offset)
                layer_blobs.append(_blob_fields(wire, field.offset, field.offset + field.size))
            elif field.number == 1:
                has_v0_layers = True  # field 1 is not the name here: a layer within the layer, as in V0
        layers.append(Layer(name, kind, len(layer_blobs)))
        if layer_blobs and not name:
            raise wire.damaged("has a layer with weights and without a name", entry.offset)
        if layer_blobs and name in owners:
            raise BadInput(
                "has two layers of this name with weights",
                path=path,
                where=f"layer {short_name(name)}",
                hint="weights go by their layers' names; rename one in the network and save it again",
            )
        if layer_blobs:
            owners.add(name)
        blobs += [_Blob(f"{name}/{index}", fields) for index, fields in enumerate(layer_blobs)]
    if not blobs and has_v0_layers:
        raise BadInput(
            "is a Caffe model of the first format (V0)",
            path=path,
            hint="write it again with Caffe's upgrade_net_proto_binary",
        )
    if not blobs:
        raise BadInput(
            "holds no weights", path=path, hint="it describes a network only; the weights are in another file"
        )
    return tuple(layers), blobs


def _blob_fields(wire: Wire, start: int, end: int) -> tuple[Field, ...]:
    """A blob's fields. Raises `BadInput` for a blob in too many pieces."""
    blob_fields: list[Field] = []
    for field in wire.fields(start, end):
        if len(blob_fields) == _PIECES:
            raise wire.damaged(f"has a blob of more than {_PIECES:,} fields", start)
        blob_fields.append(field)
    return tuple(blob_fields)


def _dialect(wire: Wire, blobs: list[_Blob], dialects: tuple[str, ...]) -> str:
    """The dialect in which every blob has as many values as its shape asks for. Raises `BadInput`."""
    faults: dict[str, tuple[_Blob, str]] = {}
    for dialect in dialects:
        for blob in blobs:
            fault = _reading(wire, blob, NUMBERS[dialect]).fault
            if fault:
                faults[dialect] = (blob, fault)
                break
    fitting = [dialect for dialect in dialects if dialect not in faults]
    if len(fitting) == 1:
        return fitting[0]
    # Field 5 shows which dialect was meant.
    sized = any(field.number == 5 and field.wire == VARINT for field in blobs[0].fields)
    meant = C3D if sized and C3D in dialects else dialects[-1]
    blob, fault = faults[meant]
    raise BadInput(
        f"has a blob that cannot be read: {fault}",
        path=wire.file.path,
        where=f"blob {short_name(blob.name)}",
        hint="the file is damaged, or comes from an unknown Caffe fork",
    )


def _reading(wire: Wire, blob: _Blob, numbers: Numbers) -> _Reading:
    """A blob as a dialect reads it. A field with an unexpected wire type is a fault: that is how the dialects
    differ."""
    sizes: dict[int, int] = {}
    shape: list[int] | None = None
    floats: list[Field] = []
    doubles: list[Field] = []
    for field in blob.fields:
        number, expected_wire = field.number, FIXED32
        if number in numbers.sizes:
            sizes[number] = field.value
            expected_wire = VARINT
        elif number == numbers.data:
            floats.append(field)
        elif number == numbers.doubles:
            doubles.append(field)
            expected_wire = FIXED64
        elif number == numbers.shape:
            shape = (shape or []) + _blob_shape(wire, field)
            expected_wire = BYTES
        elif number == numbers.double_diff:
            expected_wire = FIXED64
        elif number != numbers.diff:
            continue
        if field.wire != expected_wire and (field.wire != BYTES or expected_wire == VARINT):
            return _Reading(fault=f"field {number} has the wire type {field.wire}")
    if floats and doubles:
        return _Reading(fault="it has float and double values")
    dtype, itemsize = ("float64", _DOUBLES) if doubles else ("float32", _FLOATS)
    pieces = tuple(field for field in doubles or floats if field.size)
    count = 0
    for field in pieces:
        size = itemsize[field.wire]
        if field.wire == BYTES and field.size % size:
            return _Reading(fault=f"its {field.size:,} bytes of values are not a whole number of {dtype}")
        count += field.size // size if field.wire == BYTES else field.value
    if not count:
        return _Reading(fault="it has no values")
    final = _agreed_shape(sizes, shape, numbers)
    if final is None:
        return _Reading(fault="its two shapes differ")
    if len(final) > _AXES or not all(0 < size < 1 << 31 for size in final):
        return _Reading(fault=f"its shape is impossible: {_shape_text(final)}")
    if prod(final) != count:
        return _Reading(fault=f"it has {count:,} values, its shape is {_shape_text(final)}")
    return _Reading(dtype, final, pieces)


def _agreed_shape(sizes: dict[int, int], shape: list[int] | None, numbers: Numbers) -> tuple[int, ...] | None:
    """The shape from the old fields (num, channels ...), the new field ``shape``, or both; None if the two differ in
    more than sizes of 1."""
    old = tuple(sizes.get(number, 0) for number in numbers.sizes)
    if len(old) == 5 and 3 not in sizes:
        old = (*old[:2], 1, *old[3:])  # files older than ``length``, as C3D itself reads them
    if shape is None:
        return old if sizes or len(old) == 5 else ()
    if sizes and [size for size in old if size != 1] != [size for size in shape if size != 1]:
        return None
    return old if sizes else tuple(shape)


def _blob_shape(wire: Wire, field: Field) -> list[int]:
    """The sizes in a BlobShape, packed or not."""
    sizes: list[int] = []
    if field.wire != BYTES:
        return sizes
    for inner in wire.fields(field.offset, field.offset + field.size):
        if inner.number == 1 and inner.wire in (VARINT, BYTES):
            sizes += wire.varints(inner, _AXES + 1)
        if len(sizes) > _AXES:
            raise wire.damaged(f"has a blob of more than {_AXES} axes", field.offset)
    return sizes


def _lazy_tensor(file: SourceFile, name: str, reading: _Reading) -> Tensor:
    parts = tuple(
        FileBytes(file, field.offset, field.size) if field.wire == BYTES else Unpacked(file, field)
        for field in reading.pieces
    )
    return Tensor(name, reading.dtype, reading.shape, parts[0] if len(parts) == 1 else Joined(parts))


def _shape_text(shape: tuple[int, ...]) -> str:
    sizes = [str(size) if size < 1 << 63 else str(size - (1 << 64)) for size in shape[:6]]
    return "x".join(sizes + ["..."] * (len(shape) > 6)) or "one value"
