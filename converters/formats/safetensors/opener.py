"""Open safetensors files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import plain_value
from converters.formats.provenance_record import parse_provenance
from converters.printable import printable

from .reader import read_safetensors

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions


def open_safetensors(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint:
    """Open a safetensors file, which has no checksums. Raises `BadInput`."""
    contents = read_safetensors(file)
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="pytorch",
        container="safetensors",
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata={
            printable(name): plain_value(text)
            for name, text in contents.metadata.items()
            if name != "provenance"
        },
        provenance=parse_provenance(contents.metadata.get("provenance"), file.path),
    )
