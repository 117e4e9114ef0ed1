"""Open a checkpoint of any supported format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.files import SourceFile
from converters.locations import is_remote

from .format import ReadOptions
from .registry import formats
from .sniff import kind_of, unexpected_kind

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def open_checkpoint(
    path: str, *, checksum: bool = True, entry: str | None = None, distant: bool = False
) -> Checkpoint:
    """Recognise and open a checkpoint. Raises `BadInput` for any other file, saying what it is.

    ``path`` may be an address, whose file is fetched first; with ``distant`` only what describes it is read, and
    `converters.files.NeedsWhole` is raised where more is asked for. ``checksum`` compares the checksums that a
    format has for its tensors, where they are read. ``entry`` is the path of a state dict in a PyTorch file, with dots
    (default: the plain weights). Raises `UsageError` for an ``entry`` of a file that has no entries.
    """
    options = ReadOptions(checksum, entry)
    if is_remote(path):
        from .remote import open_remote

        return open_remote(path, options, _open_local, open_file, distant=distant)
    return _open_local(path, options)


def _open_local(path: str, options: ReadOptions) -> Checkpoint:
    try:
        return _open(path, options)
    except BadInput as error:
        from .foreign.recognise import explained

        raise explained(path, error) from None


def _open(path: str, options: ReadOptions) -> Checkpoint:
    for record in formats():
        if record.open_set and (checkpoint := record.open_set(path, options)):
            return checkpoint
    return open_file(SourceFile(path, options.find), options)


def open_file(file: SourceFile, options: ReadOptions) -> Checkpoint:
    """Recognise and open a checkpoint that is one file; closes it where that cannot be. Raises `BadInput`."""
    try:
        kind = kind_of(file)
        for record in formats():
            if kind in record.kinds and (checkpoint := record.open(file, kind, options)):
                return checkpoint
        options.refuse_entry(file.path)
        if kind == "npy":
            from .npz.reader import no_checkpoint

            raise no_checkpoint(file)
        raise unexpected_kind(file, kind)
    except BaseException:
        file.close()
        raise
