"""Reads PyTorch checkpoints: the zip files that ``torch.save`` writes since PyTorch 1.6, without PyTorch.

``<root>/data.pkl`` is a pickle that is read as data (`pickle.machine`). It refers to the records
``<root>/data/<key>``, in which the tensors stay. The formats before 1.6 (`legacy`) and TorchScript's (`torchscript`)
have the same tensors in other places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.io.zip_records import (
    ZipRecord,
    has_crcs,
    place,
    read_records,
    verify_crc,
)
from converters.formats.other_value import OtherValue
from converters.formats.pickle.machine import Global, walk
from converters.formats.pickle.strings import PickleError
from converters.formats.sniff import expect
from converters.printable import printable, short_name
from converters.tensor import FileBytes

from .state_dict import lazy_tensors, state_dict
from .tensors import PthFile, TorchStorage, element_size, storage_fields
from .torch_globals import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile

_PROVENANCE_LIMIT = 64 << 20
_PROVENANCE = "provenance.json"
_FORM = ("data.pkl", _PROVENANCE, "byteorder", "version", ".format_version", ".storage_alignment")


def read_pth(file: SourceFile, *, checksum: bool = True, entry: str | None = None) -> PthFile:
    """Read the names, shapes and offsets of all tensors of the state dict, or of the state dict in ``entry``.

    With ``checksum``, the CRC-32 of each record in use is compared when it is read: while the bytes are streamed for
    a tensor that is exactly one record; by reading the record once more for a tensor that is part of one. A file
    without checksums passes.

    Raises `BadInput` for a file of another kind, a damaged file, a pickle with code, and a tensor that does not lie
    inside its record; `Refused` where several state dicts may be meant.
    """
    expect(file, "zip")
    records = read_records(file)
    root = _root(file, records)
    swapped = _is_big_endian(file, root, records)
    data = records[f"{root}/data.pkl"]
    has = has_crcs(records)
    checked = checksum and has
    if checked:
        for name in _FORM:
            if (
                record := records.get(f"{root}/{name}")
            ) and name != _PROVENANCE:  # which has a bound of its own
                verify_crc(file, f"{root}/{name}", record)
    stream = place(file, data, held=True)
    prefix = f"{root}/data/"
    by_key = {
        name.removeprefix(prefix): _Place(record, place(file, record))
        for name, record in records.items()
        if name.startswith(prefix)
    }

    def storage(reference: object) -> TorchStorage:
        return _storage(reference, root, by_key)

    script = f"{root}/constants.pkl" in records
    attributes: Mapping[str, object] = {}
    if script:
        from .torchscript import attributes_of, module_names, parameters

        names: Mapping[tuple[str, str], Global] = module_names(NAMES)
        found = walk(stream, names, offset=data.offset, size=data.size, persistent=storage)
        value: object = parameters(stream, found.value)
        attributes = attributes_of(stream, found.value)
    else:

        def refuse(module: str, name: str) -> PickleError:
            from converters.formats.pickle.whole_models import refusal

            return refusal(stream, data.offset, data.size, module, name)

        value = walk(
            stream, NAMES, offset=data.offset, size=data.size, persistent=storage, refuse=refuse
        ).value
    state = state_dict(stream, value, entry)
    contents = lazy_tensors(stream, state, swapped=swapped, checked=checked, crcs=has, attributes=attributes)
    return contents.replace(
        records=records,
        metadata={**contents.metadata, **_other_records(file, root, records)},
        provenance=_provenance(file, root, records, checked),
        script=script,
    )


class _Place(NamedTuple):
    """A record, and the file that it is in."""

    record: ZipRecord
    file: SourceFile


def _other_records(file: SourceFile, root: str, records: Mapping[str, ZipRecord]) -> dict[str, OtherValue]:
    """The records that hold neither a tensor nor the pickle, nor say how these are written."""
    found: dict[str, OtherValue] = {}
    for name, record in records.items():
        inner = name.removeprefix(f"{root}/")
        if (
            not inner.startswith(("data/", ".data/"))
            and inner not in _FORM
            and not inner.endswith(".debug_pkl")
        ):
            data = FileBytes(place(file, record), record.offset, record.size)
            found[printable(inner)] = OtherValue(kind="record", data=data)
    return found


def _root(file: SourceFile, records: dict[str, ZipRecord]) -> str:
    """The folder of all records: the file's name in ``torch.save``, ``archive`` in files of this package."""
    roots = [name.split("/")[0] for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not roots and any(name.endswith("/model.json") for name in records):
        raise BadInput(
            "is a TorchScript file of PyTorch before 1.4, which keeps its parameters elsewhere",
            path=file.path,
            hint="load it with torch.jit.load and save its state_dict()",
        )
    elsewhere = [name for name in records if name == "data.pkl" or name.endswith("/data.pkl")]
    if not roots and len(elsewhere) == 1 and f"{elsewhere[0].removesuffix('data.pkl')}version" in records:
        raise BadInput(
            "has PyTorch's records, but not in one folder at the top",
            path=file.path,
            where=short_name(elsewhere[0]),
            hint="unpack it, and pack the folder with data.pkl in it again: zip -0 -r FILE FOLDER",
        )
    if len(roots) != 1:
        kind = "compressed zip file" if any(record.member for record in records.values()) else "zip file"
        raise BadInput(
            f"is a {kind}, but not one of PyTorch's",
            path=file.path,
            hint="if it is an archive with the checkpoint in it, unpack it",
        )
    return roots[0]


def _is_big_endian(file: SourceFile, root: str, records: dict[str, ZipRecord]) -> bool:
    record = records.get(f"{root}/byteorder")
    if record is None:  # before PyTorch 2.1
        return False
    order = place(file, record).read_at(record.offset, min(record.size, 16))
    if order not in (b"little", b"big"):
        raise BadInput(
            "has an unknown byte order", path=file.path, where=f"record {short_name(root)}/byteorder"
        )
    return order == b"big"


def _provenance(file: SourceFile, root: str, records: dict[str, ZipRecord], checked: bool) -> str | None:
    name = f"{root}/{_PROVENANCE}"
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
            return place(file, record).read_at(record.offset, record.size).decode("utf-8")
        except UnicodeDecodeError:
            problem = "has a provenance record that is not UTF-8"
    raise BadInput(problem, path=file.path, where=short_name(name), hint="convert the source again")


def _storage(reference: object, root: str, places: dict[str, _Place]) -> TorchStorage:
    """What ``('storage', class, key, location, count)`` refers to; ``places`` are by key."""
    if type(reference) is not tuple or len(reference) != 5:
        raise PickleError("has a storage of unknown form")
    dtype, key, count, device = storage_fields(reference)
    found = places.get(key)
    if found is None:
        raise PickleError(f"has no record {short_name(root)}/data/{short_name(key)}, which a tensor needs")
    if count * element_size(dtype) != found.record.size:
        raise PickleError(f"has the record {short_name(root)}/data/{short_name(key)} in a wrong size")
    return TorchStorage(dtype, key, found.record, found.file, device)
