"""Reads Chainer's models: what ``save_npz`` and ``save_hdf5`` of ``chainer.serializers`` write, and what a
trainer's snapshot holds.

A parameter's name is its path through the links, ``conv1a/W``; a model that is part of another object has
that object's path before it, ``updater/model:main/predictor/conv1a/W``. A parameter that was never
initialised is a 0-d object array in an npz and a dataset without a value in HDF5 (Chainer 7.8.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import BadInput
from .sniff import expect

if TYPE_CHECKING:
    from ..tensor import SourceFile, Tensor


class ChainerFile(NamedTuple):
    """A file's arrays by name, in the file's order.

    ``uninitialised`` are the names of parameters without a value. ``others`` are arrays that are no weights,
    as texts in a trainer's snapshot, with what they are in words. ``container`` is ``npz`` or ``HDF5``.
    """

    tensors: dict[str, Tensor]
    uninitialised: tuple[str, ...]
    others: dict[str, str]
    container: str


def read_chainer(file: SourceFile, *, checksum: bool = True) -> ChainerFile:
    """Read the names, shapes and places of all arrays. Nothing is unpickled.

    With ``checksum`` the arrays of an npz compare their CRC-32 when they are read.

    Raises `BadInput` for a file of another kind, a damaged one, and one without arrays, and `Refused` for an
    HDF5 file without h5py.
    """
    if expect(file, "zip", "hdf5") == "zip":
        from .npz import read_npz

        npz = read_npz(file, checksum=checksum)
        found = ChainerFile(npz.tensors, npz.empty, npz.others, "npz")
    else:
        from .hdf5 import read_hdf5

        hdf5 = read_hdf5(file)
        found = ChainerFile(hdf5.tensors, hdf5.empty, hdf5.others, "HDF5")
    if not found.tensors:
        uninitialised = len(found.uninitialised)
        raise BadInput(
            f"holds {counted(uninitialised)} never initialised, and no others"
            if uninitialised
            else "holds no arrays",
            path=file.path,
            hint="run the model once before saving it" if uninitialised else "this is not a Chainer model",
        )
    return found


def counted(number: int) -> str:
    """So many parameters, and the verb that goes with them."""
    return "1 parameter that was" if number == 1 else f"{number} parameters that were"
