"""Open MXNet's parameter files, and the zip files that GluonCV's downloads are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import OtherValue, plain_value
from converters.formats.sniff import HEAD
from converters.printable import short_name
from converters.tensor import Held

from .ndarray_list import CPU
from .reader import read_params

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions

    from .reader import ParamsFile

_SUFFIX = ".params"
_BESIDE = "__MACOSX/"
"""The folder in a zip file in which macOS keeps what it knows of the files beside it."""

_DEVICES = {1: "cpu", 2: "gpu", 3: "cpu_pinned", 5: "cpu_shared"}
"""The devices' types (``include/mxnet/base.h`` lines 147 to 162)."""


def open_mxnet(file: SourceFile, kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open a file; None for a zip file without a ``.params``. Raises `BadInput`."""
    inner: SourceFile | None = file
    if kind == "zip":
        inner = _member(file, options)
    if inner is None:
        return None
    contents = read_params(inner)
    if not contents.arrays:
        raise BadInput("holds no arrays", path=file.path, hint="the weights are in another file")
    return Checkpoint(
        path=file.path,
        files=(file,),
        inside=None if inner is file else inner,
        format="mxnet",
        container="MXNet parameter file" + (" in a zip file" if kind == "zip" else ""),
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata=_metadata(contents),
        details=_form(contents),
    )


def _member(file: SourceFile, options: ReadOptions) -> SourceFile | None:
    """The only ``.params`` in a zip file; None where there is none. Raises `BadInput` where there are several."""
    head = file.read_at(0, min(HEAD, file.size))
    if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith((b".npy", b".pkl")):
        return None  # of NumPy or PyTorch: the directory need not be read
    from converters.formats.io.unpacked_members import member_file
    from converters.formats.io.zip_members import read_members

    members = [
        member
        for member in read_members(file).values()
        if member.name.endswith(_SUFFIX) and not member.name.startswith(_BESIDE)
    ]
    if len(members) > 1:
        raise BadInput(
            f"is a zip file with {len(members)} parameter files of MXNet",
            path=file.path,
            where=", ".join(short_name(member.name) for member in members[:2]),
            hint="unpack it, and name one of them",
        )
    return member_file(file, members[0], checksum=options.checksum) if members else None


def _metadata(contents: ParamsFile) -> dict[str, OtherValue]:
    """What the file says beside the arrays: their versions and devices, and Module's prefixes."""
    devices = {array.device for array in contents.arrays if array.device is not None}
    said = {
        "the arrays' versions": ", ".join(map(str, sorted({array.version for array in contents.arrays}))),
        "the arrays' devices": ", ".join(
            f"{_DEVICES.get(kind, f'device {kind}')}({number})" for kind, number in sorted(devices)
        ),
    }
    found = {name: plain_value(value) for name, value in said.items()}
    if contents.prefixed:
        names = "\n".join(contents.stored_names).encode()
        found["the names with Module's prefixes"] = OtherValue(kind="names", data=Held(names), beside=True)
    return found


def _form(contents: ParamsFile) -> dict[str, Any]:
    """What the way back restores: the names as stored, in order; the version and the device that most arrays have, and
    those of the others."""
    forms = Counter((array.version, array.device) for array in contents.arrays if array.device is not None)
    common = max(forms, key=forms.__getitem__, default=(2, CPU))
    others = {
        name: [array.version, *array.device]
        for name, array in zip(contents.stored_names, contents.arrays, strict=False)
        if array.device is not None and (array.version, array.device) != common
    }
    version, device = common
    form: dict[str, Any] = {
        "stored_names": list(contents.stored_names),
        "version": version,
        "device": list(device),
    }
    return {**form, "other_arrays": others} if others else form
