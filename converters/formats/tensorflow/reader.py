"""Reads TensorFlow checkpoints, V2 bundles and V1 files, without TensorFlow. Every length is checked before it is
used.

Formats as in TensorFlow's sources: ``tensor_bundle.proto`` and ``tensor_bundle.cc`` for V2,
``saved_tensor_slice.proto`` and ``tensor_slice_writer.cc`` for V1; both are sorted tables (`sstable`).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.io.crc32c import masked, running_crc32c
from converters.formats.io.protobuf_fields import (
    BYTES,
    CONTINUED,
    VARINT,
    Damaged,
    fields,
    packed_varints,
    text,
)
from converters.formats.other_value import unconverted
from converters.printable import short_name
from converters.record import Record
from converters.tensor import ITEMSIZE, FileBytes, Joined, Swapped, Tensor

from .files import CheckpointFiles, find_checkpoint
from .slices import assembled, parse_extents, part_of, slice_key
from .sstable import damaged, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.formats.io.protobuf_fields import Buffer, Field
    from converters.formats.other_value import OtherValue
    from converters.tensor import Data

    from .sstable import Entry

    Extents = tuple[tuple[int, int], ...]

DTYPE = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    19: "float16",
}
"""TensorFlow's dtypes that a state dict can hold, and our name of each."""

_OTHER = {7: "text", 8: "complex64", 17: "uint16", 18: "complex128", 22: "uint32", 23: "uint64"} | {
    11: "qint8",
    12: "quint8",
    13: "qint32",
    15: "qint16",
    16: "quint16",
    20: "resource",
    21: "variant",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    29: "int4",
    30: "uint4",
}
_LITTLE, _BIG = 0, 1
_VERSION = 1  # the newest bundle format
_AXES = 64  # more than torch and numpy can have


class TensorflowCheckpoint(Record):
    """The contents of a checkpoint, sorted by name.

    ``prefix`` is TensorFlow's name for it, ``version`` is ``"V1"`` or ``"V2"``. ``files`` are all open files: the
    index or tables first, then the shards with data. ``other_values`` are entries that are not converted: texts and
    rarer dtypes. Without ``checksum`` no checksums are compared.
    """

    prefix: str
    version: str
    files: tuple[SourceFile, ...]
    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    checksum: bool

    def __enter__(self) -> TensorflowCheckpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def read_tensorflow(path: str, *, checksum: bool = True) -> TensorflowCheckpoint:
    """Read the names, shapes and offsets of all variables of the checkpoint that ``path`` names (`find_checkpoint`).
    Close it when done.

    The CRC-32C of every block is compared here, that of a V2 tensor when its bytes are read to the end; neither
    without ``checksum``. Raises `BadInput` for a missing, damaged or incomplete checkpoint.
    """
    checkpoint_files = find_checkpoint(path)
    opened: list[SourceFile] = []
    try:
        reader = _read_v1 if checkpoint_files.index_path is None else _read_v2
        tensors, other_values = reader(checkpoint_files, opened, checksum)
    except BaseException:
        for file in opened:
            file.close()
        raise
    version = "V1" if checkpoint_files.index_path is None else "V2"
    return TensorflowCheckpoint(
        prefix=checkpoint_files.prefix,
        version=version,
        files=tuple(opened),
        tensors=tensors,
        other_values=other_values,
        checksum=checksum,
    )


def verify_crcs(checkpoint: TensorflowCheckpoint) -> None:
    """Read every tensor, which compares its CRC-32C. Raises `BadInput`, naming a damaged one. V1 tensors have none;
    the checksums of their blocks were compared when the file was opened."""
    for tensor in checkpoint.tensors.values():
        for _ in tensor.data.chunks():
            pass


class Checked(NamedTuple):
    """Bytes of a shard and their masked CRC-32C. Raises `BadInput` after the last byte if it differs."""

    file: SourceFile
    offset: int
    nbytes: int
    crc32c: int
    name: str

    def chunks(self) -> Iterator[memoryview]:
        crc = running_crc32c()
        for chunk in self.file.chunks(self.offset, self.nbytes):
            crc.update(chunk)
            yield chunk
        if masked(crc.value()) != self.crc32c:
            raise BadInput(
                "has a tensor whose CRC-32C is wrong",
                path=self.file.path,
                where=short_name(self.name),
                hint="the file is damaged or belongs to another index; fetch it again",
            )


