"""Lists of integers in protocol buffers, as arrays of integers of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.files import CHUNK
from converters.formats.io.protobuf_reader import BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.formats.io.protobuf_reader import Field, Wire

_CONTINUED = bytes(range(0x80, 0x100))
"""All bytes of a number but its last."""

_LONGEST = 10
"""Bytes of a number."""


class Integers(NamedTuple):
    """Numbers in fields, packed or one each. Of each the lowest ``itemsize`` bytes are kept: an element type may be
    narrower than its list. Decoding needs numpy."""

    wire: Wire
    pieces: tuple[Field, ...]
    itemsize: int
    nbytes: int

    def chunks(self) -> Iterator[memoryview]:
        for piece in self.pieces:
            rest = b""
            for chunk in _raw(self.wire, piece):
                values, rest = _decoded(rest + chunk)
                if values is None or len(rest) >= _LONGEST:
                    raise self.wire.damaged("has a number of more than 64 bits", piece.offset)
                out = memoryview(values.astype(f"<u{self.itemsize}").view("u1"))
                for start in range(0, len(out), CHUNK):
                    yield out[start : start + CHUNK]


def integers(wire: Wire, pieces: Sequence[Field], itemsize: int) -> Integers:
    """The numbers in some fields; the fields are read once to count them. Raises `BadInput` for a field that ends in a
    number."""
    count = 0
    for piece in pieces:
        chunk = b"\0"
        for chunk in _raw(wire, piece):
            count += len(chunk.translate(None, _CONTINUED))
        if chunk[-1] >= 0x80:
            raise wire.damaged("has a number that does not end", piece.offset)
    return Integers(wire, tuple(pieces), itemsize, count * itemsize)


def _raw(wire: Wire, piece: Field) -> Iterator[bytes]:
    """The bytes of a field's numbers."""
    if piece.wire == BYTES:
        yield from map(bytes, wire.file.chunks(piece.offset, piece.size))
        return
    value, out = piece.value, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    yield bytes((*out, value))


def _decoded(raw: bytes) -> tuple[Any, bytes]:
    """The numbers that end in ``raw`` as an array of uint64, None if one is too long; and what is left."""
    import numpy as np

    codes = np.frombuffer(raw, "u1")
    ends = np.flatnonzero(codes < 0x80)
    starts = np.concatenate(([0], ends + 1))
    lengths = ends + 1 - starts[:-1]
    longest = int(lengths.max(initial=0))
    if longest > _LONGEST:
        return None, b""
    values = np.zeros(len(ends), "u8")
    for place in range(longest):
        has = lengths > place
        digits = codes[starts[:-1][has] + place] & 0x7F
        values[has] |= digits.astype("u8") << np.uint64(7 * place)
    return values, raw[int(starts[-1]) :]
