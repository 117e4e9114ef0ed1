"""Reads PyTorch checkpoints: the zip files that ``torch.save`` writes since PyTorch 1.6, without PyTorch.

``<root>/data.pkl`` is a pickle that is read as data (`pickle_vm`). It refers to the records
``<root>/data/<key>``, in which the tensors stay. The forms are those that PyTorch's ``torch/_utils.py`` and
``torch/serialization.py`` write. The formats before 1.6 (`pth_legacy`) and TorchScript's (`torchscript`) have
the same tensors in other places.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.pickle.ignored_globals import NAMES as BYSTANDERS
from converters.formats.pickle.machine import Global, shown, walk
from converters.formats.pickle.numpy_arrays import NAMES as ARRAY_NAMES
from converters.formats.pickle.numpy_arrays import PlainValues, refuse_too_many
from converters.formats.pickle.strings import PickleError, encodes
from converters.formats.sniff import expect
from converters.tensor import ITEMSIZE, Data, FileBytes, Swapped, Tensor

from .zip_records import (
    CheckedPart,
    CheckedRecord,
    Record,
    RecordCheck,
    has_crcs,
    read_records,
    verify_crc,
    verify_crcs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile

__all__ = ["PthFile", "read_pth", "verify_crcs"]

_PROVENANCE_LIMIT = 64 << 20

_STORAGES = {
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

_OTHER_SIZES = {"complex64": 8, "complex128": 16, "qint32": 4}
"""Bytes of an element that is not converted, where they are more than one."""

_DTYPES = (
    *ITEMSIZE,
    *("uint16", "uint32", "uint64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
_QUANTISED = "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric"
_QUANTISED_BY = (*_QUANTISED.split(), "per_channel_affine_float_qparams")

_ODD = {
    "_rebuild_sparse_tensor": ("a sparse tensor", "save its .to_dense() instead"),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", "save its .to_dense() instead"),
    "_rebuild_nested_tensor": ("a nested tensor", "save the tensors in it"),
    "_rebuild_qtensor": ("a quantised tensor", "save its .dequantize() instead"),
    "_rebuild_meta_tensor_no_storage": ("a tensor without values (on the device meta)", "save it with them"),
}
"""PyTorch's functions for tensors that are not converted: what they make, and what to do about it."""


class PthFile(NamedTuple):
    """The contents of a checkpoint, in the file's order.

    ``tensors`` are those of the state dict, which is the whole file or its entry ``wrapper`` (a path with dots).
    ``others`` is all else there is, beside the state dict and in it, as plain values, ``beside`` the entries among
    it that are state dicts too. ``records`` are the zip file's by name, each ``(offset, size, crc)``. ``crcs`` has
    the CRC-32 of each tensor that is exactly one record, as the file has it. ``provenance`` is the text that a
    conversion left. ``script`` tells a TorchScript file.
    """

    tensors: dict[str, Tensor]
    others: dict[str, object]
    wrapper: str | None
    records: dict[str, Record]
    crcs: dict[str, int]
    provenance: str | None
    beside: tuple[str, ...] = ()
    script: bool = False


class Strided(NamedTuple):
    """An array of ``shape`` whose steps along the axes are ``strides`` elements, from ``start`` of the file.
    Takes the memory of the elements it spans while it is read, and numpy."""

    file: SourceFile
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    def chunks(self) -> Iterator[memoryview]:
        """See `Data.chunks`."""
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
    """A record of tensor data. ``dtype`` is empty for one of bytes."""

    __slots__ = ("dtype", "name", "record")

    def __init__(self, dtype: str, name: str, record: Record) -> None:
        self.dtype = dtype
        self.name = name
        self.record = record


class TorchTensor:
    """A tensor: ``shape`` elements of a storage in steps of ``strides``, from element ``first``."""

    __slots__ = ("dtype", "first", "shape", "storage", "strides")

    def __init__(self, storage: object, first: object, shape: object, strides: object, dtype: str) -> None:
        if not isinstance(storage, TorchStorage) or type(first) is not int or not 0 <= first < 1 << 63:
            raise PickleError("has a tensor of unknown form")
        self.storage = storage
        self.first = first
        self.shape = _sizes(shape)
        self.strides = _sizes(strides)
        self.dtype = dtype or storage.dtype
        if len(self.shape) != len(self.strides) or not self.dtype or storage.dtype not in ("", self.dtype):
            raise PickleError("has a tensor of unknown form")


class OddTensor(TorchTensor):
    """A tensor that is not elements in steps: ``kind`` says what, ``hint`` what makes a plain one of it. It is refused
    by its name where it is a weight, and left aside elsewhere."""

    __slots__ = ("hint", "kind")

    def __init__(self, kind: str, hint: str) -> None:
        self.kind = kind
        self.hint = hint


