"""Reads the two formats that ``torch.save`` had before PyTorch 1.6, without PyTorch.

0.1.10 to 1.5 (and later with ``_use_new_zipfile_serialization=False``): consecutive pickles of a magic number, the
protocol's version, system information, the value, and the keys of its storages; then for each key an int64 with the
number of elements, and the elements, little-endian.

Up to 0.1.9: a tar archive of ``sys_info``, ``pickle`` (the value), ``tensors`` and ``storages``. The last two hold a
number, and as many pickles, each followed by binary data: for a storage its elements as above, for a tensor its
number of axes, sizes, strides and first element. Storages that are views of others follow in a last pickle.

Source: ``torch/serialization.py`` of PyTorch 0.1.9 and 2.13.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.zip_records import ZipRecord
from converters.formats.pickle.machine import Global, walk
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.formats.pickle.strings import PickleError
from converters.formats.pickle.whole_models import WAY_OUT, refusal
from converters.printable import short_name
from converters.tensor import ITEMSIZE

from .state_dict import lazy_tensors, state_dict
from .tensors import PthFile, TorchStorage, TorchTensor, element_size, storage_dtype, storage_fields
from .torch_globals import NAMES

if TYPE_CHECKING:
    from converters.files import SourceFile

MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_NOWHERE = ZipRecord(0, 0, 0)
_MEMBERS = ("pickle", "tensors", "storages")
_KINDS = ("Double", "Float", "Half", "Long", "Int", "Short", "Char", "Byte")


def read_legacy_pth(file: SourceFile, *, entry: str | None = None) -> PthFile:
    """Read a file in the format of 0.1.10 to 1.5: names, shapes and offsets of all tensors of the state dict, or of
    the state dict in ``entry``. The format has no checksums.

    Raises `BadInput` for a file of another kind, a damaged file and a pickle with code; `Refused` where several state
    dicts may be meant.
    """
    storages = _Storages()
    magic, _, end = walk(file, {}, whole=False)
    version, _, end = walk(file, {}, offset=end, size=file.size - end, whole=False)
    if magic != MAGIC or version != _VERSION:
        raise BadInput("is not a PyTorch file of a known version", path=file.path)
    end = walk(file, {}, offset=end, size=file.size - end, whole=False).end
    size = file.size - end
    value, _, end = walk(
        file,
        NAMES,
        offset=end,
        size=size,
        persistent=storages.refer,
        whole=False,
        refuse=partial(refusal, file, end, size),
    )
    keys, _, end = walk(file, {}, offset=end, size=file.size - end, whole=False)
    end = storages.place(file, keys, end)
    if end != file.size:
        raise BadInput(f"has {file.size - end:,} more bytes after its last storage", path=file.path)
    return lazy_tensors(file, state_dict(file, value, entry))


class _Storages:
    """The storages that a value refers to. Their offsets are known only after it was read."""

    def __init__(self) -> None:
        self._roots: dict[str, tuple[TorchStorage, int]] = {}
        self._views: dict[tuple[str, int, int], TorchStorage] = {}

    def refer(self, reference: object) -> TorchStorage:
        """What ``('storage', class, key, location, count, view)`` refers to; ``view`` is None or ``(key, first,
        count)`` of elements of that storage."""
        if type(reference) is not tuple or not 5 <= len(reference) <= 6:
            raise PickleError("has a storage of unknown form")
        if reference[0] in ("module", b"module"):
            raise PickleError("holds whole modules, which are programs", WAY_OUT)
        dtype, key, count, device = storage_fields(reference)
        if not 0 <= count < 1 << 63:
            raise PickleError("has a storage of impossible size")
        root, size = self._roots.setdefault(key, (TorchStorage(dtype, key, _NOWHERE, device=device), count))
        if root.dtype != dtype or size != count:
            raise PickleError("has a storage in two different forms")
        view = reference[5] if len(reference) == 6 else None
        if view is None:
            return root
        if type(view) is not tuple or len(view) != 3:
            raise PickleError("has a storage of unknown form")
        first, length = view[1:]
        if (
            type(first) is not int
            or type(length) is not int
            or first < 0
            or length < 0
            or first + length > count
        ):
            raise PickleError("has a view that lies outside its storage")
        return self._views.setdefault((key, first, length), TorchStorage(dtype, key, _NOWHERE))

    def place(self, file: SourceFile, keys: object, at: int) -> int:
        """Give every storage its place, in the order of ``keys``, from the offset ``at``. Returns the end."""
        if type(keys) is not list or len(keys) > TENSOR_LIMIT:
            raise BadInput("has no list of its storages", path=file.path, hint=PickleError("").hint)
        unplaced = dict(self._roots)
        for key in keys:
            name = key.decode("latin-1") if isinstance(key, bytes) else key
            root = unplaced.pop(name, None) if isinstance(name, str) else None
            if root is None:
                raise BadInput(
                    "has a storage that no tensor names, or that occurs twice",
                    path=file.path,
                    where=short_name(name),
                )
            storage, count = root
            storage.record, at = _elements(file, at, storage.dtype, count, name)
        if unplaced:
            raise BadInput(
                "lacks a storage that a tensor needs", path=file.path, where=short_name(next(iter(unplaced)))
            )
        for (name, first, count), view in self._views.items():
            size = element_size(view.dtype)
            view.record = ZipRecord(self._roots[name][0].record.offset + first * size, count * size, 0)
        return at


def _elements(file: SourceFile, at: int, dtype: str, count: int | None, name: str) -> tuple[ZipRecord, int]:
    """The storage at ``at``, which starts with its number of elements, and the offset after it."""
    stored = int.from_bytes(file.read_at(at, 8), "little", signed=True)
    if stored < 0 or (count is not None and stored != count):
        expected = "" if count is None else f", its tensors say {count:,}"
        raise BadInput(
            f"has a storage of {stored:,} elements{expected}", path=file.path, where=short_name(name)
        )
    at += 8
    size = stored * element_size(dtype)
    if size > file.size - at:
        raise file.cut(at, size)
    return ZipRecord(at, size, 0), at + size


def read_tar_pth(file: SourceFile, *, entry: str | None = None) -> PthFile | None:
    """Read a file in the format up to 0.1.9, as `read_legacy_pth` does; None for any other tar archive."""
    from converters.formats.io.tar_members import read_tar

    members = read_tar(file)
    if not all(name in members for name in _MEMBERS):
        return None
    storages = _tar_storages(file, *members["storages"])
    tensors = _tar_tensors(file, *members["tensors"], storages)

    def refer(reference: object) -> object:
        if type(reference) is tuple:
            raise PickleError("holds whole modules, which are programs", WAY_OUT)
        key = reference.decode("latin-1") if isinstance(reference, bytes) else reference
        if type(key) is not str:
            raise PickleError("refers to a tensor in an unknown form")
        target = tensors.get(key) or storages.get(key)
        if target is None:
            raise PickleError("refers to a tensor that it does not have")
        return target

    offset, size = members["pickle"]
    refuse = partial(refusal, file, offset, size)
    value = walk(file, NAMES, offset=offset, size=size, persistent=refer, refuse=refuse).value
    return lazy_tensors(file, state_dict(file, value, entry))


def _tar_names() -> dict[tuple[str, str], Global]:
    """The names of classes of storages and tensors, on any device."""
    names = {}
    for kind in _KINDS:
        for module in ("torch", "torch.cuda"):
            names[module, f"{kind}Storage"] = Global(f"torch.{kind}Storage")
            names[module, f"{kind}Tensor"] = Global(f"torch.{kind}Tensor")
    return names


def _tar_storages(file: SourceFile, start: int, length: int) -> dict[str, TorchStorage]:
    names, stop = _tar_names(), start + length
    by_key: dict[str, TorchStorage] = {}
    count, at = _count(file, start, stop)
    for _ in range(count):
        (key, _, kind), at = _fields(file, names, at, stop, 3)
        try:
            dtype = storage_dtype(kind)
        except PickleError as error:
            raise BadInput(error.what, path=file.path, where=f"offset {at:,}") from None
        record, at = _elements(file, at, dtype, None, str(key))
        if at > stop or str(key) in by_key:
            raise BadInput(
                "has a storage twice, or one that ends after its section",
                path=file.path,
                where=f"offset {at:,}",
            )
        by_key[str(key)] = TorchStorage(dtype, str(key), record)
    views, _, end = walk(file, names, offset=at, size=stop - at)
    if type(views) is not list or len(views) > TENSOR_LIMIT or end != stop:
        raise BadInput("has no list of the views of its storages", path=file.path)
    for view in views:
        fields = [field for field in view if type(field) is int] if type(view) is tuple else []
        if len(fields) != 4 or len(view) != 4 or min(fields[2:]) < 0:
            raise BadInput("has a view of a storage in an unknown form", path=file.path)
        key, root, first, count = fields
        root_storage = by_key.get(str(root))
        size = ITEMSIZE[root_storage.dtype] if root_storage else 1
        if root_storage is None or (first + count) * size > root_storage.record.size or str(key) in by_key:
            raise BadInput(
                "has a view that lies outside its storage", path=file.path, where=short_name(str(key))
            )
        record = ZipRecord(root_storage.record.offset + first * size, count * size, 0)
        by_key[str(key)] = TorchStorage(root_storage.dtype, str(key), record)
    return by_key


def _tar_tensors(
    file: SourceFile, start: int, length: int, storages: dict[str, TorchStorage]
) -> dict[str, TorchTensor]:
    names, stop = _tar_names(), start + length
    by_key: dict[str, TorchTensor] = {}
    count, at = _count(file, start, stop)
    for _ in range(count):
        (key, storage, _), at = _fields(file, names, at, stop, 3)
        if type(storage) is not int:
            raise BadInput("has a tensor of unknown form", path=file.path, where=f"offset {at:,}")
        axes = int.from_bytes(file.read_at(at, 4), "little", signed=True)  # the next four bytes mean nothing
        if not 0 <= axes <= 64 or at + 16 + 16 * axes > stop:
            raise BadInput("has a tensor of impossible shape", path=file.path, where=f"offset {at:,}")
        numbers = struct.unpack(f"<{2 * axes + 1}q", file.read_at(at + 8, 16 * axes + 8))
        at += 16 + 16 * axes
        try:
            tensor = TorchTensor(
                storages.get(str(storage)), numbers[-1], numbers[:axes], numbers[axes : 2 * axes], ""
            )
        except PickleError as error:
            raise BadInput(error.what, path=file.path, where=f"offset {at:,}", hint=error.hint) from None
        if str(key) in by_key:
            raise BadInput("has a tensor twice", path=file.path, where=short_name(str(key)))
        by_key[str(key)] = tensor
    if at != stop:
        raise BadInput(f"has {stop - at:,} more bytes after its last tensor", path=file.path)
    return by_key


def _count(file: SourceFile, start: int, stop: int) -> tuple[int, int]:
    """The number at the start of a member, and the offset after it."""
    count, _, end = walk(file, {}, offset=start, size=stop - start, whole=False)
    if type(count) is not int or not 0 <= count <= TENSOR_LIMIT:
        raise BadInput("has an impossible number of tensors", path=file.path, where=f"offset {start:,}")
    return count, end


def _fields(
    file: SourceFile, names: dict[tuple[str, str], Global], at: int, stop: int, length: int
) -> tuple[tuple[object, ...], int]:
    """The tuple of ``length`` values at ``at``, and the offset after it."""
    value, _, end = walk(file, names, offset=at, size=stop - at, whole=False)
    if type(value) is not tuple or len(value) != length or type(value[0]) is not int:
        raise BadInput("has a tensor of unknown form", path=file.path, where=f"offset {at:,}")
    return value, end
