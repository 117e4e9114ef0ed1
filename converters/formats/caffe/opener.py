"""Open Caffe models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint
from converters.formats.io.other_bytes import OtherBytes
from converters.formats.other_value import OtherValue

from .reader import read_caffe_hdf5, read_caffemodel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.formats.hdf5.reader import Hdf5File

    from .reader import CaffeModel


_CAFFE_DATASETS = r"(?:data|diff)/.+/\d+|history/\d+|iter|learned_net|current_step"


def open_caffemodel(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint:
    """Open a ``.caffemodel``. Raises `BadInput` for any other file."""
    contents = read_caffemodel(file)
    layers = OtherBytes(file, tuple(tensor.data for tensor in contents.tensors.values()))
    metadata = {"layers without their weights": OtherValue(kind="protocol buffer", data=layers)}
    return _checkpoint(file, contents, metadata)


def open_hdf5(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint | None:
    """Open Caffe's HDF5 form; None for another HDF5 file. Raises `BadInput`, and `Refused` without h5py."""
    from converters.formats.hdf5.reader import read_hdf5

    if not _is_caffe(read_hdf5(file)):
        return None
    contents = read_caffe_hdf5(file)
    return _checkpoint(file, contents, contents.metadata)


def _is_caffe(contents: Hdf5File) -> bool:
    """Whether most datasets lie where Caffe has them: the blobs of a layer, or a solver's history, by numbers."""
    paths = (*contents.tensors, *contents.other_values)
    usual = [path for path in paths if re.fullmatch(_CAFFE_DATASETS, path)]
    return not {"data", "history"}.isdisjoint(contents.groups) and 2 * len(usual) >= len(paths)


def _checkpoint(file: SourceFile, model: CaffeModel, metadata: Mapping[str, OtherValue]) -> Checkpoint:
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="caffe",
        container=f"Caffe model ({model.dialect})",
        tensors=model.tensors,
        other_values=model.other_values,
        metadata=metadata,
        details={
            "dialect": model.dialect,
            "net": model.net,
            "layers": [layer._asdict() for layer in model.layers],
        },
    )
