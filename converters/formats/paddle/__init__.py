"""PaddlePaddle's parameter files: pickles of numpy arrays, as ``paddle.save`` writes a state dict."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="pdparams",
        title="a PaddlePaddle file (.pdparams)",
        suffixes=(".pdparams",),
        layout_formats=("paddle",),
        kinds=("pickle",),
        opener="converters.formats.paddle.opener.open_paddle",
        writer="converters.formats.paddle.writer.write",
    ),
)
