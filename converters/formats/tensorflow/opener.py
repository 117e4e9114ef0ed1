"""Open TensorFlow checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import UsageError
from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import OtherValue

from .averages import averages_as_variables
from .files import graph_beside, names_checkpoint
from .graph_file import GraphFile
from .reader import read_tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.tensor import Tensor


def open_tensorflow(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open the checkpoint that a file belongs to; None for a file that belongs to none."""
    if not names_checkpoint(file.path):
        return None
    file.close()
    return open_checkpoint_set(file.path, options)


def open_checkpoint_set(path: str, options: ReadOptions) -> Checkpoint:
    """Open a checkpoint by its prefix, its folder, or one of its files; an entry names the averages that are wanted in
    place of the variables. Raises `BadInput`, `UsageError`."""
    contents = read_tensorflow(path, checksum=options.checksum)
    tensors: Mapping[str, Tensor] = contents.tensors
    details: dict[str, Any] = {"checksums": "verified" if options.checksum else "not verified"}
    if options.entry is not None:
        try:
            tensors = averages_as_variables(tensors, options.entry, path)
        except UsageError:
            contents.close()
            raise
        details["wrapper"] = options.entry
    graph = graph_beside(contents.prefix)
    return Checkpoint(
        path=contents.prefix,
        files=contents.files,
        format="tensorflow",
        container=f"TensorFlow checkpoint, {contents.version}",
        tensors=tensors,
        other_values=contents.other_values,
        metadata={"the graph": OtherValue(kind="protocol buffer", data=GraphFile(graph))} if graph else {},
        details=details,
    )
