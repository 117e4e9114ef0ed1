"""MXNet's parameter files, written by hand: what ``mx.nd.save`` of MXNet 1.9.1 writes, and other versions of it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

MAGIC = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}
FLAGS = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16"]


def array(values: np.ndarray, version: int = 2, device: tuple[int, int] = (1, 0)) -> bytes:
    """One array. In version 0 its sizes have 32 bits."""
    head = struct.pack("<I", MAGIC[version]) if version else b""
    head += struct.pack("<i", 0) if version > 1 else b""
    head += struct.pack(f"<I{values.ndim}{'q' if version else 'I'}", values.ndim, *values.shape)
    return head + struct.pack("<3i", *device, FLAGS.index(values.dtype.name)) + values.tobytes()


def listed(arrays: Iterable[bytes], names: Iterable[str | bytes], *, count: int | None = None) -> bytes:
    """A list of arrays; without ``names`` it has none."""
    arrays, raw = list(arrays), [name.encode() if isinstance(name, str) else name for name in names]
    body = struct.pack("<3Q", 0x112, 0, len(arrays) if count is None else count) + b"".join(arrays)
    return body + struct.pack("<Q", len(raw)) + b"".join(struct.pack("<Q", len(one)) + one for one in raw)


def params(values: Mapping[str, np.ndarray], version: int = 2) -> bytes:
    """A whole file."""
    return listed((array(one, version) for one in values.values()), values)
