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
    """Open the checkpoint that a file is a part of; None for a file that is not of a checkpoint."""
    if not names_checkpoint(file.path):
        return None
    file.close()
    return open_checkpoint_set(file.path, options)


def open_checkpoint_set(path: str, options: ReadOptions) -> Checkpoint:
    """Open a checkpoint by its prefix, its folder, or one of its files. Raises `BadInput`."""
    found = read_tensorflow(path, checksum=options.checksum)
    return Checkpoint(
        path=found.prefix,
        files=found.files,
        format="tensorflow",
        container=f"TensorFlow checkpoint, {found.version}",
        tensors=found.tensors,
        other_values=found.other_values,
        details={"checksums": "verified" if options.checksum else "not verified"},
    )
