"""Sorted tables, LevelDB's file format as TensorFlow uses it: keys and values in blocks with checksums.

Format: https://github.com/google/leveldb/blob/main/doc/table_format.md. Keys are sorted, and within a block each is
stored as its difference from the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.files import CHUNK
from converters.formats.io.crc32c import crc32c, masked
from converters.formats.io.protobuf_fields import Damaged, varint
from converters.tensor import FileBytes

from .snappy import decompress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile
    from converters.tensor import Data

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last eight bytes of a table."""

_FOOTER = 48
_TRAILER = 5  # type and CRC after each block
_KEY = 4096  # bytes of the longest key
_KEYS = 32  # what all keys may take when written out, in sizes of the file


class Block(NamedTuple):
    """Offset and size of a block in the file, without its trailer."""

    file: SourceFile
    offset: int
    size: int
    compressed: bool

    def data(self, start: int, size: int) -> Data:
        """Where ``size`` bytes from place ``start`` of the (decompressed) block are."""
        if self.compressed:
            return _Compressed(self, start, size)
        return FileBytes(self.file, self.offset + start, size)


class _Compressed(NamedTuple):
    """Bytes of a compressed block, which is decompressed for each reading."""

    block: Block
    start: int
    size: int

    def chunks(self) -> Iterator[memoryview]:
        packed = self.block.file.read_at(self.block.offset, self.block.size)
        try:
            content = memoryview(decompress(packed))
        except Damaged as error:  # it has changed since the table was read
            raise damaged(self.block.file, str(error)) from None
        for first in range(self.start, self.start + self.size, CHUNK):
            yield content[first : min(first + CHUNK, self.start + self.size)]


class Entry(NamedTuple):
    """A key and its value, which starts at ``start`` in ``block``."""

    key: bytes
    value: memoryview
    block: Block
    start: int


def is_table(file: SourceFile) -> bool:
    """Whether the file ends like a table."""
    return file.size >= _FOOTER and file.read_at(file.size - len(MAGIC), len(MAGIC)) == MAGIC


def read_table(file: SourceFile, *, checksum: bool = True) -> Iterator[Entry]:
    """All entries in the order of their keys, with one block in memory at a time.

    Raises `BadInput` for a file that is not a table, and for a damaged one: a wrong CRC (ignored without
    ``checksum``), blocks that overlap or lie outside the file, keys out of order.
    """
    if not is_table(file):
        raise BadInput(
            "does not end as a TensorFlow checkpoint does",
            path=file.path,
            hint="the download is incomplete, or it is another kind of file",
        )
    try:
        yield from _entries(file, checksum)
    except Damaged as error:
        raise damaged(file, str(error)) from None


def damaged(file: SourceFile, what: str) -> BadInput:
    """The error for a damaged table."""
    return BadInput(f"is damaged: it has {what}", path=file.path, hint="fetch it again")


def _entries(file: SourceFile, checksum: bool) -> Iterator[Entry]:
    end = file.size - _FOOTER
    footer = file.read_at(end, _FOOTER - len(MAGIC))
    offset, size, at = _handle(footer, 0, len(footer))
    _read_block(file, offset, size, end, checksum)  # the meta-index: filters that TensorFlow does not write
    index_at, size, at = _handle(footer, at, len(footer))
    _, index = _read_block(file, index_at, size, end, checksum)
    free = 0  # the first byte that no block before takes
    budget = _KEYS * file.size
    before: bytes | None = None
    for _, start, stop in _walk(index, index_at):
        offset, size, at = _handle(index, start, stop)
        if at != stop or offset < free:
            raise Damaged(f"blocks that are not in order (offset {index_at:,})")
        free = offset + size + _TRAILER
        block, content = _read_block(file, offset, size, index_at, checksum)
        view = memoryview(content)
        for key, start, stop in _walk(content, offset):
            budget -= len(key)
            if budget < 0:
                raise Damaged(f"keys far longer than itself (offset {offset:,})")
            if before is not None and key <= before:
                raise Damaged(f"keys that are not in order (offset {offset:,})")
            before = key
            yield Entry(key, view[start:stop], block, start)


def _handle(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Offset and size of a block, and the index after them."""
    offset, at = varint(data, at, end)
    size, at = varint(data, at, end)
    return offset, size, at


def _read_block(file: SourceFile, offset: int, size: int, end: int, checksum: bool) -> tuple[Block, bytes]:
    if offset + size + _TRAILER > end:
        raise Damaged(f"a block outside the file (offset {offset:,}, {size:,} bytes)")
    content = file.read_at(offset, size + 1)
    kind = content[-1]
    if checksum:
        stored = int.from_bytes(file.read_at(offset + size + 1, 4), "little")
        if masked(crc32c(content)) != stored:
            raise Damaged(f"a block whose CRC-32C is wrong (offset {offset:,})")
    if kind > 1:
        raise Damaged(f"a block compressed in an unknown way ({kind}, offset {offset:,})")
    block = Block(file, offset, size, kind == 1)
    return block, decompress(content[:-1]) if kind else content[:-1]


def _walk(content: bytes, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """The keys of a block, with start and end of their values."""
    tail = len(content) - 4
    restarts = int.from_bytes(content[tail:], "little") if tail >= 0 else 0
    end = tail - 4 * restarts
    if end < 0:
        raise Damaged(f"a block without a list of restarts (offset {offset:,})")
    at = 0
    key = b""
    while at < end:
        shared, at = varint(content, at, end)
        rest, at = varint(content, at, end)
        size, at = varint(content, at, end)
        if shared > len(key) or rest > end - at or size > end - at - rest:
            raise Damaged(f"an entry that reaches beyond its block (offset {offset:,})")
        if shared + rest > _KEY:
            raise Damaged(f"a key of {shared + rest:,} bytes (offset {offset:,})")
        key = key[:shared] + content[at : at + rest]
        at += rest + size
        yield key, at - size, at
