"""Writes Caffe models in HDF5, where every layer is a group ``data/LAYER``, with or without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.hdf5.writer import write_hdf5

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a model; layers without weights are taken from the original file if it had this layout. Raises
    `Refused`."""
    (out,) = outputs
    layers = content.original.get("layers", ()) if content.same_layout else ()
    write_hdf5(
        out,
        [tensor._replace(name=f"data/{tensor.name}") for tensor in content.tensors],
        groups=[f"data/{layer['name']}" for layer in layers if layer["name"]],
        progress=content.progress,
    )
