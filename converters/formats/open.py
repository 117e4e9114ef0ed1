"""Open a checkpoint of any supported format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.files import SourceFile

from .format import ReadOptions
from .registry import formats
from .sniff import HEAD, refusal, sniff

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def open_checkpoint(path: str, *, checksum: bool = True, entry: str | None = None) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for anything else, saying what the file is.

    ``checksum`` compares the checksums that a format has for its tensors, where they are read. ``entry`` is the path
    of the state dict in a PyTorch file, with dots, where other weights than the plain ones are wanted: `UsageError`
    for files that have no entries.
    """
    options = ReadOptions(checksum, entry)
    for record in formats():
        if record.open_set and (found := record.open_set(path, options)):
            return found
    file = SourceFile(path)
    try:
        kind = sniff(file.read_at(0, min(HEAD, file.size)))
        for record in formats():
            if kind in record.kinds and (found := record.open(file, kind, options)):
                return found
        options.refuse_entry(path)
        raise refusal(file, kind)
    except BaseException:
        file.close()
        raise
