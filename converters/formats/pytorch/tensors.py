"""Records that all of PyTorch's formats share: tensors as a pickle refers to them, and the contents of a file.

The forms are those of PyTorch's ``torch/_utils.py`` and ``torch/serialization.py``.
"""

from __future__ import annotations

from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.io.zip_records import CheckedPart, CheckedRecord, RecordCheck, ZipRecord
from converters.formats.pickle.machine import Global, Inert, InertDict
from converters.formats.pickle.numpy_arrays import refuse_too_many
from converters.formats.pickle.strings import PickleError, Span, content, encodes
from converters.printable import short_name
from converters.record import Record
from converters.tensor import ITEMSIZE, Data, FileBytes, Swapped, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}

_OTHER_ITEMSIZES = {"complex32": 4, "complex64": 8, "complex128": 16, "qint32": 4} | {
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}
"""Bytes of an element that is not converted, where they are more than one."""

_DEVICES = ("cpu", "cuda", "mps", "xpu", "xla", "npu", "hpu", "mtia", "meta")

_LONGEST_NAME = 1024
"""Bytes of the longest name that is read."""


class PthFile(Record):
    """The contents of a checkpoint, in the file's order.

    ``tensors`` are those of the state dict, which is the whole file or its entry ``wrapper`` (a path with dots).
    ``other_values`` is all else, beside the state dict and in it; ``beside`` are the entries of it that are state
    dicts too. ``records`` are the zip file's by name, each ``(offset, size, crc)``. ``crcs`` has the
    CRC-32 of each tensor that is exactly one record, as the file has it. ``provenance`` is the text that a conversion
    left. ``metadata`` are the records of the zip file that hold neither tensors nor the pickle, and the attributes of
    a TorchScript module. ``script`` is true of a TorchScript file, ``exported`` of a program of
    torch.export that we wrote.
    """

    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    wrapper: str | None
    records: dict[str, ZipRecord]
    crcs: dict[str, int]
    provenance: str | None
    metadata: Mapping[str, OtherValue] = MappingProxyType({})
    beside: tuple[str, ...] = ()
    script: bool = False
    exported: bool = False


class State(Record):
    """A state dict in a checkpoint: its ``entries``, the path ``wrapper`` to it, the values outside it, and the paths
    ``beside`` of other state dicts among these. ``attributes`` are those of the dictionary itself."""

    entries: Mapping[str, object]
    wrapper: str | None = None
    other_values: Mapping[str, object] = MappingProxyType({})
    beside: tuple[str, ...] = ()
    attributes: object = None


class Strided(NamedTuple):
    """An array of ``shape`` with steps of ``strides`` elements along its axes, from offset ``start`` of the file.
    Needs numpy, and memory for the elements it spans while it is read."""

    file: SourceFile
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        import numpy as np

        raw = self.file.read_at(self.start, _span(self.shape, self.strides) * self.itemsize)
        steps = [stride * self.itemsize for stride in self.strides]
        elements: np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]] = np.ndarray(
            self.shape, f"u{self.itemsize}", raw, 0, steps
        )
        flat = np.ascontiguousarray(elements).reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), CHUNK):
            yield flat[start : start + CHUNK]


