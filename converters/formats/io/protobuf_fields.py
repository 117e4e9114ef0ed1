"""Small protocol buffers in memory: the fields of one message, one level at a time.

No schema: a caller that knows a message goes deeper by itself, so that no file decides how deep.
Format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Buffer = bytes | bytearray | memoryview

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are deprecated and not read."""


CONTINUED = bytes(range(128, 256))
"""What all bytes of a varint are but its last."""
_LONGEST = 10  # bytes of a varint: 64 bits, seven in each


class Damaged(ValueError):
    """Bytes that no writer of the format produces; the text says what is wrong."""


class Field(NamedTuple):
    """One field. ``value`` is the number of all but a `BYTES` field, whose contents lie from ``start`` to
    ``end`` of the buffer."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def fields(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message in ``data[start:end]``, in order. Raises `Damaged`."""
    stop = len(data) if end is None else end
    at = start
    while at < stop:
        tag, at = varint(data, at, stop)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise Damaged(f"a field of number {number}")
        if wire == VARINT:
            value, at = varint(data, at, stop)
            yield Field(number, wire, value, at, at)
            continue
        if wire == BYTES:
            size, at = varint(data, at, stop)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise Damaged(f"a field of wire type {wire}")
        if size > stop - at:
            raise Damaged("a field that reaches beyond its message")
        value = 0 if wire == BYTES else int.from_bytes(data[at : at + size], "little")
        yield Field(number, wire, value, at, at + size)
        at += size


def varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit integer at ``at``, and the index after it. Raises `Damaged`."""
    value = 0
    last = min(end, at + _LONGEST)
    for place in range(at, last):
        byte = data[place]
        value |= (byte & 0x7F) << 7 * (place - at)
        if byte < 0x80 and value < 1 << 64:
            return value, place + 1
        if byte < 0x80:
            break
    long = value >= 1 << 64 or last == at + _LONGEST
    raise Damaged("a number of more than 64 bits" if long else "a number that does not end")


def packed_varints(chunks: Iterable[Buffer]) -> Iterator[NDArray[np.uint64]]:
    """The unsigned 64-bit integers that fill the chunks, one after the other: of each chunk those that end in it.
    Raises `Damaged`."""
    rest = b""
    for chunk in chunks:
        content = rest + bytes(chunk)
        whole = len(content.rstrip(CONTINUED))
        rest = content[whole:]
        if len(rest) >= _LONGEST:
            raise Damaged("a number of more than 64 bits")
        yield _whole_varints(content[:whole])
    if rest:
        raise Damaged("a number that does not end")


def _whole_varints(data: bytes) -> NDArray[np.uint64]:
    import numpy as np  # few files need it

    octets = np.frombuffer(data, np.uint8)
    starts = np.flatnonzero(octets < 0x80) + 1
    sizes = np.diff(starts, prepend=0)
    starts -= sizes
    values = np.zeros(len(starts), np.uint64)
    for place in range(int(sizes.max(initial=0))):
        longer = sizes > place
        bits = octets[starts[longer] + place] & 0x7F
        if place >= _LONGEST or (place == _LONGEST - 1 and (bits > 1).any()):
            raise Damaged("a number of more than 64 bits")
        values[longer] |= bits.astype(np.uint64) << np.uint64(7 * place)
    return values


def text(data: Buffer, field: Field) -> str:
    """A string field's text. Raises `Damaged`."""
    if field.wire != BYTES:
        raise Damaged("a number where a string belongs")
    try:
        return bytes(data[field.start : field.end]).decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("a string that is not UTF-8") from None
