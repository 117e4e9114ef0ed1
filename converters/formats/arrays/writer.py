"""Writes named arrays, in numpy's ``.npz`` or in HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output


def write_as_npz(outputs: Sequence[Output], content: Content) -> None:
    """Write what numpy and ``chainer.serializers.load_npz`` read. Raises `Refused`."""
    from converters.formats.npz.writer import write_npz

    (out,) = outputs
    write_npz(out, content.tensors, progress=content.progress)


def write_as_hdf5(outputs: Sequence[Output], content: Content) -> None:
    """Write what h5py and ``chainer.serializers.load_hdf5`` read. Raises `Refused`, also without h5py."""
    from converters.formats.hdf5.writer import write_hdf5

    (out,) = outputs
    write_hdf5(out, content.tensors, progress=content.progress)
