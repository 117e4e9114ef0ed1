"""Open TensorFlow checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint

from .files import names_checkpoint
from .reader import read_tensorflow

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions


def open_tensorflow(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open the checkpoint that a file belongs to; None for a file that belongs to none."""
    if not names_checkpoint(file.path):
        return None
    file.close()
    return open_checkpoint_set(file.path, options)


def open_checkpoint_set(path: str, options: ReadOptions) -> Checkpoint:
    """Open a checkpoint by its prefix, its folder, or one of its files. Raises `BadInput`."""
    contents = read_tensorflow(path, checksum=options.checksum)
    return Checkpoint(
        path=contents.prefix,
        files=contents.files,
        format="tensorflow",
        container=f"TensorFlow checkpoint, {contents.version}",
        tensors=contents.tensors,
        other_values=contents.other_values,
        details={"checksums": "verified" if options.checksum else "not verified"},
    )