def read_pth(file: SourceFile, *, checksum: bool = True, entry: str | None = None) -> PthFile:
    """Read the names, shapes and places of all tensors of the state dict, or of the one in ``entry``.

    With ``checksum``, the CRC-32 of each record that is used is compared when it is read: a tensor that is
    exactly one record while its bytes are streamed, a tensor that is a part of one by reading the record once
    more. A file without checksums passes.

    Raises `BadInput` for a file of another kind, a damaged one, one with code in it, and a tensor that is not
    inside its record; `Refused` where it is not clear which state dict is meant.
    """
    expect(file, "zip")
    records = read_records(file)
    root = _root(file, records)
    swapped = _is_big_endian(file, root, records)
    data = records[f"{root}/data.pkl"]
    has = has_crcs(records)
    checked = checksum and has
    if checked:
        verify_crc(file, f"{root}/data.pkl", data)
    prefix = f"{root}/data/"
    by_key = {
        name.removeprefix(prefix): record for name, record in records.items() if name.startswith(prefix)
    }

    def storage(reference: object) -> TorchStorage:
        return _storage(reference, root, by_key)

    script = f"{root}/constants.pkl" in records
    if script:
        from .torchscript import module_names, parameters

        names: Mapping[tuple[str, str], Global] = module_names(NAMES)
        found = walk(file, names, offset=data.offset, size=data.size, persistent=storage)
        value: object = parameters(file, found.value)
    else:
        value = walk(file, NAMES, offset=data.offset, size=data.size, persistent=storage).value
    state = state_dict(file, value, entry)
    made = lazy_tensors(file, state, swapped=swapped, checked=checked, crcs=has)
    return made._replace(records=records, provenance=_provenance(file, root, records, checked), script=script)


class State(NamedTuple):
    """A state dict in a checkpoint's value: its ``entries``, the path ``wrapper`` to it, what else there is, and
    the paths of other state dicts among that."""

    entries: Mapping[str, object]
    wrapper: str | None
    others: Mapping[str, object]
    beside: tuple[str, ...] = ()


def state_dict(file: SourceFile, value: object, entry: str | None) -> State:
    """The state dict in a checkpoint's value. Raises `BadInput`, `Refused`."""
    if not isinstance(value, dict):
        raise BadInput("holds no dictionary of tensors", path=file.path, hint="this is not a state dict")
    entries = named(file, value)
    if entry is None and not any(isinstance(item, dict) for item in entries.values()):
        return State(entries, None, {})
    from .state_dict_choice import choose

    return choose(file, entries, entry)


def lazy_tensors(
    file: SourceFile, state: State, *, swapped: bool = False, checked: bool = False, crcs: bool = False
) -> PthFile:
    """The tensors of a state dict, and all else as plain values. ``checked`` compares the records' checksums, which
    the file has if ``crcs``."""
    values = PlainValues(file)
    others = {name: values.plain(entry) for name, entry in state.others.items()}
    tensors: dict[str, Tensor] = {}
    known: dict[str, int] = {}
    checks: dict[Record, RecordCheck] = {}
    for name, entry in state.entries.items():
        if isinstance(entry, OddTensor):
            what = f"is {entry.kind}, which is not converted"
            raise BadInput(what, path=file.path, where=shown(name), hint=entry.hint)
        if isinstance(entry, TorchTensor):
            record = entry.storage.record
            check = checks.setdefault(record, RecordCheck(file, record)) if checked else None
            made = tensors[name] = _tensor(file, name, entry, swapped, check)
            if crcs and isinstance(made.data, (FileBytes, CheckedRecord)) and made.nbytes == record.size:
                known[name] = record.crc
        else:
            others[name if state.wrapper is None else f"{state.wrapper}.{name}"] = values.plain(entry)
    if not tensors:
        raise BadInput("holds no tensors", path=file.path, hint="this is not a state dict")
    return PthFile(tensors, others, state.wrapper, {}, known, None, state.beside)


