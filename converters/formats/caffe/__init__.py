"""Caffe models: ``.caffemodel`` files of all of Caffe's dialects, and the same in HDF5."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="caffe",
        title="a Caffe model (.caffemodel)",
        suffixes=(".caffemodel",),
        layout_formats=("caffe",),
        kinds=("protobuf", "unknown", "text"),
        opener="converters.formats.caffe.opener.open_caffemodel",
        writer="converters.formats.caffe.writer.write",
    ),
    Format(
        name="caffe-hdf5",
        title="its HDF5 form (.h5)",
        suffixes=(".h5", ".hdf5"),
        other_suffixes=(".caffemodel.h5",),
        layout_formats=("caffe",),
        kinds=("hdf5",),
        opener="converters.formats.caffe.opener.open_hdf5",
        writer="converters.formats.caffe.hdf5_writer.write",
    ),
)
