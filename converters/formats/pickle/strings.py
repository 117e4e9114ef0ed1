"""The strings of a pickle: short ones as values, long ones as a `Span` that stays in the file.

A pickle writes bytes in four ways: as they are, as Python 2 source text (protocol 0), or as text with the same
characters, in UTF-8 (from protocol 1) or raw-unicode-escape (protocol 0). All but the first are decoded in pieces, so
that an array of any size needs memory for only a few `CHUNK`.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from converters.files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile

RAW, ESCAPED, UTF8, RAW_UNICODE = "raw", "string-escape", "utf-8", "raw-unicode-escape"

_LONGEST = {RAW: 1, ESCAPED: 4, UTF8: 2, RAW_UNICODE: 6}
"""Bytes in the file that one decoded byte takes at most."""

_DAMAGED = "the file is damaged; fetch it again"


class PickleError(Exception):
    """What is wrong with a pickle, raised where file and offset are not known."""

    def __init__(self, what: str, hint: str = _DAMAGED) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Span:
    """A long string in the file: ``length`` bytes from ``offset``, in the encoding ``coding`` (`RAW`, `ESCAPED`,
    `UTF8` or `RAW_UNICODE`). ``text`` is true for str; bytes in a text encoding were decoded as latin-1."""

    __slots__ = ("coding", "length", "offset", "text")

    def __init__(self, offset: int, length: int, coding: str, text: bool) -> None:
        self.offset = offset
        self.length = length
        self.coding = coding
        self.text = text

    def may_hold(self, nbytes: int) -> bool:
        """Whether it can decode to so many bytes, judged by its length and encoding alone."""
        return nbytes <= self.length <= nbytes * _LONGEST[self.coding]


class ByteArraySpan(Span):
    """A long ``bytearray`` in the file."""

    __slots__ = ()
    name = "bytearray"


def decode(data: bytes, coding: str) -> str | bytes:
    """A whole string: bytes for `RAW` and `ESCAPED`, else str. Raises `PickleError`."""
    if coding == RAW:
        return data
    if coding == ESCAPED:
        return _unescape(data, True)[0]
    try:
        return data.decode(coding)
    except UnicodeDecodeError:
        raise PickleError("has a string that cannot be decoded") from None


def latin1(text: str) -> bytes:
    """The bytes that Python 3 wrote as text with the same characters. Raises `PickleError`."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise PickleError("has bytes written as a string with characters beyond 255") from None


def encodes(text: str) -> bool:
    """Whether a text is valid Unicode: protocol 0 can express lone surrogates, which UTF-8 cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def content(file: SourceFile, span: Span) -> str | bytes:
    """A whole string of the file; the caller has bounded its length. Raises `PickleError`, `BadInput`."""
    value = decode(file.read_at(span.offset, span.length), span.coding)
    return latin1(value) if isinstance(value, str) and not span.text else value


def decoded_chunks(file: SourceFile, span: Span) -> Iterator[memoryview]:
    """The bytes of a string of the file, at most `CHUNK` at a time. Raises `PickleError`, `BadInput`."""
    if span.coding == RAW:
        yield from file.chunks(span.offset, span.length)
        return
    step = {ESCAPED: _unescape, UTF8: _utf8, RAW_UNICODE: _raw_unicode}[span.coding]
    rest, left = b"", span.length
    for chunk in file.chunks(span.offset, span.length):
        left -= len(chunk)
        decoded, rest = step(rest + bytes(chunk), left == 0)
        for start in range(0, len(decoded), CHUNK):  # what was left over may make it longer than the chunk
            yield memoryview(decoded)[start : start + CHUNK]


# What Python 2's repr() writes: nothing else is an escape. Possessive, so that matching takes no memory.
_ESCAPED_TEXT = rb"(?:[^\\]++|\\x[0-9a-fA-F]{2}|\\[\\'\"nrt])*+"
_RAW_UNICODE_TEXT = rb"(?:[^\\]++|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8})*+"


def _whole(pattern: bytes, data: bytes, longest: int, last: bool) -> tuple[bytes, bytes]:
    """Cut data before an incomplete escape sequence."""
    match = re.match(pattern, data)
    end = match.end() if match else 0
    if end < len(data) and (last or len(data) - end >= longest):
        raise PickleError("has a string with a wrong escape in it")
    return data[:end], data[end:]


def _unescape(data: bytes, last: bool) -> tuple[bytes, bytes]:
    whole, rest = _whole(_ESCAPED_TEXT, data, 4, last)
    return codecs.escape_decode(whole)[0], rest


def _raw_unicode(data: bytes, last: bool) -> tuple[bytes, bytes]:
    whole, rest = _whole(_RAW_UNICODE_TEXT, data, 10, last)
    try:
        return latin1(whole.decode("raw-unicode-escape")), rest
    except UnicodeDecodeError:
        raise PickleError("has a string that cannot be decoded") from None


def _utf8(data: bytes, last: bool) -> tuple[bytes, bytes]:
    end = len(data)
    if not last and data and data[-1] >= 0xC0:  # the first of two bytes
        end -= 1
    try:
        return latin1(data[:end].decode("utf-8")), data[end:]
    except UnicodeDecodeError:
        raise PickleError("has a string that cannot be decoded") from None