def _root(file: SourceFile, records: dict[str, Record]) -> str:
    """The folder that all records are in: the output's name in ``torch.save``, ``archive`` here."""
    roots = [name.split("/")[0] for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not roots and any(name.endswith("/model.json") for name in records):
        raise BadInput(
            "is a TorchScript file of PyTorch before 1.4, which keeps its parameters elsewhere",
            path=file.path,
            hint="load it with torch.jit.load and save its state_dict()",
        )
    if len(roots) != 1:
        raise BadInput(
            "is a zip file, but not one of PyTorch's",
            path=file.path,
            hint="if it is an archive with the checkpoint in it, unpack it",
        )
    return roots[0]


def _is_big_endian(file: SourceFile, root: str, records: dict[str, Record]) -> bool:
    record = records.get(f"{root}/byteorder")
    if record is None:  # before PyTorch 2.1
        return False
    order = file.read_at(record.offset, min(record.size, 16))
    if order not in (b"little", b"big"):
        raise BadInput("has an unknown byte order", path=file.path, where=f"record {shown(root)}/byteorder")
    return order == b"big"


def _provenance(file: SourceFile, root: str, records: dict[str, Record], checked: bool) -> str | None:
    name = f"{root}/provenance.json"
    record = records.get(name)
    if record is None:
        return None
    problem = ""
    if record.size > _PROVENANCE_LIMIT:
        problem = f"has a provenance record of {record.size:,} bytes"
    else:
        if checked:
            verify_crc(file, name, record)
        try:
            return file.read_at(record.offset, record.size).decode("utf-8")
        except UnicodeDecodeError:
            problem = "has a provenance record that is not UTF-8"
    raise BadInput(problem, path=file.path, where=shown(name), hint="convert the source again")


def named(file: SourceFile, entries: dict[object, object]) -> dict[str, object]:
    """Entries by name; PyTorch under Python 2 wrote names as bytes, and optimizers have numbers for names."""
    refuse_too_many(file, entries)
    named: dict[str, object] = {}
    for key, value in entries.items():
        name = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
        if not encodes(name):
            raise BadInput(f"has a name that is not valid Unicode: {shown(name)}", path=file.path)
        if name in named:
            raise BadInput(
                f"has the name {shown(name)} twice", path=file.path, hint="only one of the two could be used"
            )
        named[name] = value
    return named


def _storage(reference: object, root: str, records: dict[str, Record]) -> TorchStorage:
    """What ``('storage', class, key, location, count)`` refers to; ``records`` are by key."""
    if type(reference) is not tuple or len(reference) != 5:
        raise PickleError("has a storage of unknown form")
    dtype, key, count = storage_fields(reference)
    record = records.get(key)
    if record is None:
        raise PickleError(f"has no record {shown(root)}/data/{shown(key)}, which a tensor needs")
    if count * element_size(dtype) != record.size:
        raise PickleError(f"has the record {shown(root)}/data/{shown(key)} in a wrong size")
    return TorchStorage(dtype, key, record)


def storage_fields(reference: tuple[object, ...]) -> tuple[str, str, int]:
    """dtype (empty for bytes), key and number of elements of ``('storage', class, key, location, count, ...)``.
    Python 2 wrote its texts as bytes. Raises `PickleError`."""
    kind, key, count = reference[1], reference[2], reference[4]
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if reference[0] not in ("storage", b"storage") or type(key) is not str or type(count) is not int:
        raise PickleError("has a storage of unknown form")
    return storage_dtype(kind), key, count


def element_size(dtype: str) -> int:
    """Bytes of an element of a storage, of any dtype that a storage can have."""
    return ITEMSIZE.get(dtype) or _OTHER_SIZES.get(dtype, 1)


def storage_dtype(kind: object) -> str:
    """The dtype of a class of storages, empty for one of bytes. Raises `PickleError`."""
    if not isinstance(kind, Global):
        raise PickleError("has a storage of unknown form")
    dtype = _STORAGES.get(kind.name.removeprefix("torch."), "")
    if not dtype and kind.name != "torch.storage.UntypedStorage":
        raise PickleError("has a storage of unknown form")
    return dtype


def _sizes(value: object) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > 64:
        raise PickleError("has a tensor of unknown form")
    for size in value:
        if type(size) is not int or not 0 <= size < 1 << 63:
            raise PickleError("has a tensor of impossible shape")
    return value


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from a tensor's first to its last."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _tensor(
    file: SourceFile, name: str, view: TorchTensor, swapped: bool, check: RecordCheck | None
) -> Tensor:
    itemsize = ITEMSIZE.get(view.dtype)
    problem = hint = ""
    if itemsize is None:
        raise BadInput(f"is of dtype {view.dtype}, which is not converted", path=file.path, where=shown(name))
    count = prod(view.shape)
    first = view.first * itemsize if count else 0  # PyTorch may place nothing beyond the end
    record = view.storage.record
    if first + _span(view.shape, view.strides) * itemsize > record.size:
        problem = "reaches beyond its record"
    elif count * itemsize > record.size:
        problem = "repeats its elements (an expanded tensor)"
        hint = "save its .contiguous() instead"
    if problem:
        raise BadInput(problem, path=file.path, where=shown(name), hint=hint or PickleError("").hint)
    data: Data
    if count == 0 or _is_contiguous(view.shape, view.strides):
        data = FileBytes(file, record.offset + first, count * itemsize)
    else:
        data = Strided(file, record.offset + first, view.shape, view.strides, itemsize)
    if check is not None and count:
        if isinstance(data, FileBytes) and data.nbytes == record.size:
            data = CheckedRecord(file, record, name)
        else:
            data = CheckedPart(data, check, name)
    if swapped and itemsize > 1:
        data = Swapped(data, itemsize)
    return Tensor(name, view.dtype, view.shape, data)


