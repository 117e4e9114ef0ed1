"""CRC-32C (Castagnoli), as TensorFlow keeps it beside its tensors: gigabytes a second without an extension.

A CRC is the remainder of the message as a polynomial, so that any multiple of the divisor may be subtracted
from the message. This divisor has sparse multiples, such as x^5685 + x^1362 + x^426 + 1, and what is true
of x is true of x^(2^k) as well. Hence the front of a long message, thousands of words at once, can be added
at three later places: a few XORs of long vectors, until some forty bytes are left for the usual
table.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Buffer = bytes | bytearray | memoryview

_MULTIPLES = ((5685, (1362, 426, 0)), (290, (136, 113, 107, 32, 0)))
"""Exponents of multiples of the divisor, the highest first. As much as the gap after it is folded at
once."""

_LONG = 128 * 1024  # bytes from which on loading numpy is worth it
_START = bytes.fromhex("54641f64")
"""Four bytes that turn the register from 0 to all ones, where the CRC begins."""


def masked(crc: int) -> int:
    """The CRC as TensorFlow stores it: rotated right by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: Buffer) -> int:
    """The CRC of bytes that are in memory as a whole."""
    crc = running_crc32c()
    crc.update(data)
    return crc.value()


class Running(Protocol):
    """A CRC that grows piece by piece."""

    def update(self, piece: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    def value(self) -> int:
        """The CRC of all bytes so far."""
        ...


def running_crc32c() -> Running:
    """A new CRC: by google-crc32c if the extra ``[fast]`` is installed, else by `Folded`. Same results."""
    extend = _extension()
    return Folded() if extend is None else _Extended(extend)


class Folded:
    """A CRC in Python alone; the first long piece loads numpy. Holds 128 KiB and one piece at most."""

    __slots__ = ("_message",)

    def __init__(self) -> None:
        self._message = bytearray(_START)  # has the same remainder as all bytes so far

    def update(self, piece: Buffer) -> None:
        self._message += piece
        if len(self._message) >= _LONG:
            self._message = _fold_words(self._message)

    def value(self) -> int:
        register = 0
        for byte in _fold_bits(self._message):
            register = register >> 8 ^ _TABLE[(register ^ byte) & 0xFF]
        return register ^ 0xFFFFFFFF


class _Extended:
    __slots__ = ("_extend", "_value")

    def __init__(self, extend: Callable[[int, bytes], int]) -> None:
        self._extend = extend
        self._value = 0

    def update(self, piece: Buffer) -> None:
        self._value = self._extend(self._value, bytes(piece))

    def value(self) -> int:
        return self._value


def _extension() -> Callable[[int, bytes], int] | None:
    try:
        module = import_module("google_crc32c._crc32c")
    except ImportError:
        return None
    extend: Callable[[int, bytes], int] = module.extend
    return extend


def _fold_words(message: bytearray) -> bytearray:
    """The message shortened to some 45 KB, in words of 64 bits."""
    import numpy as np

    degree, terms = _MULTIPLES[0]
    words: np.ndarray[Any, np.dtype[np.uint64]] = np.frombuffer(message, np.uint64, len(message) // 8)
    last = len(words) - degree
    for first in range(0, last, degree - terms[0]):
        front = words[first : min(first + degree - terms[0], last)]
        for term in terms:
            place = first + degree - term
            words[place : place + len(front)] ^= front
    return message[8 * last :]


def _fold_bits(message: bytearray) -> bytes:
    """The message shortened to less than 40 bytes, as one long number whose lowest bit comes first."""
    size = 8 * len(message)
    number = int.from_bytes(message, "little")
    for degree, terms in _MULTIPLES:
        for k in range((size // degree).bit_length() - 1, -1, -1):
            while size > degree << k:
                folded = min(degree - terms[0] << k, size - (degree << k))
                front = number & ((1 << folded) - 1)
                number >>= folded
                size -= folded
                for term in terms:
                    number ^= front << ((degree - term << k) - folded)
    missing = -size % 8  # zeros in front change nothing
    return (number << missing).to_bytes((size + missing) // 8, "little")


def _table() -> tuple[int, ...]:
    table = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
        table.append(register)
    return tuple(table)


_TABLE = _table()