class TorchStorage:
    """A record of tensor data. ``dtype`` is empty for an untyped storage; ``file`` is where the record is, None for the
    file that the pickle is in. ``device`` is where it was, if not on one that every PyTorch knows."""

    __slots__ = ("device", "dtype", "file", "name", "record")

    def __init__(
        self, dtype: str, name: str, record: ZipRecord, file: SourceFile | None = None, device: str = ""
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.name = name
        self.record = record
        self.file = file


class Size(Inert):
    """A ``torch.Size``. Its sizes stay where they are: what is stored once can be used in every call."""

    __slots__ = ("sizes",)
    name = "torch.Size"

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def made_from(self) -> tuple[int, ...]:
        """The sizes."""
        return self.sizes


class TorchTensor:
    """A tensor: ``shape`` elements of a storage from element ``first`` on, in steps of ``strides``. ``attributes`` are
    those that a program has added to the object, None if there are none. ``form`` says whether it is a parameter, and
    whether it wants gradients; it is empty for an ordinary tensor."""

    __slots__ = ("attributes", "dtype", "first", "form", "shape", "storage", "strides")

    def __init__(self, storage: object, first: object, shape: object, strides: object, dtype: str) -> None:
        if not isinstance(storage, TorchStorage) or type(first) is not int or not 0 <= first < 1 << 63:
            raise PickleError("has a tensor of unknown form")
        self.attributes: object = None
        self.form = ""
        self.storage = storage
        self.first = first
        self.shape = checked_sizes(shape)
        self.strides = checked_sizes(strides)
        self.dtype = dtype or storage.dtype
        if len(self.shape) != len(self.strides) or not self.dtype or storage.dtype not in ("", self.dtype):
            raise PickleError("has a tensor of unknown form")


class OddTensor(TorchTensor):
    """A tensor that is not a strided view of a storage: ``kind`` says what it is, ``hint`` how to save a plain one,
    ``made_from`` are the arguments that PyTorch would make it from. It is not converted. ``shape`` is empty where it
    has none of its own."""

    __slots__ = ("hint", "kind", "made_from")

    def __init__(self, kind: str, hint: str, made_from: tuple[object, ...], shape: object) -> None:
        self.shape = checked_sizes(shape) if isinstance(shape, (tuple, Size)) else ()
        self.attributes = None
        self.form = ""
        self.dtype = ""
        self.kind = kind
        self.hint = hint
        self.made_from = made_from


def named(file: SourceFile, entries: dict[object, object]) -> dict[str, object]:
    """Entries by name. PyTorch under Python 2 wrote names as bytes; optimizers use numbers; whatever else is a key
    beside the weights has a text of its own. Raises `BadInput`."""
    refuse_too_many(file, entries)
    named: dict[str, object] = {}
    texts = {key for key in entries if isinstance(key, str)}
    for key, value in entries.items():
        name = key if isinstance(key, str) else _name(file, key, is_tensor=isinstance(value, TorchTensor))
        if not encodes(name):
            raise BadInput(f"has a name that is not valid Unicode: {short_name(name)}", path=file.path)
        if (name in named or (name in texts and not isinstance(key, str))) and not _either_is_a_tensor(
            value, named.get(name), entries.get(name)
        ):
            name = f"{name} (key {len(named) + 1:,})"
        if name in named:
            raise BadInput(
                f"has the name {short_name(name)} twice",
                path=file.path,
                hint="only one of the two can be used: save the file with that one",
            )
        named[name] = value
    return named


def _either_is_a_tensor(*values: object) -> bool:
    return any(isinstance(value, TorchTensor) for value in values)


def by_place(values: list[object] | tuple[object, ...]) -> InertDict:
    """The values of a sequence, as ``torch.save((state_dict, epoch))`` writes one, by their places."""
    entries = InertDict(getattr(values, "name", type(values).__name__))
    entries.update((str(place), value) for place, value in enumerate(values))
    return entries


def dictionary_attributes(value: dict[object, object]) -> object:
    """What a dictionary holds beside its items, which a name does not show: its class, the attributes of its object
    (torch's ``_metadata``), and which keys are not strings. None for an ordinary dictionary."""
    attributes = getattr(value, "attributes", None)
    keys = [key if isinstance(key, (int, bytes)) else None for key in value if type(key) is not str]
    owner = getattr(value, "name", None)
    return (attributes, keys, owner) if attributes is not None or keys or owner else None


def _name(file: SourceFile, key: object, *, is_tensor: bool) -> str:
    """The text of a key that is not a string. A long text, which stayed in the file, is read up to a bound; a tensor
    must not have a longer one."""
    from converters.formats.pickle.keys import Key, key_text

    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    span = key.value if isinstance(key, Key) else None
    if not isinstance(span, Span):
        return key_text(key)
    if span.length > _LONGEST_NAME:
        if is_tensor:
            raise BadInput(f"has a tensor with a name of {span.length:,} bytes", path=file.path)
        return key_text(key)
    try:
        long = content(file, span)
    except PickleError as error:
        raise BadInput(error.what, path=file.path, hint=error.hint) from None
    return long.decode("utf-8", "backslashreplace") if isinstance(long, bytes) else long


def storage_fields(reference: tuple[object, ...]) -> tuple[str, str, int, str]:
    """The dtype (empty if untyped), key, number of elements and unusual device in ``('storage', class, key, location,
    count, ...)``. Python 2 wrote its texts as bytes. Raises `PickleError`."""
    kind, key, location, count = reference[1:5]
    if isinstance(location, bytes):
        location = location.decode("latin-1")
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if reference[0] not in ("storage", b"storage") or type(key) is not str or type(count) is not int:
        raise PickleError("has a storage of unknown form")
    if type(location) is not str:
        raise PickleError("has a storage of unknown form")
    device, _, number = location.partition(":")
    usual = device in _DEVICES and (number.isdecimal() or not number)
    return storage_dtype(kind), key, count, "" if usual else location


def element_size(dtype: str) -> int:
    """Bytes of an element of any dtype that a storage can have."""
    return ITEMSIZE.get(dtype) or _OTHER_ITEMSIZES.get(dtype, 1)


def storage_dtype(kind: object) -> str:
    """The dtype of a storage class, empty for an untyped one. Raises `PickleError`."""
    if not isinstance(kind, Global):
        raise PickleError("has a storage of unknown form")
    dtype = STORAGES.get(kind.name.removeprefix("torch."), "")
    if not dtype and kind.name != "torch.storage.UntypedStorage":
        raise PickleError("has a storage of unknown form")
    return dtype


def lazy_data(
    file: SourceFile, name: str, view: TorchTensor, swapped: bool, check: RecordCheck | None
) -> Data:
    """The bytes of a tensor that a pickle refers to; its record is in ``file``. ``swapped`` is true for a big-endian
    file; ``check`` compares the record's checksum. Raises `BadInput` for elements outside the record."""
    itemsize = element_size(view.dtype)
    problem = hint = ""
    count = prod(view.shape)
    first = view.first * itemsize if count else 0  # PyTorch may place nothing beyond the end
    record = view.storage.record
    contiguous = count == 0 or _is_contiguous(view.shape, view.strides)
    span = count if contiguous else _span(view.shape, view.strides)
    if first + span * itemsize > record.size:
        problem = "reaches beyond its record"
    elif count * itemsize > record.size:
        problem = "repeats its elements (an expanded tensor)"
        hint = "save its .contiguous() instead"
    if problem:
        raise BadInput(problem, path=file.path, where=short_name(name), hint=hint or PickleError("").hint)
    if record.member is not None:  # a deflated record compares its checksum itself
        check = None
    data: Data
    if contiguous:
        data = FileBytes(file, record.offset + first, count * itemsize)
    else:
        data = Strided(file, record.offset + first, view.shape, view.strides, itemsize)
    if check is not None and count:
        if isinstance(data, FileBytes) and data.nbytes == record.size:
            data = CheckedRecord(file, record, name)
        else:
            data = CheckedPart(data, check, name)
    number = itemsize // 2 if view.dtype.startswith("complex") else itemsize
    if swapped and number > 1:
        data = Swapped(data, number)
    return data


def checked_sizes(value: object) -> tuple[int, ...]:
    """A shape or strides from a pickle. Raises `PickleError` for anything else."""
    if isinstance(value, Size):
        return value.sizes
    if not isinstance(value, tuple) or len(value) > 64:
        raise PickleError("has a tensor of unknown form")
    for size in value:
        if type(size) is not int or not 0 <= size < 1 << 63:
            raise PickleError("has a tensor of impossible shape")
    return value


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """The number of elements from the first to the last of a tensor that has some."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True