def _read_v2(
    checkpoint_files: CheckpointFiles, opened: list[SourceFile], checksum: bool
) -> tuple[dict[str, Tensor], dict[str, OtherValue]]:
    assert checkpoint_files.index_path is not None
    index = SourceFile(checkpoint_files.index_path)
    opened.append(index)
    places: dict[bytes, _Place] = {}
    count = order = 0
    name = ""
    try:
        for entry in read_table(index, checksum=checksum):
            if entry.key:
                name = entry.key.decode("utf-8", "backslashreplace")
                places[entry.key] = _parse_place(entry.value)
            else:
                count, order = _parse_header(entry.value, index)
        name = ""
        if not count:
            raise Damaged("no header")
        shards = _Shards(checkpoint_files, count, opened, swapped=order == _BIG, checksum=checksum)
        tensors: dict[str, Tensor] = {}
        other_values: dict[str, OtherValue] = {}
        parts: set[bytes] = set()
        for key, place in places.items():
            if key[0] == 0:  # a part of a variable, which is read with it
                continue
            name = _name(key)
            dtype = DTYPE.get(place.dtype)
            if dtype is None:
                other_values[name] = _other(place.dtype, place.shape, shards.other_data(place))
            elif place.slices:
                pieces = []
                for extents in place.slices:
                    part = slice_key(name, extents)
                    parts.add(part)
                    pieces.append((extents, _part(shards, name, place, extents, places.get(part))))
                tensors[name] = _whole(name, dtype, place.shape, pieces)
            else:
                tensors[name] = Tensor(name, dtype, place.shape, shards.data(name, dtype, place))
        name = ""
        if any(key[0] == 0 and key not in parts and places[key].dtype in DTYPE for key in places):
            raise Damaged("parts of a variable that it does not have")
        shards.refuse_overlaps()
    except Damaged as error:
        raise _bad(index, str(error), name) from None
    return tensors, other_values


class _Place(NamedTuple):
    """A BundleEntryProto: the shard, offset and size of a tensor, or its slices."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: tuple[Extents, ...]


class _Shards:
    """The data shards of a bundle, each opened for its first tensor."""

    def __init__(
        self,
        checkpoint_files: CheckpointFiles,
        count: int,
        opened: list[SourceFile],
        *,
        swapped: bool,
        checksum: bool,
    ) -> None:
        self._found = checkpoint_files
        self._count = count
        self._opened = opened
        self._swapped = swapped
        self._checksum = checksum
        self._files: dict[int, SourceFile] = {}
        self._spans: dict[int, list[tuple[int, int, str]]] = {}

    def data(self, name: str, dtype: str, place: _Place) -> Data:
        """The bytes of a tensor. Raises `Damaged` if their number contradicts shape and dtype, `BadInput` outside the
        shard."""
        size = prod(place.shape) * ITEMSIZE[dtype]
        if size != place.size:
            wanted = f"{size:,}" if size < 1 << 63 else "more than any file has"
            raise Damaged(f"{place.size:,} bytes where its shape and dtype take {wanted}")
        file = self._file(place.shard)
        if place.offset + size > file.size:
            raise file.cut(place.offset, size)
        self._spans.setdefault(place.shard, []).append((place.offset, place.offset + size, name))
        data: Data = FileBytes(file, place.offset, size)
        if self._checksum:
            data = Checked(file, place.offset, size, place.crc, name)
        return Swapped(data, ITEMSIZE[dtype]) if self._swapped and ITEMSIZE[dtype] > 1 else data

    def other_data(self, place: _Place) -> Data | None:
        """The bytes of a value that is not converted, as they are; None for one in slices, or where they are not."""
        if place.slices:
            return None
        try:
            file = self._file(place.shard)
        except (BadInput, Damaged):
            return None
        return FileBytes(file, place.offset, place.size) if place.offset + place.size <= file.size else None

    def refuse_overlaps(self) -> None:
        """Raise `Damaged` if bytes of a shard belong to two tensors."""
        for spans in self._spans.values():
            free = 0
            for begin, end, name in sorted(spans):
                if begin < free:
                    raise Damaged(f"bytes in another tensor's place ({short_name(name)})")
                free = end

    def _file(self, number: int) -> SourceFile:
        if number not in self._files:
            if number >= self._count:
                raise Damaged(f"data in shard {number} of {self._count}")
            path = self._found.shard(number, self._count)
            try:
                file = SourceFile(path)
            except BadInput as error:
                raise BadInput(
                    error.told.what,
                    path=path,
                    hint="the checkpoint's data is there; put it beside the .index under this name",
                ) from None
            self._files[number] = file
            self._opened.append(file)
        return self._files[number]


def _part(shards: _Shards, name: str, whole: _Place, extents: Extents, part: _Place | None) -> Data:
    """The bytes of a slice of a variable."""
    if part is None or part.slices or part.dtype != whole.dtype:
        raise Damaged("a part that is not there")
    if part.shape != part_of(extents, whole.shape).sizes:
        raise Damaged("a part of another shape")
    return shards.data(name, DTYPE[part.dtype], part)


def _parse_header(value: Buffer, index: SourceFile) -> tuple[int, int]:
    """The number of shards and the byte order in a BundleHeaderProto."""
    count, order, oldest = 0, _LITTLE, 0
    for field in fields(value):
        if field.number == 1 and field.wire == BYTES:
            raise BadInput(
                "is a V1 checkpoint, not the index of a V2 one",
                path=index.path,
                hint="take .index off its name: it is the whole checkpoint",
            )
        if field.number == 1:
            count = field.value
        elif field.number == 2:
            order = field.value
        elif field.number == 3:
            oldest = _number(value, field, 2)
    if oldest > _VERSION:
        raise Damaged(f"version {oldest} of the format, which only a newer reader understands")
    if order not in (_LITTLE, _BIG):
        raise Damaged("an unknown byte order")
    return count, order


def _parse_place(value: Buffer) -> _Place:
    dtype = shard = offset = size = crc = 0
    shape: tuple[int, ...] = ()
    slices = []
    for field in fields(value):
        if field.number == 1:
            dtype = field.value
        elif field.number == 2:
            shape = _parse_shape(value, field)
        elif field.number == 3:
            shard = field.value
        elif field.number == 4:
            offset = field.value
        elif field.number == 5:
            size = field.value
        elif field.number == 6:
            crc = field.value
        elif field.number == 7:
            slices.append(parse_extents(value, field))
    return _Place(
        dtype=dtype, shape=shape, shard=shard, offset=offset, size=size, crc=crc, slices=tuple(slices)
    )


# V1


class _Variable(NamedTuple):
    """A variable in a V1 file's header, and the slices found so far."""

    dtype: int
    shape: tuple[int, ...]
    expected: set[Extents]
    pieces: dict[Extents, Data]


