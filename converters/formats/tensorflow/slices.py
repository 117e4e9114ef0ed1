"""Variables that are stored in parts: TensorFlow's slices, and the keys of their bytes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.files import CHUNK
from converters.formats.io.protobuf_fields import BYTES, Damaged, fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.formats.io.protobuf_fields import Buffer, Field
    from converters.tensor import Data

_PARTS = 1024  # of one variable, where they are cut along more than one axis


class Part(NamedTuple):
    """Start and size of a part along each axis."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]


def parse_extents(data: Buffer, field: Field) -> tuple[tuple[int, int], ...]:
    """A TensorSliceProto: (start, length) for each axis, with length -1 for the whole axis. Raises `Damaged`."""
    if field.wire != BYTES:
        raise Damaged("a slice that is not a message")
    extents = []
    for axis in fields(data, field.start, field.end):
        start, length = 0, -1
        if axis.number == 1:
            for item in fields(data, axis.start, axis.end):
                if item.number == 1:
                    start = item.value
                elif item.number == 2:
                    length = item.value
            extents.append((start, length))
    return tuple(extents)


def part_of(extents: tuple[tuple[int, int], ...], shape: tuple[int, ...]) -> Part:
    """The part of a variable with these extents. Raises `Damaged` where it lies outside."""
    if len(extents) != len(shape):
        raise Damaged(f"a slice of {len(extents)} axes where its variable has {len(shape)}")
    sizes = tuple(size if length < 0 else length for (_, length), size in zip(extents, shape, strict=True))
    for (start, length), taken, size in zip(extents, sizes, shape, strict=True):
        if (length < 0 and start) or start + taken > size:
            raise Damaged("a slice outside its variable")
    return Part(tuple(start for start, _ in extents), sizes)


def slice_key(name: str, extents: tuple[tuple[int, int], ...]) -> bytes:
    """The key of a part's entry in a bundle: 0, the name and all numbers, in TensorFlow's order-preserving
    encoding."""
    escaped = name.encode().replace(b"\0", b"\0\xff")
    numbers = b"".join(_signed(number) for extent in extents for number in extent)
    return b"\0" + escaped + b"\0\1" + _unsigned(len(extents)) + numbers


def _unsigned(number: int) -> bytes:
    size = (number.bit_length() + 7) // 8
    return bytes((size,)) + number.to_bytes(size, "big")


def _signed(number: int) -> bytes:
    """An order-preserving varint: as many leading ones as there are bytes, then the sign."""
    bits = (number if number >= 0 else ~number).bit_length() + 1
    size = max(1, -(-bits // 7))
    ones = ((1 << size) - 1) << 7 * size
    return (number % (1 << 8 * size) ^ ones).to_bytes(size, "big")


def assembled(itemsize: int, shape: tuple[int, ...], parts: list[tuple[Part, Data]]) -> Data:
    """The bytes of a variable from those of its parts. Raises `Damaged` unless they cover it without gaps and
    overlaps."""
    parts = sorted(parts, key=lambda entry: entry[0].starts)
    if sum(prod(part.sizes) for part, _ in parts) != prod(shape):
        raise Damaged("parts that do not make up their variable")
    cut = {axis for part, _ in parts for axis, size in enumerate(part.sizes) if size != shape[axis]}
    if len(cut) <= 1:
        axis = min(cut, default=0)
        ends = [part.starts[axis] + part.sizes[axis] for part, _ in parts] if shape else []
        if any(part.starts[axis] != end for (part, _), end in zip(parts[1:], ends, strict=False)):
            raise Damaged("parts that overlap")
        if prod(shape[:axis]) == 1:
            return _Joined(tuple(data for _, data in parts))
    else:
        if len(parts) > _PARTS:
            raise Damaged(f"a variable in {len(parts):,} parts")
        for number, (part, _) in enumerate(parts):
            if any(_overlap(part, other) for other, _ in parts[:number]):
                raise Damaged("parts that overlap")
    return _Placed(itemsize, shape, tuple(parts))


def _overlap(part: Part, other: Part) -> bool:
    return all(
        a < b + b_size and b < a + a_size
        for a, a_size, b, b_size in zip(part.starts, part.sizes, other.starts, other.sizes, strict=True)
    )


class _Joined(NamedTuple):
    """Consecutive parts."""

    parts: tuple[Data, ...]

    def chunks(self) -> Iterator[memoryview]:
        for part in self.parts:
            yield from part.chunks()


class _Placed(NamedTuple):
    """Parts with interleaved bytes. Needs memory for the whole variable while it is read."""

    itemsize: int
    shape: tuple[int, ...]
    parts: tuple[tuple[Part, Data], ...]

    def chunks(self) -> Iterator[memoryview]:
        import numpy as np

        whole = np.empty(self.shape, f"u{self.itemsize}")
        for part, data in self.parts:
            content = np.frombuffer(b"".join(bytes(chunk) for chunk in data.chunks()), whole.dtype)
            where = tuple(slice(start, start + size) for start, size in zip(*part, strict=True))
            whole[where] = content.reshape(part.sizes)
        view = memoryview(whole.data).cast("B")
        for first in range(0, len(view), CHUNK):
            yield view[first : first + CHUNK]
