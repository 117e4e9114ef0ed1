"""Caffe2's pickles, and its own nets (``init_net.pb``, ``predict_net.pb``), which are only read."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="pickle",
        title="a Caffe2 pickle (.pkl)",
        suffixes=(".pkl", ".pickle"),
        layout_formats=("caffe2-pickle",),
        kinds=("pickle", "protobuf"),
        opener="converters.formats.caffe2.opener.open_caffe2",
        writer="converters.formats.caffe2.pickle_writer.write",
    ),
)
