"""Open a checkpoint of any supported format: what it is, its tensors (lazy), and what else it says."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ConverterError
from .record import parse_provenance
from .tensor import SourceFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tensor import Tensor

_PART = re.compile(r"\.(index|meta|data-[0-9]{5}-of-[0-9]{5,})$")
"""How the names of a TensorFlow checkpoint's files end, the first bytes of which tell nothing."""


class Checkpoint(NamedTuple):
    """An open checkpoint, in one file or several.

    ``format`` is one that layouts come in (`mapping.tables.FORMATS`), ``container`` the file format in words.
    ``others`` are values that are not tensors. ``provenance`` is what this tool wrote into the file, if it did.
    """

    path: str
    files: tuple[SourceFile, ...]
    format: str
    container: str
    tensors: Mapping[str, Tensor]
    others: Mapping[str, object]
    provenance: Mapping[str, Any] | None
    details: Mapping[str, Any]

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ConverterError):
            error.at(self.path)
        for file in self.files:
            file.close()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def open_checkpoint(path: str, *, checksum: bool = True) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for anything else, saying what the file is.

    ``checksum`` compares the checksums that a format has for its tensors, where they are read.
    """
    if _is_set(path):
        return _open_tensorflow(path, checksum=checksum)
    file = SourceFile(path)
    try:
        from .read.sniff import HEAD, expect, sniff

        kind = sniff(file.read_at(0, min(HEAD, file.size)))
        if kind == "pickle":
            return _open_pickle(file)
        if kind == "zip":
            return _open_pth(file, checksum=checksum)
        if kind == "safetensors":
            return _open_safetensors(file)
        if _names_tensorflow(path):
            file.close()
            return _open_tensorflow(path, checksum=checksum)
        expect(file, "pickle", "zip", "safetensors")
        raise AssertionError(kind)
    except BaseException:
        file.close()
        raise


def _is_set(path: str) -> bool:
    """Whether a path names one of several files that belong together, or what they have in common."""
    if not os.path.isfile(path):
        return _names_tensorflow(path)
    name = os.path.basename(path)
    return name in ("checkpoint", "saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb") or bool(
        _PART.search(name)
    )


def _names_tensorflow(path: str) -> bool:
    from .read.tensorflow_files import names_checkpoint

    return names_checkpoint(path)


def _open_pickle(file: SourceFile) -> Checkpoint:
    from .read.caffe2 import read_caffe2_pickle

    found = read_caffe2_pickle(file)
    details = {"nested": found.nested, "protocol": found.protocol}
    container = f"pickle, protocol {found.protocol}"
    return Checkpoint(
        file.path, (file,), "caffe2-pickle", container, found.tensors, found.others, None, details
    )


def _open_pth(file: SourceFile, *, checksum: bool) -> Checkpoint:
    from .read.pth import read_pth

    found = read_pth(file, checksum=checksum)
    provenance = parse_provenance(found.provenance, file.path)
    details = {"wrapper": found.wrapper}
    return Checkpoint(
        file.path, (file,), "pytorch", "PyTorch zip file", found.tensors, found.others, provenance, details
    )


def _open_safetensors(file: SourceFile) -> Checkpoint:
    from .read.safetensors import read_safetensors

    found = read_safetensors(file)
    provenance = parse_provenance(found.metadata.get("provenance"), file.path)
    return Checkpoint(file.path, (file,), "pytorch", "safetensors", found.tensors, {}, provenance, {})


def _open_tensorflow(path: str, *, checksum: bool) -> Checkpoint:
    from .read.tensorflow import read_tensorflow

    found = read_tensorflow(path, checksum=checksum)
    container = f"TensorFlow checkpoint, {found.version}"
    details = {"checksums": "verified" if checksum else "not verified"}
    return Checkpoint(
        found.prefix, found.files, "tensorflow", container, found.tensors, found.others, None, details
    )
