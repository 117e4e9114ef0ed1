"""ONNX models."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="onnx",
        title="an ONNX model (.onnx)",
        suffixes=(".onnx",),
        layout_formats=("caffe2-pickle", "tensorflow", "caffe", "chainer", "jax", "mxnet", "paddle"),
        kinds=("protobuf",),
        opener="converters.formats.onnx.opener.open_onnx",
        writer="converters.formats.onnx.writer.write",
    ),
)
