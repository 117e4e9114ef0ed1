"""Open a checkpoint of any supported format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.files import SourceFile

from .format import ReadOptions
from .registry import formats
from .sniff import kind_of, unexpected_kind

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def open_checkpoint(path: str, *, checksum: bool = True, entry: str | None = None) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for any other file, saying what it is.

    ``checksum`` compares the checksums that a format has for its tensors, where they are read. ``entry`` is the path
    of a state dict in a PyTorch file, with dots (default: the plain weights). Raises `UsageError` for an ``entry`` of
    a file that has no entries.
    """
    try:
        return _open(path, ReadOptions(checksum, entry))
    except BadInput as error:
        from .foreign.recognise import explained

        raise explained(path, error) from None


def _open(path: str, options: ReadOptions) -> Checkpoint:
    for record in formats():
        if record.open_set and (checkpoint := record.open_set(path, options)):
            return checkpoint
    file = SourceFile(path)
    try:
        kind = kind_of(file)
        for record in formats():
            if kind in record.kinds and (checkpoint := record.open(file, kind, options)):
                return checkpoint
        options.refuse_entry(path)
        if kind == "npy":
            from .npz.reader import no_checkpoint

            raise no_checkpoint(file)
        raise unexpected_kind(file, kind)
    except BaseException:
        file.close()
        raise
