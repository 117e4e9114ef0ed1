"""The CRC-32 of whole files, parts of which have been read or written, and summed up, already."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from converters.files import SourceFile

from .crc32 import crc32_function

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .crc32 import Crc32

LONG = 32 * 1024
"""A range of fewer bytes is read again, with what is around it: that takes less time than joining its CRC."""

_DIVISOR = 0xEDB88320
"""The polynomial without its x^32. As in every value here, the highest bit is the coefficient of x^0."""


class Summed(NamedTuple):
    """A range of a file, from ``start`` to before ``end``, whose bytes have the CRC-32 ``crc``."""

    start: int
    end: int
    crc: int


def crc32_of(path: str, known: Sequence[Summed] = ()) -> int:
    """The CRC-32 of a file. Of what is ``known`` only ranges that are short or overlap are read."""
    with SourceFile(path) as file:
        return crc32_in([(file, known)])


def crc32_in(files: Iterable[tuple[SourceFile, Sequence[Summed]]]) -> int:
    """The same of open files, one after the other."""
    crc, value = crc32_function(), 0
    for file, known in files:
        position = 0
        for start, end, own in sorted(known):
            if start >= position and end - start >= LONG:
                value = joined_crc32(_continued(crc, value, file, position, start), own, end - start)
                position = end
        value = _continued(crc, value, file, position, file.size)
    return value


def _continued(crc: Crc32, value: int, file: SourceFile, start: int, end: int) -> int:
    for chunk in file.chunks(start, end - start):
        value = crc(chunk, value)
    return value


def joined_crc32(first: int, second: int, length: int) -> int:
    """The CRC-32 of two messages one after the other: from that of each, and the second's ``length`` in bytes.

    A CRC is a remainder, so the first one is multiplied by x for every bit that follows it.
    """
    return _product(first, _power(length)) ^ second


@lru_cache(maxsize=1024)  # a file's tensors have few sizes, unless it is a hostile one
def _power(length: int) -> int:
    """x to the power of the bits in ``length`` bytes, modulo the divisor."""
    power = 1 << 31
    for place in range(length.bit_length()):
        if length >> place & 1:
            power = _product(power, _square(place))
    return power


@cache
def _square(place: int) -> int:
    """x^8, squared ``place`` times."""
    if place == 0:
        return 1 << 23
    root = _square(place - 1)
    return _product(root, root)


def _product(a: int, b: int) -> int:
    """The product of two polynomials modulo the divisor."""
    product = 0
    while a:
        if a & 0x80000000:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_DIVISOR if b & 1 else 0)
    return product
