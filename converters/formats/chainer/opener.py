"""Open Chainer models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.checkpoint import Checkpoint
from converters.printable import printable

from .reader import counted, read_chainer

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions


def open_chainer(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open a model; None for arrays with names of another sort. Raises `BadInput` where a model's arrays are not all
    weights, `Refused` for HDF5 without h5py."""
    contents = read_chainer(file, checksum=options.checksum)
    if set(contents.tensors) == {"mean"}:
        raise BadInput(
            "holds a mean only, not a model",
            path=file.path,
            hint="`convert c3d` turns it into an .npy; the weights are in the model's own .npz",
        )
    if not contents.is_chainer:
        return None
    if contents.objects:
        from converters.formats.npz.objects import pickled_beside

        raise pickled_beside(file, contents.objects)
    if contents.uninitialised:
        raise BadInput(
            f"holds {counted(len(contents.uninitialised))} never initialised",
            path=file.path,
            where=", ".join(map(printable, contents.uninitialised[:3])),
            hint="run the model once before saving it",
        )
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="chainer",
        container=f"Chainer file ({contents.container})",
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata=contents.metadata,
    )
