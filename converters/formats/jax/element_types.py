"""The dtypes of arrays in Flax's msgpack, by the names that numpy and ml_dtypes give them."""

from __future__ import annotations

import re
from typing import NamedTuple

from converters.tensor import ITEMSIZE, NUMPY_CODES

_OTHERS = {
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "complex64": 8,
    "complex128": 16,
    "float128": 16,
    "float96": 12,
    "longdouble": 16,
    "complex256": 32,
    "complex192": 24,
    **dict.fromkeys(("int2", "int4", "uint2", "uint4", "int1", "uint1"), 1),
    **dict.fromkeys(("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"), 1),
    **dict.fromkeys(
        (
            *(
                "float8_e3m4",
                "float8_e4m3",
                "float8_e4m3b11",
                "float8_e4m3b11fnuz",
                "float8_e4m3fn",
                "float8_e4m3fnuz",
            ),
            *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
        ),
        1,
    ),
}
"""Bytes of an element of dtypes that are not converted; those of less than a byte take a whole one in numpy."""

_CODE = re.compile(r"([<>|=]?)([fiub][1248])")
_SIZED = re.compile(r"(str|bytes|void)(\d{0,9})")
_TIME = re.compile(r"(?:datetime64|timedelta64)(?:\[\d{0,9}[a-zA-Zμ]{1,2}\])?")


class ElementType(NamedTuple):
    """``name`` is a key of `ITEMSIZE`, or the name of a dtype that is not converted; ``size`` the bytes of an
    element; ``swapped`` says that they are big-endian."""

    name: str
    size: int
    swapped: bool = False

    @property
    def is_converted(self) -> bool:
        """Whether a state dict can hold it."""
        return self.name in ITEMSIZE


def element_type(name: str) -> ElementType | None:
    """The dtype that ``numpy.dtype`` or Flax makes of a name; None for anything else."""
    if size := ITEMSIZE.get(name) or _OTHERS.get(name):
        return ElementType(name, size)
    if match := _CODE.fullmatch(name):
        known = NUMPY_CODES.get(match[2], f"uint{8 * int(match[2][1])}" if match[2][0] == "u" else "")
        return ElementType(known, int(match[2][1]), match[1] == ">" and match[2][1] != "1") if known else None
    if match := _SIZED.fullmatch(name):
        return ElementType(name, int(match[2] or 0) // 8)
    return ElementType(name, 8) if _TIME.fullmatch(name) else None
