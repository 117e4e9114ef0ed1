"""Reads Chainer models: what ``save_npz`` and ``save_hdf5`` of ``chainer.serializers`` write, and trainer snapshots.

A parameter's name is its path through the links, ``conv1a/W``; a model inside another object has that object's path
in front, ``updater/model:main/predictor/conv1a/W``. A parameter that was never initialised is a 0-d object array in
an npz and a dataset without a value in HDF5 (Chainer 7.8.1). So is anything else that is None when a trainer is
saved: the best value of a trigger that has not fired yet, the state of an optimizer.
"""

from __future__ import annotations

import re
from itertools import filterfalse
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.other_value import OtherValue
from converters.formats.sniff import expect
from converters.printable import short_name
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.tensor import Tensor


_MODEL = "updater/model:"
"""Where a trainer's snapshot has its models; all the rest of it is the trainer's."""

_OPTIMIZER = "updater/optimizer:"

_PARAMETER = re.compile(r"W(?:_?\w+)?|b\d*|w\d+|gamma|beta|avg_\w+|N|V[12]|_?[rd]_max|cost")
"""The names that Chainer's own links give to their parameters and persistent values."""

_SEVERAL, _MANY = 2, 5  # links

_NONE = OtherValue(kind="None")


class ChainerFile(Record):
    """A file's arrays by name, in the file's order.

    ``uninitialised`` are the names of parameters without a value. ``other_values`` are arrays that are not converted,
    such as texts, and None in a trainer's snapshot; ``objects`` are those among a model's parameters that only
    unpickling could restore. ``metadata`` are HDF5's attributes. ``container`` is ``npz`` or ``HDF5``.
    """

    tensors: dict[str, Tensor]
    uninitialised: tuple[str, ...]
    other_values: dict[str, OtherValue]
    metadata: Mapping[str, OtherValue]
    objects: tuple[str, ...]
    container: str

    @property
    def is_chainer(self) -> bool:
        """Whether the names and dtypes are Chainer's: a trainer's snapshot, or for the most part those of links, of
        which there are several, or one with normalisation. Chainer's own dtypes are float16 and float32; of float64,
        which `chainer.config.dtype` allows but numpy makes by itself, only many links are taken as Chainer's."""
        names = [*self.tensors, *self.uninitialised, *self.objects]
        if any(name.startswith((_MODEL, _OPTIMIZER)) for name in names):
            return True
        ends = [name.rpartition("/")[2] for name in names]
        links = {name for name in names if name.endswith("/W") and self._is_weight(name)}
        usual = all(
            self.tensors[name].dtype in ("float16", "float32") for name in links & self.tensors.keys()
        )
        norms = "avg_mean" in ends or "N" in ends
        if len(links) < (_SEVERAL if usual else _MANY) and not (links and usual and norms):
            return False
        return 2 * sum(map(bool, map(_PARAMETER.fullmatch, ends))) >= len(ends)

    def _is_weight(self, name: str) -> bool:
        """Whether an array is of two axes or more, as a link's is, or has no shape to tell."""
        tensor = self.tensors.get(name)
        return tensor is None or (len(tensor.shape) > 1 and tensor.dtype in ("float16", "float32", "float64"))


def read_chainer(file: SourceFile, *, checksum: bool = True) -> ChainerFile:
    """Read the names, shapes and offsets of all arrays. Nothing is unpickled.

    With ``checksum`` the arrays of an npz compare their CRC-32 while they are read. Raises `BadInput` for a file of
    another kind, a damaged file, and a file without arrays; `Refused` for HDF5 without h5py.
    """
    if expect(file, "zip", "hdf5") == "zip":
        from converters.formats.npz.reader import read_npz

        npz = read_npz(file, checksum=checksum)
        tensors, empty, other_values, container = npz.tensors, npz.empty, npz.other_values, "npz"
        metadata: Mapping[str, OtherValue] = npz.metadata
        objects = npz.objects
        if objects and not tensors:
            from converters.formats.npz.objects import pickled

            raise pickled(file, ", ".join(map(short_name, objects[:3])))
    else:
        from converters.formats.hdf5.reader import read_hdf5

        hdf5 = read_hdf5(file)
        tensors, empty, other_values, container = hdf5.tensors, hdf5.empty, hdf5.other_values, "HDF5"
        metadata = hdf5.metadata
        objects = ()
    snapshot = any(name.startswith(_MODEL) for name in (*tensors, *empty))

    def of_model(name: str) -> bool:
        return name.startswith(_MODEL) if snapshot else not name.startswith(_OPTIMIZER)

    contents = ChainerFile(
        tensors=tensors,
        uninitialised=tuple(filter(of_model, empty)),
        other_values={**other_values, **dict.fromkeys(filterfalse(of_model, empty), _NONE)},
        metadata=metadata,
        objects=tuple(filter(of_model, objects)),
        container=container,
    )
    if not contents.tensors:
        raise _without_arrays(file, contents)
    return contents


def _without_arrays(file: SourceFile, contents: ChainerFile) -> BadInput:
    """The error for a file of which nothing can be read, which says why."""
    if uninitialised := len(contents.uninitialised):
        what = f"holds {counted(uninitialised)} never initialised, and no others"
        return BadInput(what, path=file.path, hint="run the model once before saving it")
    for name, other in contents.other_values.items():
        what = f"holds no arrays that can be read: the first is {other.kind}"
        return BadInput(
            what, path=file.path, where=short_name(name), hint=other.hint or "save arrays of float32"
        )
    return BadInput("holds no arrays", path=file.path, hint="the weights are in another file")


def counted(number: int) -> str:
    """The number of parameters, with the verb: "1 parameter was", "2 parameters were"."""
    return "1 parameter that was" if number == 1 else f"{number} parameters that were"
