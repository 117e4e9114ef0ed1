"""The state dict in a checkpoint, and its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.zip_records import CheckedRecord, RecordCheck, ZipRecord
from converters.formats.pickle.numpy_arrays import PlainValues
from converters.printable import short_name
from converters.tensor import FileBytes

from .tensors import OddTensor, PthFile, State, TorchTensor, lazy_tensor, named

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.tensor import Tensor


def state_dict(file: SourceFile, value: object, entry: str | None) -> State:
    """The state dict in a checkpoint, or the one in the path ``entry``. Raises `BadInput`, `Refused`,
    `UsageError`."""
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
    """The tensors of a state dict, and everything else as plain values. ``crcs`` is true if the file has checksums,
    and ``checked`` if they are compared."""
    values = PlainValues(file)
    other_values = {name: values.plain(entry) for name, entry in state.other_values.items()}
    tensors: dict[str, Tensor] = {}
    checksums: dict[str, int] = {}
    checks: dict[ZipRecord, RecordCheck] = {}
    for name, entry in state.entries.items():
        if isinstance(entry, OddTensor):
            what = f"is {entry.kind}, which is not converted"
            raise BadInput(what, path=file.path, where=short_name(name), hint=entry.hint)
        if isinstance(entry, TorchTensor):
            record, its_file = entry.storage.record, entry.storage.file or file
            check = checks.setdefault(record, RecordCheck(its_file, record)) if checked else None
            tensor = tensors[name] = lazy_tensor(file, name, entry, swapped, check)
            if crcs and isinstance(tensor.data, (FileBytes, CheckedRecord)) and tensor.nbytes == record.size:
                checksums[name] = record.crc
        else:
            other_values[name if state.wrapper is None else f"{state.wrapper}.{name}"] = values.plain(entry)
    if not tensors:
        raise BadInput("holds no tensors", path=file.path, hint="this is not a state dict")
    return PthFile(
        tensors=tensors,
        other_values=other_values,
        wrapper=state.wrapper,
        records={},
        crcs=checksums,
        provenance=None,
        beside=state.beside,
    )
