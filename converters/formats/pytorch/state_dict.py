"""The state dict in a checkpoint, and its tensors."""

from __future__ import annotations

from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.zip_records import CheckedRecord, RecordCheck, ZipRecord
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.tensor import ITEMSIZE, FileBytes, Tensor

from .tensors import (
    OddTensor,
    PthFile,
    State,
    TorchStorage,
    TorchTensor,
    by_place,
    dictionary_attributes,
    lazy_data,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue
    from converters.formats.pickle.values import PickleValues
    from converters.tensor import Data


_LOOKED_AT = 10_000  # values
_ATTRIBUTES = "the state dict's attributes"


def state_dict(file: SourceFile, value: object, entry: str | None) -> State:
    """The state dict in a checkpoint, or the one in the path ``entry``. What is in a list or tuple goes by its places,
    from 0. Raises `BadInput`, `Refused`, `UsageError`."""
    if isinstance(value, (list, tuple)) and len(value) <= TENSOR_LIMIT:
        value = by_place(value)
    if not isinstance(value, dict):
        held = "a single tensor" if isinstance(value, TorchTensor) else "no dictionary of tensors"
        raise BadInput(f"holds {held}", path=file.path, hint="this is not a state dict")
    entries = named(file, value)
    if entry is None and not any(isinstance(item, (dict, list, tuple)) for item in entries.values()):
        return State(entries=entries, attributes=dictionary_attributes(value))
    from .state_dict_choice import choose

    state = choose(file, entries, entry)
    own = dictionary_attributes(value)
    return state if own is None else state.replace(attributes=(own, state.attributes))


def lazy_tensors(
    file: SourceFile,
    state: State,
    *,
    swapped: bool = False,
    checked: bool = False,
    crcs: bool = False,
    attributes: Mapping[str, object] = MappingProxyType({}),
) -> PthFile:
    """The tensors of a state dict, and everything else by name. ``crcs`` is true if the file has checksums, and
    ``checked`` if they are compared. ``attributes`` are those of a TorchScript module that are not tensors. Raises
    `BadInput` where there are no tensors."""
    found = _Found(file, swapped=swapped, checked=checked)
    other_values = {name: found.describe(entry) for name, entry in state.other_values.items()}
    tensors: dict[str, Tensor] = {}
    checksums: dict[str, int] = {}
    for name, entry in state.entries.items():
        if isinstance(entry, TorchTensor) and entry.dtype in ITEMSIZE:
            tensor = tensors[name] = Tensor(name, entry.dtype, entry.shape, found.data(name, entry))
            record = entry.storage.record
            if crcs and isinstance(tensor.data, (FileBytes, CheckedRecord)) and tensor.nbytes == record.size:
                checksums[name] = record.crc
        else:
            other = found.describe(entry)
            if other.is_tensor and name not in other_values:
                other_values[name] = other.replace(beside=False)
            else:
                other_values[name if state.wrapper is None else f"{state.wrapper}.{name}"] = other
    added = {
        name: (form, entry.attributes)
        for name, entry in state.entries.items()
        if isinstance(entry, TorchTensor) and ((form := _form(entry)) or entry.attributes is not None)
    }
    if added or state.attributes is not None:
        attributes = {**attributes, _ATTRIBUTES: (state.attributes, added)}
    if not tensors and not any(other.is_tensor and not other.beside for other in other_values.values()):
        raise _without_tensors(file, state)
    return PthFile(
        tensors=tensors,
        other_values=other_values,
        wrapper=state.wrapper,
        records={},
        crcs=checksums,
        provenance=None,
        metadata=found.lazily(attributes),
        beside=state.beside,
    )


def _without_tensors(file: SourceFile, state: State) -> BadInput:
    """The error for a file without a state dict, which may have tensors all the same."""
    left = _LOOKED_AT
    open_: list[object] = [*state.entries.values()]
    while open_ and left:
        value, left = open_.pop(), left - 1
        if isinstance(value, TorchTensor):
            what = "holds tensors, but no dictionary of them by name"
            return BadInput(what, path=file.path, hint="load it with PyTorch, and save a state_dict()")
        if isinstance(value, dict):
            open_ += islice(value.values(), left)
        elif isinstance(value, (list, tuple)):
            open_ += value[:left]
    return BadInput("holds no tensors", path=file.path, hint="this is not a state dict")


def _form(tensor: TorchTensor) -> str:
    """What a tensor is beside its values, where it is not an ordinary one: a parameter, on a device of its own."""
    device = "" if isinstance(tensor, OddTensor) else tensor.storage.device
    return f"{tensor.form} on {device}" if device else tensor.form


class _Found:
    """The tensors of one file, wherever its pickle has them."""

    def __init__(self, file: SourceFile, *, swapped: bool, checked: bool) -> None:
        self._file = file
        self._swapped = swapped
        self._checked = checked
        self._checks: dict[ZipRecord, RecordCheck] = {}
        self._values: PickleValues | None = None

    def describe(self, value: object) -> OtherValue:
        """Anything else that the pickle holds."""
        return self._described().describe(value)

    def data(self, name: str, tensor: TorchTensor) -> Data:
        """The bytes of a tensor. Raises `BadInput` for elements outside its record."""
        record, file = tensor.storage.record, tensor.storage.file or self._file
        check = self._checks.setdefault(record, RecordCheck(file, record)) if self._checked else None
        return lazy_data(file, name, tensor, self._swapped, check)

    def lazily(self, values: Mapping[str, object]) -> dict[str, OtherValue]:
        """Values that few look at, each as the one part of a container: they are described when that is asked for."""
        from converters.formats.other_value import OtherValue

        def part(value: object) -> Iterator[tuple[str, OtherValue]]:
            yield "", self.describe(value)

        return {
            name: OtherValue(kind="attribute", parts=partial(part, value), beside=True)
            for name, value in values.items()
        }

    def _described(self) -> PickleValues:
        if self._values is None:
            from converters.formats.pickle.values import PickleValues

            self._values = PickleValues(self._file, self._special)
        return self._values

    def _special(self, value: object) -> OtherValue | None:
        """A tensor that is not converted, or one beside the state dict; None for other values."""
        from converters.formats.other_value import OtherValue

        if isinstance(value, OddTensor):
            made_from = value.made_from
            return OtherValue(
                kind=value.kind,
                shape=value.shape,
                parts=lambda: self._described().elements(made_from),
                hint=value.hint,
            )
        if isinstance(value, TorchTensor):
            try:
                data = self.data("", value)
            except BadInput as error:
                return OtherValue(kind=value.dtype, shape=value.shape, opaque=True, hint=error.told.hint)
            if value.attributes is None and not _form(value):
                return OtherValue(kind=value.dtype, shape=value.shape, data=data)
            added = (_form(value), value.attributes)
            parts = partial(self._described().elements, added)
            return OtherValue(kind=value.dtype, shape=value.shape, data=data, parts=parts)
        if isinstance(value, TorchStorage):
            record = value.record
            data = FileBytes(value.file or self._file, record.offset, record.size)
            return OtherValue(kind=f"storage of {value.dtype or 'bytes'}", data=data)
        return None
