"""Writes TensorFlow's V2 checkpoints: one data shard with the bytes, and the index with their offsets.

The index is a sorted table as TensorFlow 1.15 writes it: the same names, shapes and checksums give the same bytes as
in DeepMind's own files. `sstable` and `reader` describe the formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import Refused
from converters.formats.io.crc32c import crc32c, masked, running_crc32c
from converters.formats.io.protobuf_writer import message, number, varint

from .object_graph import COUNTER, GRAPH, LAYER, SUFFIX, graph_of, text_tensor
from .reader import DTYPE
from .sstable import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

_CODES = {name: code for code, name in DTYPE.items()}
_TEXT = 7
_HEADER = bytes.fromhex("08011a020801")  # one shard, little-endian, written for readers of version 1
_BLOCK = 256 * 1024  # bytes after which a block is closed
_RESTART = 16  # entries after which a key is written in full


def write_tensorflow(
    data: Output,
    index: Output,
    tensors: Sequence[Tensor],
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``tensors`` sorted by name, as the format requires, one chunk in memory at a time; before them the object
    graph of those that are named as TensorFlow 2 names variables, if any are.

    ``progress`` is called with the number of bytes of each chunk. Raises `Refused` for a name that a checkpoint
    cannot have; `ValueError` if a name occurs twice or the length of a tensor's data contradicts its shape.
    """
    entries = [(b"", _HEADER)]
    graph = [*_write_graph(data, [tensor.name for tensor in tensors if tensor.name.endswith(SUFFIX)])]
    for key, tensor in sorted(((_key(tensor.name, index.path), tensor) for tensor in tensors), key=_first):
        if key == entries[-1][0]:
            raise ValueError(f"{tensor.name}: the name occurs twice")
        crc = running_crc32c()
        start = data.position
        for chunk in tensor.data.chunks():
            crc.update(chunk)
            data.write(chunk)
            if progress is not None:
                progress(len(chunk))
        size = data.position - start
        if size != tensor.nbytes:
            raise ValueError(f"{tensor.name}: {size} bytes of data, {tensor.nbytes} by its shape")
        place = _Place(_CODES[tensor.dtype], tensor.shape, start, size, masked(crc.value()))
        entries.append((key, _entry(place)))
    write_table(index, sorted((*entries, *graph)))


def _write_graph(data: Output, keys: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    """Write what TensorFlow 2 has beside variables of these keys, and give the entries: the object graph, and where the
    model is an object of a ``tf.train.Checkpoint`` the number of times that it was saved. Nothing without keys."""
    if not keys:
        return
    if COUNTER not in keys and not any(key.startswith(LAYER) for key in keys):
        keys = [*keys, COUNTER]
        once = (1).to_bytes(8, "little")
        place = _Place(_CODES["int64"], (), data.position, len(once), masked(crc32c(once)))
        data.write(once)
        yield COUNTER.encode(), _entry(place)
    content, crc = text_tensor(graph_of(keys))
    place = _Place(_TEXT, (), data.position, len(content), crc)
    data.write(content)
    yield GRAPH.encode(), _entry(place)


def write_table(out: Output, entries: Sequence[tuple[bytes, bytes]]) -> None:
    """Write a sorted table of keys, which are in order, and values."""
    index, block = _Block(restart=1), _Block(_RESTART)
    for done, (key, value) in enumerate(entries, 1):
        block.add(key, value)
        last = done == len(entries)
        if last or block.size >= _BLOCK:
            divider = _successor(key) if last else _separator(key, entries[done][0])
            index.add(divider, _write_block(out, block))
            block = _Block(_RESTART)
    meta = _write_block(out, _Block(_RESTART))
    out.write((meta + _write_block(out, index)).ljust(40, b"\0") + MAGIC)


class _Block:
    """Entries with prefix-compressed keys: what differs from the key before, and the value. Every ``restart`` entries
    a key is written in full, and its offset is listed at the end."""

    def __init__(self, restart: int) -> None:
        self._restart = restart
        self._out = bytearray()
        self._starts = [0]
        self._count = 0
        self._before = b""

    @property
    def size(self) -> int:
        return len(self._out) + 4 * (len(self._starts) + 1)

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count % self._restart:
            while shared < min(len(self._before), len(key)) and self._before[shared] == key[shared]:
                shared += 1
        elif self._count:
            self._starts.append(len(self._out))
        self._out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        self._before = key
        self._count += 1

    def content(self) -> bytes:
        numbers = (*self._starts, len(self._starts))
        return bytes(self._out) + b"".join(number.to_bytes(4, "little") for number in numbers)


def _write_block(out: Output, block: _Block) -> bytes:
    """Write a block, uncompressed, with its checksum; returns its handle."""
    content = block.content() + b"\0"
    place = varint(out.position) + varint(len(content) - 1)
    out.write(content + masked(crc32c(content)).to_bytes(4, "little"))
    return place


def _first(row: tuple[bytes, Tensor]) -> bytes:
    return row[0]


def _key(name: str, path: str) -> bytes:
    try:
        key = name.encode()
    except UnicodeEncodeError:
        key = b""
    if not key or key[0] == 0:
        raise Refused("a variable cannot have this name", path=path, where=ascii(name[:80]))
    return key


class _Place(NamedTuple):
    """Where a tensor is in the one shard: its dtype's number, shape, offset, size in bytes and masked CRC-32C."""

    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    crc: int


def _entry(place: _Place) -> bytes:
    """A BundleEntryProto; fields that are zero are left out, as in protocol buffers."""
    shape = b"".join(message(2, _number(1, length)) for length in place.shape)
    span = _number(4, place.offset) + _number(5, place.size)
    return _number(1, place.dtype) + message(2, shape) + span + b"\x35" + place.crc.to_bytes(4, "little")


def _number(field: int, value: int) -> bytes:
    return number(field, value) if value else b""


def _separator(key: bytes, following: bytes) -> bytes:
    """The short key from ``key`` up to but excluding ``following`` that LevelDB chooses."""
    at = 0
    while at < min(len(key), len(following)) and key[at] == following[at]:
        at += 1
    if at < min(len(key), len(following)) and key[at] < 0xFF and key[at] + 1 < following[at]:
        return key[:at] + bytes((key[at] + 1,))
    return key


def _successor(key: bytes) -> bytes:
    """The short key not below ``key`` that LevelDB chooses."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes((byte + 1,))
    return key


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write the two files of a V2 checkpoint."""
    data, index = outputs
    write_tensorflow(data, index, content.tensors, progress=content.progress)
