"""Safetensors files."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="safetensors",
        title="a safetensors file",
        suffixes=(".safetensors",),
        layout_formats=("pytorch",),
        kinds=("safetensors",),
        opener="converters.formats.safetensors.opener.open_safetensors",
        writer="converters.formats.safetensors.writer.write",
    ),
)
