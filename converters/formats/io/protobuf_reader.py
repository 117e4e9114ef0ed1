"""Reads the wire format of protocol buffers from a file, a little at a time: each field's number, type and offset.

No schema and no nesting: a caller that knows a message asks for the fields of a range and goes deeper by
itself, so that no file decides how deep. Format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are deprecated and not read."""

FIELDS = 200_000
"""The most fields that one file may have, a run of equal ones counted once. The largest networks have some
ten thousand."""

_WINDOW = 4096
_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """A field, or a run of adjacent fixed-size fields with the same number.

    ``offset`` and ``size`` span the contents of a `BYTES` field, or the whole run of fixed-size fields with their
    tags. ``value`` is the number of a `VARINT`, or the length of a run.
    """

    number: int
    wire: int
    value: int
    offset: int
    size: int


class Wire:
    """Iterates over the fields of a file. Every length is checked against the enclosing message before it is used."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._left = FIELDS
        self._start = 0
        self._window = b""

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message from offset ``start`` to ``end``, in order. Raises `BadInput` at the
        first that no encoder writes, or that reaches beyond ``end``."""
        at = start
        while at < end:
            if self._left == 0:
                raise self.damaged(f"has more than {FIELDS:,} fields", at)
            self._left -= 1
            tag, after = self.varint(at, end)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 1 << 29:
                raise self.damaged(f"has a field of number {number}", at)
            if wire == VARINT:
                value, after = self.varint(after, end)
                yield Field(number, wire, value, after, 0)
            elif wire == BYTES:
                size, after = self.varint(after, end)
                if size > end - after:
                    raise self._cut(at, end, after, size)
                yield Field(number, wire, 0, after, size)
                after += size
            elif wire in _FIXED:
                size = after - at + _FIXED[wire]
                if size > end - at:
                    raise self._cut(at, end, after, _FIXED[wire])
                count = self._run(at, end, after - at, size)
                yield Field(number, wire, count, at, count * size)
                after = at + count * size
            else:
                raise self.damaged(f"has a field of wire type {wire}", at)
            at = after

    def inside(self, field: Field) -> Iterator[Field]:
        """The fields of a nested message. Raises `BadInput` for a field that is not a message."""
        if field.wire != BYTES:
            raise self.damaged(f"has a field {field.number} that is not a message", field.offset)
        return self.fields(field.offset, field.offset + field.size)

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The unsigned 64-bit integer at offset ``at``, and the offset after it. Negative numbers are offset by
        2^64."""
        begin = at - self._start
        if not 0 <= begin < len(self._window) - 10:
            self._start, begin = at, 0
            self._window = self.file.read_at(at, min(_WINDOW, self.file.size - at)) if at < end else b""
        window = self._window
        last = min(len(window), begin + end - at)
        value = shift = 0
        for place in range(begin, min(last, begin + 10)):
            byte = window[place]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value, self._start + place + 1
            shift += 7
        if last - begin < 10 and value < 1 << 64:
            raise self._cut(at, end, at, last - begin + 1)
        raise self.damaged("has a number of more than 64 bits", at)

    def varints(self, field: Field, limit: int) -> list[int]:
        """The numbers of a packed field, or that of a plain varint. Raises `BadInput` for more than ``limit``."""
        if field.wire == VARINT:
            return [field.value]
        numbers: list[int] = []
        at, end = field.offset, field.offset + field.size
        while at < end:
            if len(numbers) == limit:
                raise self.damaged(f"has a list of more than {limit} numbers", field.offset)
            value, at = self.varint(at, end)
            numbers.append(value)
        return numbers

    def text(self, field: Field, limit: int = 1000) -> str:
        """A string field. Raises `BadInput` if it is longer than ``limit`` bytes or not UTF-8."""
        if field.wire != BYTES:
            raise self.damaged("has a name that is not a string", field.offset)
        if field.size > limit:
            raise self.damaged(f"has a name of {field.size:,} bytes", field.offset)
        try:
            return self.file.read_at(field.offset, field.size).decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged("has a name that is not UTF-8", field.offset) from None

    def damaged(self, what: str, at: int) -> BadInput:
        """The error for bytes that no encoder writes."""
        return BadInput(
            what,
            path=self.file.path,
            where=f"offset {at:,}",
            hint="the file is damaged, or no protocol buffer; fetch it again",
        )

    def _cut(self, at: int, end: int, need: int, size: int) -> BadInput:
        if end == self.file.size:
            return self.file.cut(need, min(size, 1 << 63))
        return self.damaged("has a field that reaches beyond the message it is in", at)

    def _run(self, at: int, end: int, tag_size: int, stride: int) -> int:
        """The number of adjacent fields with the tag at ``at``: the values of an unpacked list."""
        tag = self.file.read_at(at, tag_size)
        limit = (end - at) // stride
        count, many = 0, 4
        while count < limit:
            many = min(many, limit - count)
            raw = self.file.read_at(at + count * stride, many * stride)
            equal = many
            for place in range(tag_size):
                column = raw[place::stride]
                equal = min(equal, many - len(column.lstrip(tag[place : place + 1])))
            count += equal
            if equal < many:
                break
            many = min(many * 8, CHUNK // stride)
        return count


def signed(value: int) -> int:
    """A varint as a signed 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


class Unpacked:
    """The values of a run of ``count`` fixed-size fields without their tags. ``size`` is of one value."""

    __slots__ = ("count", "file", "offset", "size", "stride")

    def __init__(self, file: SourceFile, run: Field) -> None:
        self.file = file
        self.offset = run.offset
        self.count = run.value
        self.size = _FIXED[run.wire]
        self.stride = run.size // run.value

    def chunks(self) -> Iterator[memoryview]:
        many = CHUNK // self.stride
        tag = self.stride - self.size
        for first in range(0, self.count, many):
            now = min(many, self.count - first)
            raw = self.file.read_at(self.offset + first * self.stride, now * self.stride)
            out = bytearray(now * self.size)
            for place in range(self.size):
                out[place :: self.size] = raw[tag + place :: self.stride]
            yield memoryview(out)
