"""Writes nested dictionaries of numpy arrays as a pickle of protocol 4, which numpy 1 and 2 read.

What the arrays have in common is written once and then fetched from the memo. An array of bfloat16 needs ml_dtypes to
be read, which JAX brings along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.tensor import ITEMSIZE, NUMPY_CODES, Tensor

from .names import nested
from .slash_keys import slash_keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output

    from .names import Tree

_CODES = {dtype: code for code, dtype in NUMPY_CODES.items()}


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write one file. Raises `Refused` for names that are no nested dictionaries."""
    (out,) = outputs
    tree = nested(content.tensors, slash_keys_of(content))
    out.write(b"\x80\x04")
    _Writer(out, content.progress).dictionary(tree)
    out.write(b".")


class _Writer:
    def __init__(self, out: Output, progress: Callable[[int], None] | None) -> None:
        self._out = out
        self._progress = progress
        self._memo: dict[str, int] = {}

    def dictionary(self, tree: Tree) -> None:
        """Dictionaries and the arrays in them, one chunk of data in memory at a time."""
        self._out.write(b"}(")
        for key, value in tree.items():
            self._out.write(_text(key))
            if isinstance(value, Tensor):
                self.array(value)
            else:
                self.dictionary(value)
        self._out.write(b"u")

    def array(self, tensor: Tensor) -> None:
        """What numpy writes for an array in C order."""
        head = self._global("numpy.core.multiarray", "_reconstruct") + self._global("numpy", "ndarray")
        head += b"K\x00\x85C\x01b\x87R(K\x01(" + b"".join(map(_number, tensor.shape)) + b"t"
        self._out.write(head + self._dtype(tensor.dtype) + b"\x89" + _length(tensor.nbytes))
        for chunk in tensor.data.chunks():
            self._out.write(chunk)
            if self._progress is not None:
                self._progress(len(chunk))
        self._out.write(b"tb")

    def _dtype(self, dtype: str) -> bytes:
        order = b"\x8c\x01|" if ITEMSIZE[dtype] == 1 else b"\x8c\x01<"
        if dtype in _CODES:
            kind, sizes = _text(_CODES[dtype]), b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        else:
            kind, sizes = self._global("ml_dtypes", dtype), b"K\x02K\x02K\x40"
        made = self._global("numpy", "dtype") + kind + b"\x89\x88\x87R(K\x03" + order + b"NNN" + sizes + b"tb"
        return self._once(f"dtype {dtype}", made)

    def _global(self, module: str, name: str) -> bytes:
        return self._once(f"{module}.{name}", _text(module) + _text(name) + b"\x93")

    def _once(self, what: str, written: bytes) -> bytes:
        """A value in full the first time, then from the memo."""
        number = self._memo.get(what)
        if number is not None:
            return b"h" + bytes((number,))
        self._memo[what] = len(self._memo)
        return written + b"q" + bytes((self._memo[what],))


def _text(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise Refused("a name is not valid Unicode", where=ascii(text[:80])) from None
    if len(raw) < 1 << 8:
        return b"\x8c" + bytes((len(raw),)) + raw
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _length(length: int) -> bytes:
    """The opcode and length of bytes."""
    if length < 1 << 32:
        return b"B" + length.to_bytes(4, "little")
    return b"\x8e" + length.to_bytes(8, "little")


def _number(number: int) -> bytes:
    """A size of an axis."""
    for code, width in ((b"K", 1), (b"M", 2)):
        if number < 1 << 8 * width:
            return code + number.to_bytes(width, "little")
    return b"\x8a\x08" + number.to_bytes(8, "little")