def _read_v1(
    checkpoint_files: CheckpointFiles, opened: list[SourceFile], checksum: bool
) -> tuple[dict[str, Tensor], dict[str, OtherValue]]:
    variables: dict[str, _Variable] = {}
    for path in checkpoint_files.tables:
        file = SourceFile(path)
        opened.append(file)
        try:
            for entry in read_table(file, checksum=checksum):
                _take_v1(entry, variables, file)
        except Damaged as error:
            raise _bad(file, str(error)) from None
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    name = ""
    try:
        for name, variable in sorted(variables.items()):
            dtype = DTYPE.get(variable.dtype)
            if dtype is None:
                whole = Joined(tuple(data for _, data in sorted(variable.pieces.items(), key=_extents)))
                other_values[name] = _other(variable.dtype, variable.shape, whole)
                continue
            if variable.expected != variable.pieces.keys():
                raise Damaged("a part that is not there")
            tensors[name] = _whole(name, dtype, variable.shape, list(variable.pieces.items()))
    except Damaged as error:
        raise _bad(opened[0], str(error), name) from None
    return tensors, other_values


def _take_v1(entry: Entry, variables: dict[str, _Variable], file: SourceFile) -> None:
    """An entry of a V1 table, a SavedTensorSlices: the header under the empty key, else a slice's values."""
    for field in fields(entry.value):
        if field.wire == VARINT and not entry.key:
            raise BadInput(
                "is the index of a V2 checkpoint",
                path=file.path,
                hint="it must be called PREFIX.index, beside its PREFIX.data files",
            )
        if field.wire != BYTES:
            raise Damaged("a number where tensors belong")
        if field.number == 1 and not entry.key:
            for item in fields(entry.value, field.start, field.end):
                if item.number == 1:
                    _take_meta(entry.value, item, variables)
        elif field.number == 2 and entry.key:
            _take_values(entry, field, variables)


def _take_meta(value: Buffer, field: Field, variables: dict[str, _Variable]) -> None:
    """A SavedSliceMeta. In a sharded checkpoint every file lists its own slices."""
    name, dtype = "", 0
    shape: tuple[int, ...] = ()
    slices = []
    for item in fields(value, field.start, field.end):
        if item.number == 1:
            name = text(value, item)
        elif item.number == 2:
            shape = _parse_shape(value, item)
        elif item.number == 3:
            dtype = item.value
        elif item.number == 4:
            slices.append(parse_extents(value, item))
    variable = variables.setdefault(name, _Variable(dtype, shape, set(), {}))
    if (variable.dtype, variable.shape) != (dtype, shape) or not variable.expected.isdisjoint(slices):
        raise Damaged(f"a variable twice ({short_name(name)})")
    variable.expected.update(slices)


