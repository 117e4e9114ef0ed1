"""Reads the header of numpy's arrays: dtype, order and shape. Format: numpy.lib.format, versions 1.0 to 3.0.

The header is a Python literal. numpy writes it in one way; other writers (Go, Fortran, JavaScript) have other spaces,
quotes, orders of the keys and trailing commas, and numpy reads all of these.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.printable import printable, short_name
from converters.record import Record
from converters.tensor import ITEMSIZE, NUMPY_CODES

from .literal import literal

if TYPE_CHECKING:
    from converters.files import SourceFile

MAGIC = b"\x93NUMPY"
"""The first bytes of an array."""
LIMIT = 65_536
"""The longest header that is read, in bytes."""

_AXES = 64
_KEYS = {"descr", "fortran_order", "shape"}
_USUAL = re.compile(
    r"\{'descr': '(?P<descr>[<>|][a-z]\d{1,2})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:\d{1,18},|\d{1,18}(?:, \d{1,18}){1,31})?)\), \} *\n"
)
_NAMES = {"bool_": "b1", "half": "f2", "single": "f4", "double": "f8", "float": "f8", "int": "i8"} | {
    name: code for code, name in NUMPY_CODES.items()
}
_LETTERS = {
    "?": "b1",
    "e": "f2",
    "f": "f4",
    "d": "f8",
    "b": "i1",
    "B": "u1",
    "h": "i2",
    "i": "i4",
    "l": "i8",
    "q": "i8",
}


class Header(Record):
    """An array's header. ``dtype`` is empty for one that a state dict cannot hold; ``descr`` is the dtype as numpy
    writes it. ``length`` is that of all bytes before the values."""

    dtype: str
    descr: str
    big: bool
    fortran: bool
    shape: tuple[int, ...]
    length: int

    @property
    def is_transposed(self) -> bool:
        """Whether the values are in Fortran order, and that differs from C order."""
        return self.fortran and sum(size != 1 for size in self.shape) > 1 and 0 not in self.shape


def header_length(head: bytes) -> int:
    """The length of the header, prefix included, as the prefix states it."""
    wide = head[6:7] != b"\x01"
    return (12 if wide else 10) + int.from_bytes(head[8 : 12 if wide else 10], "little")


def parse_header(file: SourceFile, head: bytes, size: int, name: str) -> Header:
    """The header of the array ``name``, which takes ``size`` bytes and begins with ``head``. Raises `BadInput`."""

    def bad(what: str) -> BadInput:
        return BadInput(
            what,
            path=file.path,
            where=f"array {short_name(name)}",
            hint="the file is damaged; fetch it again",
        )

    if not head.startswith(MAGIC) or len(head) < 10:
        raise bad("is not a numpy array")
    if head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise bad(f"has the format version {head[6]}.{head[7]}, which is not known")
    length = header_length(head)
    if length > min(len(head), LIMIT):
        raise bad(f"has a header of {length:,} bytes, there are {min(size, LIMIT):,}")
    encoding = "utf-8" if head[6] == 3 else "latin-1"
    text = head[12 if head[6] > 1 else 10 : length].decode(encoding, "replace")
    try:
        descr, fortran, shape = _fields(text)
    except (ValueError, TypeError):
        raise bad("has a header that numpy does not read") from None
    if len(shape) > _AXES or not all(0 <= axis < 1 << 63 for axis in shape):
        raise bad("has an impossible shape")
    order, code = _dtype(descr)
    dtype = NUMPY_CODES.get(code, "")
    if dtype and prod(shape) * ITEMSIZE[dtype] != size - length:
        raise bad(
            f"takes {size - length:,} bytes, which are not those of {dtype} {'x'.join(map(str, shape)) or 'scalar'}"
        )
    return Header(
        dtype=dtype, descr=printable(descr), big=order == ">", fortran=fortran, shape=shape, length=length
    )


def _fields(text: str) -> tuple[str, bool, tuple[int, ...]]:
    """The dtype as numpy writes it, whether the order is Fortran's, and the shape. Raises `ValueError`."""
    if match := _USUAL.fullmatch(text):
        shape = tuple(int(size) for size in match["shape"].split(",") if size)
        return match["descr"], match["fortran"] == "True", shape
    value = literal(text)
    if not isinstance(value, dict) or value.keys() != _KEYS:
        raise ValueError
    descr, fortran, shape = value["descr"], value["fortran_order"], value["shape"]
    if not isinstance(fortran, bool) or not isinstance(shape, tuple):
        raise ValueError
    if not all(isinstance(size, int) for size in shape) or not isinstance(descr, (str, list, tuple)):
        raise ValueError
    return descr if isinstance(descr, str) else repr(descr), fortran, tuple(map(int, shape))


def _dtype(descr: str) -> tuple[str, str]:
    """Byte order and code of a simple dtype; what is not one has no such code."""
    order, code = ("=", descr) if descr[:1] not in ("<", ">", "|", "=") else (descr[0], descr[1:])
    return order, _LETTERS.get(code, _NAMES.get(descr, code))
