"""MXNet's parameter files (``.params``), also in a zip file, as GluonCV's downloads are."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="mxnet",
        title="an MXNet parameter file (.params)",
        suffixes=(".params",),
        layout_formats=("mxnet",),
        kinds=("mxnet", "zip"),
        opener="converters.formats.mxnet.opener.open_mxnet",
        writer="converters.formats.mxnet.writer.write",
    ),
)
