"""Open a checkpoint file of any supported format: what it is, its tensors (lazy), and what else it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .record import parse_provenance
from .tensor import SourceFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tensor import Tensor


class Checkpoint(NamedTuple):
    """An open file. ``format`` is ``caffe2-pickle`` or ``pytorch``, ``container`` the file format in words.

    ``others`` are values that are not tensors. ``provenance`` is what this tool wrote into the file, if it
    did.
    """

    file: SourceFile
    format: str
    container: str
    tensors: Mapping[str, Tensor]
    others: Mapping[str, object]
    provenance: Mapping[str, Any] | None
    details: Mapping[str, Any]

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def open_checkpoint(path: str) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for anything else, saying what the file is."""
    file = SourceFile(path)
    try:
        return _open(file)
    except BaseException:
        file.close()
        raise


def _open(file: SourceFile) -> Checkpoint:
    from .read.sniff import expect

    kind = expect(file, "pickle", "zip", "safetensors")
    if kind == "zip":
        from .read.pth import read_pth

        found = read_pth(file)
        return Checkpoint(
            file,
            "pytorch",
            "PyTorch zip file",
            found.tensors,
            found.others,
            parse_provenance(found.provenance, file.path),
            {"wrapper": found.wrapper},
        )
    if kind == "safetensors":
        from .read.safetensors import read_safetensors

        safe = read_safetensors(file)
        return Checkpoint(
            file,
            "pytorch",
            "safetensors",
            safe.tensors,
            {},
            parse_provenance(safe.metadata.get("provenance"), file.path),
            {},
        )
    from .read.caffe2 import read_caffe2_pickle

    pickle = read_caffe2_pickle(file)
    return Checkpoint(
        file,
        "caffe2-pickle",
        f"pickle, protocol {pickle.protocol}",
        pickle.tensors,
        pickle.others,
        None,
        {"nested": pickle.nested, "protocol": pickle.protocol},
    )
