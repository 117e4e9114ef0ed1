"""Caffe files written by hand, byte for byte as the forks' protobuf code lays them out; no code of the product.

Field numbers are those of ``caffe.proto`` in facebookarchive/C3D 71336a2 (C3D-v1.0, C3D-v1.1), BVLC/caffe and
yjxiong/caffe 9831a2b.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from tests.helpers.caffe_tables import CaffeTable


def varint(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            return out + bytes((low,))
        out += bytes((low | 0x80,))


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *content: bytes) -> bytes:
    joined = b"".join(content)
    return varint(field << 3 | 2) + varint(len(joined)) + joined


def floats(field: int, array: np.ndarray, *, packed: bool = True) -> bytes:
    """A repeated float (or double) field."""
    code = array.dtype.newbyteorder("<").str
    raw = array.astype(code).tobytes()
    if packed:
        return message(field, raw)
    size = array.dtype.itemsize
    tag = varint(field << 3 | {4: 5, 8: 1}[size])
    return b"".join(tag + raw[at : at + size] for at in range(0, len(raw), size))


def blob_v10(array: np.ndarray, *, diff: np.ndarray | None = None, packed: bool = True) -> bytes:
    """C3D-v1.0: five sizes, whatever the array's axes, then data 6 and diff 7."""
    shape = (1,) * (5 - array.ndim) + array.shape
    out = b"".join(number(field, size) for field, size in enumerate(shape, 1))
    out += floats(6, array, packed=packed)
    return out + (floats(7, diff, packed=packed) if diff is not None else b"")


def blob_v1(array: np.ndarray, *, diff: np.ndarray | None = None, packed: bool = True) -> bytes:
    """BVLC before ``shape``: four sizes, then data 5 and diff 6."""
    shape = (1,) * (4 - array.ndim) + array.shape
    out = b"".join(number(field, size) for field, size in enumerate(shape, 1))
    out += floats(5, array, packed=packed)
    return out + (floats(6, diff, packed=packed) if diff is not None else b"")


def blob(array: np.ndarray, *, diff: np.ndarray | None = None, packed: bool = True) -> bytes:
    """BVLC of 2016, C3D-v1.1, TSN: data 5 (double_data 8), diff 6, and the shape 7 after the data."""
    shape = message(7, message(1, *map(varint, array.shape)) if array.ndim else b"")
    if array.dtype.itemsize == 8:
        return (
            shape
            + floats(8, array, packed=packed)
            + (floats(9, diff, packed=packed) if diff is not None else b"")
        )
    out = floats(5, array, packed=packed)
    return out + (floats(6, diff, packed=packed) if diff is not None else b"") + shape


def old_layer(name: str, kind: int, *blobs: bytes, tops: Sequence[str] = ()) -> bytes:
    """An entry of ``layers``, C3D-v1.0's and V1's: bottom 2, top 3, name 4, type 5, blobs 6, blobs_lr 7."""
    out = b"".join(message(3, top.encode()) for top in tops)
    out += message(4, name.encode()) + number(5, kind) + b"".join(message(6, blob) for blob in blobs)
    rates = (b"\x3d" + struct.pack("<f", 1.0) + b"\x3d" + struct.pack("<f", 2.0)) if blobs else b""
    return message(2, out + rates)


def new_layer(name: str, kind: str, *blobs: bytes, tops: Sequence[str] = ()) -> bytes:
    """An entry of ``layer``: name 1, type 2, bottom 3, top 4, param 6, blobs 7, phase 10."""
    out = message(1, name.encode()) + message(2, kind.encode())
    out += b"".join(message(4, top.encode()) for top in tops)
    if blobs:
        out += message(6, b"\x1d" + struct.pack("<f", 1.0) + b"\x25" + struct.pack("<f", 0.0))
    return message(100, out + b"".join(message(7, blob) for blob in blobs) + number(10, 1))


def model(table: CaffeTable, arrays: Mapping[str, np.ndarray], *, diffs: bool = False) -> bytes:
    """A snapshot of a reference net as its fork writes it, layers without weights included."""
    out = message(1, table.net.encode())
    for name, kind, count in table.layers:
        blobs = []
        for index in range(count):
            array = arrays[f"{name}/{index}"].reshape(table.params[f"{name}/{index}"])
            diff = array * 0 if diffs else None
            blobs.append((blob_v10 if table.dialect == "c3d-v1.0" else blob)(array, diff=diff))
        if table.dialect == "c3d-v1.0":
            out += old_layer(name, kind, *blobs, tops=(name,))
        else:
            out += new_layer(name, kind, *blobs, tops=(name,))
    return out


def solverstate(array: np.ndarray, *, iteration: int = 20000) -> bytes:
    """iter 1, learned_net 2, history 3 (blobs), current_step 4."""
    return (
        number(1, iteration) + message(2, b"snapshots/net_iter_20000.caffemodel") + message(3, blob(array))
        + number(4, 2)
    )  # fmt: skip
