"""Messages between the process that reads HDF5 and the one that asks it: a head in JSON, and bytes.

Both lengths come first, as two little-endian integers of eight bytes. JSON and plain bytes can hold nothing that runs.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTHS = struct.Struct("<QQ")
MOST = 256 << 20
"""Bytes of a head, and bytes after it, at most."""


def packed(head: Any, body: bytes | memoryview = b"") -> list[bytes | memoryview]:
    """The pieces of a message, in order. Raises `ValueError` for one that is too long."""
    text = json.dumps(head, separators=(",", ":")).encode("ascii")
    if max(len(text), len(body)) > MOST:
        raise ValueError(f"takes more than {MOST >> 20} MiB")
    return [_LENGTHS.pack(len(text), len(body)), text, body]


def unpacked(read: Callable[[int], bytes]) -> tuple[Any, bytes]:
    """The next message; ``read`` gives exactly so many bytes. Raises `ValueError` for anything else."""
    text, body = _LENGTHS.unpack(read(_LENGTHS.size))
    if max(text, body) > MOST:
        raise ValueError("a message is too long")
    try:
        head = json.loads(read(text).decode("ascii"))
    except RecursionError:
        raise ValueError("a message is nested too deeply") from None
    return head, read(body)
