"""PyTorch's own files: zip files since PyTorch 1.6, the formats before, TorchScript, and checkpoints in parts."""

from converters.formats.format import Format

FORMATS = (
    Format(
        name="pth",
        title="a PyTorch file (.pth)",
        suffixes=(".pth", ".pt", ".pth.tar"),
        other_suffixes=(".tar",),
        layout_formats=("pytorch",),
        kinds=("zip", "torch-legacy", "tar", "text"),
        opener="converters.formats.pytorch.opener.open_pytorch",
        writer="converters.formats.pytorch.writer.write",
        has_entries=True,
    ),
)
