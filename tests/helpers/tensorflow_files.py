"""TensorFlow checkpoints for tests: the fixtures' contents, and tables with whatever is put into them."""

from __future__ import annotations

import io
import json
import zlib
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.formats.io.crc32c import crc32c, masked
from converters.formats.tensorflow.writer import write_table
from tests.helpers import paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FIXTURES = paths.FIXTURES / "tensorflow"
HEADER = bytes.fromhex("08011a020801")


def fixtures() -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
    """dtype and shape of every variable of every fixture."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text())
    return {
        name: {variable: (dtype, tuple(shape)) for variable, (dtype, shape) in table.items()}
        for name, table in manifest.items()
    }


def values(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """What the fixtures' writer made of a variable's name: see scripts/fixtures/make_tensorflow_fixtures.py."""
    size = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
    raw = (
        np.random.RandomState(zlib.crc32(name.encode())).randint(0, 256, prod(shape) * size).astype(np.uint8)
    )
    return (raw & 1 if dtype == "bool" else raw).tobytes()


class Memory(io.BytesIO):
    """An output in memory."""

    path = "memory"

    @property
    def position(self) -> int:
        return self.tell()


def table(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A table with right checksums."""
    out = Memory()
    write_table(out, entries)
    return out.getvalue()


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value % (1 << 64))


def message(field: int, *content: bytes) -> bytes:
    inner = b"".join(content)
    return varint(field << 3 | 2) + varint(len(inner)) + inner


def fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + value.to_bytes(4, "little")


def shape_proto(shape: Sequence[int]) -> bytes:
    return b"".join(message(2, number(1, size)) for size in shape)


def entry(shape: Sequence[int], offset: int, data: bytes | int, *, dtype: int = 1, shard: int = 0) -> bytes:
    """A BundleEntryProto; ``data`` is the tensor's bytes, or how many bytes it claims."""
    size, crc = (data, 0) if isinstance(data, int) else (len(data), masked(crc32c(data)))
    return (
        number(1, dtype)
        + message(2, shape_proto(shape))
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
        + fixed32(6, crc)
    )


def extents(*axes: tuple[int, int] | None) -> bytes:
    """The contents of a TensorSliceProto."""
    return b"".join(
        message(1) if axis is None else message(1, number(1, axis[0]) + number(2, axis[1])) for axis in axes
    )


def write_v2(folder: Path, entries: Mapping[bytes, bytes], data: bytes, *, header: bytes = HEADER) -> str:
    """A bundle of one shard called ``m`` with any entries; returns its prefix."""
    rows = sorted({b"": header, **entries}.items())
    (folder / "m.index").write_bytes(table(rows))
    (folder / "m.data-00000-of-00001").write_bytes(data)
    return str(folder / "m")


def v1_meta(*variables: tuple[str, int, Sequence[int], Sequence[bytes]]) -> bytes:
    """The header of a V1 file: name, dtype, shape and slices of each variable."""
    return message(
        1,
        *(
            message(
                1,
                message(1, name.encode()),
                message(2, shape_proto(shape)),
                number(3, dtype),
                *(message(4, one) for one in slices),
            )
            for name, dtype, shape, slices in variables
        ),
    )


def v1_values(name: str, one: bytes, *fields: bytes) -> bytes:
    """A slice's entry in a V1 file, with the fields of its TensorProto."""
    return message(2, message(1, name.encode()), message(2, one), message(3, *fields))


def write_v1(folder: Path, meta: bytes, *slices: bytes) -> str:
    """A V1 file; returns its path."""
    rows = [(b"", meta), *((b"\0k%04d" % number, one) for number, one in enumerate(slices))]
    (folder / "v1.ckpt").write_bytes(table(rows))
    return str(folder / "v1.ckpt")


def contents(tensors: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (tensor.dtype, tensor.shape, tensor.tobytes()) for name, tensor in tensors.items()}
