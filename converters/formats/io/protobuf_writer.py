"""Writes the wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """An unsigned integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field that is an unsigned integer."""
    return varint(field << 3) + varint(value)


def head(field: int, size: int) -> bytes:
    """The tag and length of a field of ``size`` bytes."""
    return varint(field << 3 | 2) + varint(size)


def message(field: int, content: bytes) -> bytes:
    """A field of bytes: a text, a list, or a message."""
    return head(field, len(content)) + content
