"""Writes nested dictionaries of arrays as ``flax.serialization.to_bytes`` does, byte for byte (flax 0.12.8).

Dictionaries keep their order. An array is an extension of type 1: shape, name of the dtype, bytes in C order. One of
more than 1 GiB is a dictionary of flat pieces of at most that size.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.tensor import ITEMSIZE, Tensor

from .names import nested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output

    from .names import Tree

_PIECE = 1 << 30
"""Bytes of an array that is written in one piece, and of each piece of a larger one."""

_LONGEST = 1 << 32


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write one file. Raises `Refused` for names that are not nested dictionaries."""
    from .slash_keys import slash_keys_of

    (out,) = outputs
    write_msgpack(out, nested(content.tensors, slash_keys_of(content)), progress=content.progress)


def write_msgpack(
    out: Output, tree: Tree, *, progress: Callable[[int], None] | None = None, piece: int = _PIECE
) -> None:
    """Write nested dictionaries, one chunk of data in memory at a time. Arrays of more than ``piece`` bytes are in
    pieces."""
    out.write(_header(0x80, 15, 0xDE, len(tree)))
    for key, value in tree.items():
        out.write(_text(key))
        if not isinstance(value, Tensor):
            write_msgpack(out, value, progress=progress, piece=piece)
        elif value.nbytes > piece:
            _write_pieces(out, value, piece, progress)
        else:
            _write_array(out, value.dtype, value.shape, value.data.chunks(), progress)


def _write_pieces(out: Output, tensor: Tensor, piece: int, progress: Callable[[int], None] | None) -> None:
    """``{CHUNKED: True, "shape": {"0": ...}, "chunks": {"0": ...}}``"""
    out.write(b"\x83" + _text("__msgpack_chunked_array__") + b"\xc3" + _text("shape"))
    out.write(_header(0x80, 15, 0xDE, len(tensor.shape)))
    for place, size in enumerate(tensor.shape):
        out.write(_text(str(place)) + _number(size))
    itemsize = ITEMSIZE[tensor.dtype]
    each = max(1, piece // itemsize)
    total = prod(tensor.shape)
    out.write(_text("chunks") + _header(0x80, 15, 0xDE, -(-total // each)))
    chunks = _Rest(tensor.data.chunks())
    for place, start in enumerate(range(0, total, each)):
        count = min(each, total - start)
        out.write(_text(str(place)))
        _write_array(out, tensor.dtype, (count,), chunks.take(count * itemsize), progress)


class _Rest:
    """Chunks of bytes, taken in parts of any length."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._chunks = chunks
        self._left = b""

    def take(self, length: int) -> Iterator[memoryview]:
        """The next bytes, in chunks."""
        while length > 0:
            chunk = memoryview(self._left) if self._left else next(self._chunks)
            now = chunk[:length]
            rest = bytes(chunk[length:])
            yield now
            length -= len(now)
            self._left = rest


def _write_array(
    out: Output,
    dtype: str,
    shape: tuple[int, ...],
    chunks: Iterator[memoryview],
    progress: Callable[[int], None] | None,
) -> None:
    nbytes = prod(shape) * ITEMSIZE[dtype]
    inner = b"\x93" + _header(0x90, 15, 0xDC, len(shape)) + b"".join(map(_number, shape))
    inner += _text(dtype) + _length(nbytes, (0xC4, 0xC5, 0xC6))
    size = len(inner) + nbytes
    if size >= _LONGEST:
        raise Refused("is too long for one piece", hint="msgpack holds less than 4 GiB in one")
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}.get(size)
    out.write((bytes((fixed,)) if fixed else _length(size, (0xC7, 0xC8, 0xC9))) + b"\x01" + inner)
    for chunk in chunks:
        out.write(chunk)
        if progress is not None:
            progress(len(chunk))


def _header(first: int, most: int, wide: int, count: int) -> bytes:
    """The head of a dictionary or list of so many entries."""
    if count <= most:
        return bytes((first | count,))
    if count < 1 << 16:
        return bytes((wide,)) + count.to_bytes(2, "big")
    return bytes((wide + 1,)) + count.to_bytes(4, "big")


def _length(length: int, codes: tuple[int, int, int]) -> bytes:
    """The code for a length of one, two or four bytes, and the length."""
    width = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return bytes((codes[width >> 1],)) + length.to_bytes(width, "big")


def _text(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise Refused("a name is not valid Unicode, as msgpack requires", where=ascii(text[:80])) from None
    if len(raw) < 32:
        return bytes((0xA0 | len(raw),)) + raw
    return _length(len(raw), (0xD9, 0xDA, 0xDB)) + raw


def _number(number: int) -> bytes:
    """A number that is not negative."""
    if number < 1 << 7:
        return bytes((number,))
    for code, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4)):
        if number < 1 << 8 * width:
            return bytes((code,)) + number.to_bytes(width, "big")
    return b"\xcf" + number.to_bytes(8, "big")