def _take_values(entry: Entry, field: Field, variables: dict[str, _Variable]) -> None:
    """A SavedSlice; its values stay in the file."""
    value = entry.value
    name = ""
    extents: Extents = ()
    proto: Field | None = None
    for item in fields(value, field.start, field.end):
        if item.number == 1:
            name = text(value, item)
        elif item.number == 2:
            extents = parse_extents(value, item)
        elif item.number == 3:
            proto = item
    variable = variables.get(name)
    if variable is None or proto is None or extents not in variable.expected or extents in variable.pieces:
        raise Damaged(f"values that its header does not name ({short_name(name)})")
    dtype = DTYPE.get(variable.dtype)
    if dtype is None:
        variable.pieces[extents] = entry.block.data(entry.start + proto.start, proto.end - proto.start)
    else:
        count = prod(part_of(extents, variable.shape).sizes)
        try:
            variable.pieces[extents] = _values(entry, proto, dtype, count)
        except Damaged as error:
            raise Damaged(f"{error} ({short_name(name)})") from None


_VALUES = {"float32": 5, "float64": 6, "int64": 10, "bool": 11, "float16": 13, "bfloat16": 13}
"""The field of a TensorProto that holds a dtype's values, packed; `_INTEGERS` holds those of all smaller integers."""
_INTEGERS = 7


def _values(entry: Entry, proto: Field, dtype: str, count: int) -> Data:
    """The ``count`` values of a TensorProto. Raises `Damaged` for another number."""
    number = _VALUES.get(dtype, _INTEGERS)
    packed: Field | None = None
    for field in fields(entry.value, proto.start, proto.end):
        if field.number == number:
            if packed is not None or field.wire != BYTES:
                raise Damaged("values in more than one piece")
            packed = field
    start, size = (packed.start, packed.end - packed.start) if packed else (0, 0)
    data = entry.block.data(entry.start + start, size)
    if dtype in ("float32", "float64"):
        if size != count * ITEMSIZE[dtype]:
            raise Damaged(f"{size:,} bytes of values where its shape takes another number")
        return data
    # Only the last byte of a varint is below 128.
    content = bytes(entry.value[start : start + size])
    if len(content.translate(None, CONTINUED)) != count or (content and content[-1] > 127):
        raise Damaged("another number of values than its shape takes")
    return _Varints(data, ITEMSIZE[dtype], entry.block.file)


class _Varints(NamedTuple):
    """Integers, or the bits of half-precision numbers, packed as varints."""

    packed: Data
    itemsize: int
    file: SourceFile

    def chunks(self) -> Iterator[memoryview]:
        try:
            for values in packed_varints(self.packed.chunks()):
                yield memoryview(values.astype(f"<u{self.itemsize}").tobytes())
        except Damaged as error:
            raise damaged(self.file, str(error)) from None


# Both


def _whole(name: str, dtype: str, shape: tuple[int, ...], pieces: list[tuple[Extents, Data]]) -> Tensor:
    parts = [(part_of(extents, shape), data) for extents, data in pieces]
    if len(parts) == 1 and parts[0][0].sizes == shape:
        return Tensor(name, dtype, shape, parts[0][1])
    return Tensor(name, dtype, shape, assembled(ITEMSIZE[dtype], shape, parts))


def _parse_shape(value: Buffer, field: Field) -> tuple[int, ...]:
    """The shape in a TensorShapeProto."""
    if field.wire != BYTES:
        raise Damaged("a shape that is not a message")
    shape: list[int] = []
    for item in fields(value, field.start, field.end):
        if item.number == 2:
            size = _number(value, item, 1)
            if size >= 1 << 63 or len(shape) == _AXES:
                raise Damaged("an impossible shape")
            shape.append(size)
        elif item.number == 3 and item.value:
            raise Damaged("an unknown shape")
    return tuple(shape)


def _number(value: Buffer, field: Field, number: int) -> int:
    """The integer field ``number`` of a message, 0 if it is absent."""
    if field.wire != BYTES:
        raise Damaged("a number where a message belongs")
    return next((item.value for item in fields(value, field.start, field.end) if item.number == number), 0)


def _name(key: bytes) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("a name that is not UTF-8") from None


def _other(dtype: int, shape: tuple[int, ...], data: Data | None) -> OtherValue:
    return unconverted(_OTHER.get(dtype, f"dtype {dtype}"), shape, data)


def _extents(piece: tuple[Extents, Data]) -> Extents:
    return piece[0]


def _bad(file: SourceFile, what: str, name: str = "") -> BadInput:
    error = damaged(file, what)
    error.where = short_name(name)
    return error