def _rebuild_tensor(arguments: tuple[object, ...]) -> TorchTensor:
    """``(storage, first, shape, strides[, requires_grad, hooks[, metadata]])``"""
    if not 4 <= len(arguments) <= 7:
        raise PickleError("has a tensor of unknown form")
    if any(arguments[6:]):
        return OddTensor("a view with a sign or a conjugation still to do", "save its .resolve_neg() instead")
    return TorchTensor(arguments[0], arguments[1], arguments[2], arguments[3], "")


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> TorchTensor:
    """``(storage, first, shape, strides, requires_grad, hooks, dtype[, metadata])``"""
    dtype = arguments[6] if 7 <= len(arguments) <= 8 and not any(arguments[7:]) else None
    if not isinstance(dtype, Global) or dtype.name.removeprefix("torch.") not in _DTYPES:
        raise PickleError("has a tensor of unknown form")
    return TorchTensor(
        arguments[0], arguments[1], arguments[2], arguments[3], dtype.name.removeprefix("torch.")
    )


def _rebuild_parameter(arguments: tuple[object, ...]) -> TorchTensor:
    """``(tensor, requires_grad, hooks[, state])``"""
    tensor = arguments[0] if 3 <= len(arguments) <= 4 else None
    if not isinstance(tensor, TorchTensor):
        raise PickleError("has a parameter of unknown form")
    return tensor


def _rebuild_from_type(arguments: tuple[object, ...]) -> object:
    """``(rebuilder, class, its arguments, state)``: a tensor with attributes of its own, which are no weights."""
    rebuild, _, inner, _ = arguments if len(arguments) == 4 else (None, None, None, None)
    if (
        not isinstance(rebuild, Global)
        or not rebuild.make
        or not rebuild.name.startswith("torch._utils._rebuild_")
    ):
        raise PickleError("has a tensor of unknown form")
    if type(inner) is not tuple:
        raise PickleError("has a tensor of unknown form")
    return rebuild.make(inner)


def _size(arguments: tuple[object, ...]) -> tuple[int, ...]:
    return _sizes(arguments[0] if len(arguments) == 1 else None)


def _device(arguments: tuple[object, ...]) -> str:
    """``(type[, index])``, both small: what is stored once can be used at every call."""
    kind, index = (*arguments, 0)[:2] if 1 <= len(arguments) <= 2 else (None, None)
    if type(kind) is not str or not kind.isascii() or len(kind) > 32:
        raise PickleError("has a device of unknown form")
    if type(index) is not int or not 0 <= index < 1 << 16:
        raise PickleError("has a device of unknown form")
    return kind if len(arguments) == 1 else f"{kind}:{index}"


def _layout(arguments: tuple[object, ...]) -> str:
    """``(its name)``, such as ``torch.strided``."""
    name = arguments[0] if len(arguments) == 1 else None
    if type(name) is not str or not name.isascii() or len(name) > 32:
        raise PickleError("has a layout of unknown form")
    return name


def _odd(kind: str, hint: str, _: tuple[object, ...]) -> OddTensor:
    return OddTensor(kind, hint)


def _torch_names() -> dict[tuple[str, str], Global]:
    names = {
        ("torch._utils", "_rebuild_tensor"): Global("torch._utils._rebuild_tensor", _rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Global("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v3"): Global("torch._utils._rebuild_tensor_v3", _rebuild_tensor_v3),
        ("torch._utils", "_rebuild_parameter"): Global("torch._utils._rebuild_parameter", _rebuild_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): Global(
            "torch._utils._rebuild_parameter_with_state", _rebuild_parameter
        ),
        ("torch._tensor", "_rebuild_from_type_v2"): Global(
            "torch._tensor._rebuild_from_type_v2", _rebuild_from_type
        ),
        ("torch.nn.parameter", "Parameter"): Global("torch.nn.Parameter"),
        ("torch", "Tensor"): Global("torch.Tensor"),
        ("torch", "Size"): Global("torch.Size", _size),
        ("torch", "device"): Global("torch.device", _device),
        ("torch.serialization", "_get_layout"): Global("torch.serialization._get_layout", _layout),
        ("torch.storage", "UntypedStorage"): Global("torch.storage.UntypedStorage"),
    }
    for name in (*_STORAGES, *_DTYPES, *_QUANTISED_BY):
        names["torch", name] = Global(f"torch.{name}")
    for name, (kind, hint) in _ODD.items():
        names["torch._utils", name] = Global(f"torch._utils.{name}", partial(_odd, kind, hint))
    return names


NAMES = {**BYSTANDERS, **ARRAY_NAMES, **_torch_names()}
"""The closed table of the names that a state dict needs."""
