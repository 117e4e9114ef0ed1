"""Named arrays of any writer, in numpy's ``.npz`` and in HDF5: what no framework's own reader takes."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="arrays-npz",
        title="a NumPy file (.npz)",
        suffixes=(".npz",),
        layout_formats=("arrays",),
        kinds=("zip",),
        opener="converters.formats.arrays.opener.open_arrays",
        writer="converters.formats.arrays.writer.write_as_npz",
    ),
    Format(
        name="arrays-hdf5",
        title="an HDF5 file (.h5)",
        suffixes=(".h5", ".hdf5"),
        layout_formats=("arrays",),
        kinds=("hdf5",),
        opener="converters.formats.arrays.opener.open_arrays",
        writer="converters.formats.arrays.writer.write_as_hdf5",
    ),
)
