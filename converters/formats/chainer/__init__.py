"""Chainer models, in numpy's ``.npz`` and in HDF5."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="npz",
        title="a Chainer file (.npz)",
        suffixes=(".npz",),
        layout_formats=("chainer",),
        kinds=("zip",),
        opener="converters.formats.chainer.opener.open_chainer",
        writer="converters.formats.arrays.writer.write_as_npz",
    ),
    Format(
        name="chainer-hdf5",
        title="its HDF5 form (.h5)",
        suffixes=(".h5", ".hdf5"),
        layout_formats=("chainer",),
        kinds=("hdf5",),
        opener="converters.formats.chainer.opener.open_chainer",
        writer="converters.formats.arrays.writer.write_as_hdf5",
    ),
)
