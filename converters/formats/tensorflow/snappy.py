"""Decompress raw Snappy. Format: https://github.com/google/snappy/blob/main/format_description.txt."""

from __future__ import annotations

from converters.formats.io.protobuf_fields import Damaged, varint

_MOST = 22  # bytes that one compressed byte can stand for: a copy of 64 takes three


def decompress(data: bytes) -> bytes:
    """The decompressed bytes of ``data``. Raises `Damaged` if their number is not the stated one, before it has taken
    more memory than 22 times the size of ``data``."""
    end = len(data)
    size, at = varint(data, 0, end)
    if size > _MOST * end:
        raise Damaged(f"compressed data of {end:,} bytes that claims to hold {size:,}")
    out = bytearray()
    while at < end:
        tag = data[at]
        at += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:  # a literal; from 61 on, that many bytes less 60 hold the length
            if length > 60:
                wide = length - 60
                length = int.from_bytes(data[at : at + wide], "little") + 1
                at += wide
            if length > end - at:
                raise Damaged("compressed data that ends early")
            out += data[at : at + length]
            at += length
        else:
            if kind == 1:  # four bits of the length, eleven of the offset
                wide, length = 1, (tag >> 2 & 7) + 4
                high = tag >> 5 << 8
            else:
                wide, high = (2, 0) if kind == 2 else (4, 0)
            if wide > end - at:
                raise Damaged("compressed data that ends early")
            offset = high | int.from_bytes(data[at : at + wide], "little")
            at += wide
            if not 0 < offset <= len(out):
                raise Damaged("compressed data that refers to before its beginning")
            piece = out[len(out) - offset : len(out) - offset + length]
            if offset < length:  # it repeats what it writes
                piece = (piece * (length // offset + 1))[:length]
            out += piece
        if len(out) > size:
            raise Damaged("compressed data that holds more than it claims")
    if len(out) != size:
        raise Damaged("compressed data that holds less than it claims")
    return bytes(out)
