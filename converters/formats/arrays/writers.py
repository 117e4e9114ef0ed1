"""Who wrote an HDF5 file, by its attributes, the names of its datasets, or the block in front of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from converters.formats.hdf5.reader import Hdf5File


class Writer(NamedTuple):
    """A writer: what its files are called, and one sign of it: an attribute of the file, a pattern that a dataset's
    path has, or the start of the block in front."""

    title: str
    attribute: str = ""
    dataset: str = ""
    start: bytes = b""


WRITERS = (
    Writer("Keras model (HDF5)", attribute="model_config"),
    Writer("Keras weight file (HDF5)", attribute="layer_names"),
    Writer("Keras model (HDF5)", attribute="keras_version"),
    Writer("Keras weight file (HDF5)", dataset=r"(?:.*/)?vars/\d+"),
    Writer("MATLAB 7.3 file (HDF5)", start=b"MATLAB 7.3"),
    Writer("Julia file (JLD2, HDF5)", start=b"HDF5-based Julia Data Format"),
    Writer("Julia file (JLD, HDF5)", start=b"Julia data file (HDF5)"),
    Writer("netCDF file (HDF5)", attribute="_NCProperties"),
    Writer("PyTables file (HDF5)", attribute="PYTABLES_FORMAT_VERSION"),
)
"""The first that fits is meant."""


def title_of(contents: Hdf5File, start: bytes) -> str:
    """What an HDF5 file is called; ``start`` are its first bytes."""
    paths = (*contents.tensors, *contents.other_values)
    for writer in WRITERS:
        if writer.attribute and writer.attribute in contents.attributes:
            return writer.title
        if writer.start and start.startswith(writer.start):
            return writer.title
        if writer.dataset and any(re.fullmatch(writer.dataset, path) for path in paths):
            return writer.title
    return "plain HDF5 file"
