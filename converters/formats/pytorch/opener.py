"""Open PyTorch's own files, in any of its formats."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import plain_value
from converters.formats.provenance_record import parse_provenance
from converters.formats.sniff import HEAD, expect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.formats.io.zip_members import Member
    from converters.formats.other_value import OtherValue
    from converters.tensor import Tensor

    from .tensors import PthFile

_TITLES = {
    "zip": "PyTorch zip file",
    "torchscript": "TorchScript file",
    "exported": "program of torch.export",
    "torch-legacy": "PyTorch file, before 1.6",
    "tar": "PyTorch file, before 0.1.10",
}

_EXPORTED = b"/data/weights/"
"""In the name of the first member of a program of torch.export."""

_LOOKED_AT = 8  # members
_ARRAY, _MXNET = b".npy", b".params"
"""The ends of the names of members that no PyTorch file has."""


def open_pytorch(file: SourceFile, kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open a file, or a checkpoint in several by its index; None for a zip file, tar archive or text of another
    sort. Raises `BadInput`, `Refused`."""
    if kind == "text":
        if not file.path.endswith(".index.json"):
            return None
        options.refuse_entry(file.path)
        return _open_parts(file, options)
    contents = _read(file, kind, options)
    if contents is None:
        return None
    details: dict[str, Any] = {"wrapper": contents.wrapper}
    entry = {} if contents.wrapper is None else {"the entry with the weights": plain_value(contents.wrapper)}
    if contents.beside:
        details["beside"] = list(contents.beside)
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="pytorch",
        container=_TITLES["torchscript" if contents.script else "exported" if contents.exported else kind],
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata={**entry, **contents.metadata},
        details=details,
        provenance=parse_provenance(contents.provenance, file.path),
    )


def _read(file: SourceFile, kind: str, options: ReadOptions) -> PthFile | None:
    if kind == "zip":
        return _read_zip(file, options)
    from .legacy import read_legacy_pth, read_tar_pth

    if kind == "torch-legacy":
        return read_legacy_pth(file, entry=options.entry)
    return read_tar_pth(file, entry=options.entry)


def _read_zip(file: SourceFile, options: ReadOptions) -> PthFile | None:
    """A zip file of PyTorch's; None for NumPy's, and for one with a parameter file of MXNet. To read the whole
    directory first would cost PyTorch's files twice the time."""
    head = file.read_at(0, min(HEAD, file.size))
    if _EXPORTED in head[30 : 30 + int.from_bytes(head[26:28], "little")]:
        from .exported import read_exported

        if (exported := read_exported(file)) is not None:
            return exported
    if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith((_ARRAY, _MXNET)):
        return None
    from .reader import read_pth

    try:
        return read_pth(file, checksum=options.checksum, entry=options.entry)
    except BadInput:
        from converters.formats.io.zip_members import read_members

        members = read_members(file)
        if any(name.encode().endswith(_MXNET) for name in members) or _has_arrays(file, members.values()):
            return None
        raise


def _has_arrays(file: SourceFile, members: Iterable[Member]) -> bool:
    """Whether one of the first members is an array of numpy's."""
    from converters.formats.npz.reader import is_array

    return any(is_array(file, member) for member in islice(members, _LOOKED_AT))


def _open_parts(index: SourceFile, options: ReadOptions) -> Checkpoint:
    from converters.formats.other_value import OtherValue

    from .shards import IndexMetadata, read_index

    parts: list[Checkpoint] = []
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    metadata = {"the index": OtherValue(kind="JSON", data=IndexMetadata(index))}
    try:
        for file_name, names in read_index(index).items():
            part = _open_part(index, file_name, options)
            parts.append(part)
            held = part.tensors.keys() | part.other_values.keys()
            missing, more = names - held, part.tensors.keys() - names
            if missing or more:
                raise BadInput(
                    f"{'lacks' if missing else 'holds'} a tensor that the index {'has' if missing else 'lacks'}",
                    path=part.path,
                    where=min(missing or more),
                    hint="index and files are not of one checkpoint; fetch them again",
                )
            tensors |= part.tensors
            other_values |= part.other_values
            metadata |= {f"{file_name}: {name}": item for name, item in part.metadata.items()}
    except BaseException:
        for part in parts:
            part.close()
        raise
    return Checkpoint(
        path=index.path,
        files=(index, *(part.files[0] for part in parts)),
        format="pytorch",
        container=f"{parts[0].container} in {len(parts)} parts",
        tensors=tensors,
        other_values=other_values,
        metadata=metadata,
    )


def _open_part(index: SourceFile, name: str, options: ReadOptions) -> Checkpoint:
    from converters.formats.safetensors.opener import open_safetensors

    file = index.beside(name)
    if file is None:
        raise BadInput(
            "cannot be opened: the index names it, and it is not there",
            path=os.path.join(os.path.dirname(index.path), name),
            hint="fetch every file that the index names, and put them beside it",
        )
    try:
        kind = expect(file, "zip", "torch-legacy", "tar", "safetensors")
        opener = open_safetensors if kind == "safetensors" else open_pytorch
        part = opener(file, kind, options)
        if part is None:
            raise BadInput("is not a part of a PyTorch checkpoint", path=file.path)
        return part
    except BaseException:
        file.close()
        raise
