"""Open PaddlePaddle's files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint

from .entries import NAME_TABLE, PIECES

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions

_SUFFIXES = (".pdparams", ".pdopt", ".pdstates", ".pdema")
_SIGN = re.compile(rb"%s|%s|\._variance" % (NAME_TABLE.encode(), PIECES.encode()))
_LOOKED_AT = 256 * 1024
"""Bytes at the start and at the end: the first batch norm is behind a stem, the table of names at the end."""


def open_paddle(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint | None:
    """Open a pickle of Paddle's; None for a pickle of others. Raises `BadInput`."""
    if not _is_paddle(file):
        return None
    from .reader import read_paddle

    contents = read_paddle(file)
    return Checkpoint(
        path=file.path,
        files=(file,),
        format="paddle",
        container=f"PaddlePaddle file, pickle protocol {contents.protocol}",
        tensors=contents.tensors,
        other_values=contents.other_values,
        metadata=contents.metadata,
        details={"paddle": contents.form},
    )


def _is_paddle(file: SourceFile) -> bool:
    """Whether a pickle is called as Paddle's files are, or has names near its start or end that only Paddle gives."""
    if file.path.lower().endswith(_SUFFIXES):
        return True
    size = min(file.size, _LOOKED_AT)
    return any(_SIGN.search(file.read_at(at, size)) for at in {0, file.size - size})
