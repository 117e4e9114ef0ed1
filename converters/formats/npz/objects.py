"""Arrays of Python objects in ``.npy`` and ``.npz``: numpy pickles them whole. None alone is told from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.zip_members import DEFLATED
from converters.formats.io.zip_records import ZipRecord, place
from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.files import SourceFile
    from converters.formats.io.zip_members import Member

_LONGEST = 1024
"""Bytes of a pickle of None at most: numpy writes 120 to 250."""


def is_none(file: SourceFile, member: Member, skip: int) -> bool:
    """Whether the array behind the first ``skip`` bytes of a member, an array of one object, is None. Nothing is
    unpickled."""
    if member.size - skip > _LONGEST:
        return False
    from converters.formats.pickle.machine import walk
    from converters.formats.pickle.numpy_arrays import NAMES, Array

    deflated = member.method == DEFLATED
    record = ZipRecord(
        0 if deflated else member.offset, member.size, member.crc, member if deflated else None
    )
    stream = place(file, record, held=True)
    try:
        value = walk(stream, NAMES, offset=record.offset + skip, size=member.size - skip).value
    except BadInput:
        return False
    return isinstance(value, Array) and value.data == [None]


def pickled_beside(file: SourceFile, names: Sequence[str]) -> BadInput:
    """The error for a file that holds Python objects beside arrays."""
    return BadInput(
        "holds arrays of Python objects, which are pickles: nothing was unpickled",
        path=file.path,
        where=", ".join(map(printable, names[:3])),
        hint="weights are plain arrays; save them as such, or fetch the file from its authors",
    )


def pickled(file: SourceFile, where: str = "") -> BadInput:
    """The error for a file that holds Python objects in place of arrays."""
    return BadInput(
        "holds pickled Python objects in place of arrays: nothing was unpickled",
        path=file.path,
        where=where,
        hint="numpy pickles a dictionary whole: if you trust the file, numpy.load it with allow_pickle=True, and save"
        " its arrays with numpy.savez(FILE, **arrays)",
    )
