"""Open named arrays of any writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import OtherValue
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.tensor import Tensor

_START = 64


def _is_mxnet(names: Iterable[str]) -> bool:
    """Whether the names are those of Gluon's parameters: MXNet 2 saves them in an ``.npz``."""
    leaves = {name.rpartition(".")[2] for name in names if "." in name and "/" not in name}
    return {"gamma", "beta", "running_mean", "running_var"} <= leaves


def open_arrays(file: SourceFile, kind: str, options: ReadOptions) -> Checkpoint:
    """Open a file. Raises `BadInput`, also for one with pickled objects alone, and `Refused` for HDF5 without h5py."""
    metadata: Mapping[str, OtherValue] = {}
    tensors: Mapping[str, Tensor]
    if kind == "zip":
        from converters.formats.npz.reader import read_npz

        npz = read_npz(file, checksum=options.checksum)
        if npz.objects and not npz.tensors:
            from converters.formats.npz.objects import pickled

            raise pickled(file, short_name(npz.objects[0]))
        tensors, empty, other_values, metadata = npz.tensors, npz.empty, npz.other_values, npz.metadata
        title = "NumPy file (npz)" + (" of MXNet 2" if _is_mxnet(npz.tensors) else "")
    else:
        from converters.formats.hdf5.reader import read_hdf5

        from .writers import title_of

        hdf5 = read_hdf5(file)
        tensors, empty, other_values, metadata = hdf5.tensors, hdf5.empty, hdf5.other_values, hdf5.metadata
        title = title_of(hdf5, file.read_at(0, min(_START, file.size)))
    if not tensors and not other_values:
        raise BadInput("holds no arrays", path=file.path, hint="the weights are in another file")
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="arrays",
        container=title,
        tensors=tensors,
        other_values={**other_values, **dict.fromkeys(empty, OtherValue(kind="None"))},
        metadata=metadata,
    )
