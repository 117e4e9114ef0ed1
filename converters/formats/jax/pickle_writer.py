"""Writes nested dictionaries of numpy arrays as CPython's pickle of protocol 4 does under numpy 1, byte for byte.

Both numpy 1 and 2 read it; an array of bfloat16 needs ml_dtypes to be read, which JAX brings along. Every value but
numbers has a place in the memo, where equal texts are one. Instructions come in frames of 64 KiB at least, arrays of
that size stand between frames. Source: CPython 3.11, ``Modules/_pickle.c``.
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
_TEXT = (b"\x8c", b"X", b"\x8d")
_FRAME = 64 * 1024
_SMALLEST_FRAME = 4
_BATCH = 1000  # items of a dictionary that are set at once


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write one file. Raises `Refused` for names that are no nested dictionaries."""
    (out,) = outputs
    tree = nested(content.tensors, slash_keys_of(content))
    out.write(b"\x80\x04")
    writer = _Writer(out, content.progress)
    writer.dictionary(tree)
    writer.end()


class _Writer:
    """Writes one value after the other, each with `_frame` full or not as the C code leaves it."""

    def __init__(self, out: Output, progress: Callable[[int], None] | None) -> None:
        self._out = out
        self._progress = progress
        self._frame = bytearray()
        self._memo: dict[str, int] = {}
        self._stored = 0

    def end(self) -> None:
        """The last instruction."""
        self._frame += b"."
        self._close()

    def dictionary(self, tree: Tree) -> None:
        """Dictionaries and the arrays in them, one chunk of data in memory at a time."""
        self._begin()
        self._frame += b"}"
        self._store()
        if len(tree) == 1:
            self._item(*next(iter(tree.items())))
            self._frame += b"s"
            return
        items = list(tree.items())
        for start in range(0, len(items) + (len(items) % _BATCH == 0 and bool(items)), _BATCH):
            self._frame += b"("
            for key, value in items[start : start + _BATCH]:
                self._item(key, value)
            self._frame += b"u"

    def _item(self, key: str, value: Tensor | Tree) -> None:
        self._text(key)
        if isinstance(value, Tensor):
            self._array(value)
        else:
            self.dictionary(value)

    def _array(self, tensor: Tensor) -> None:
        """A call of numpy's ``_reconstruct``, and the array's state."""
        self._begin()
        self._global("numpy.core.multiarray", "_reconstruct")
        self._begin()
        self._global("numpy", "ndarray")
        self._tuple((0,))
        self._shared("bytes b", b"C\x01b")
        self._frame += b"\x87"
        self._store()
        self._frame += b"R"
        self._store()
        self._begin()
        self._frame += b"("
        self._number(1)
        self._tuple(tensor.shape)
        self._dtype(tensor.dtype)
        self._constant(b"\x89")
        self._bytes(tensor)
        self._frame += b"t"
        self._store()
        self._frame += b"b"

    def _dtype(self, dtype: str) -> None:
        self._begin()
        if self._recalled(f"dtype {dtype}"):
            return
        self._global("numpy", "dtype")
        self._begin()
        if dtype in _CODES:
            self._begin()
            self._frame += _sized(len(_CODES[dtype]), _TEXT) + _CODES[dtype].encode()
            self._store()  # numpy makes a new text of it each time
        else:
            self._global("ml_dtypes", dtype)
        self._constant(b"\x89")
        self._constant(b"\x88")
        self._frame += b"\x87"
        self._store()
        self._frame += b"R"
        self._store(f"dtype {dtype}")
        self._begin()
        self._frame += b"("
        self._number(3)
        self._text("|" if ITEMSIZE[dtype] == 1 else "<")
        for _ in range(3):
            self._constant(b"N")
        for number in (-1, -1, 0) if dtype in _CODES else (2, 2, 64):
            self._number(number)
        self._frame += b"t"
        self._store()
        self._frame += b"b"

    def _bytes(self, tensor: Tensor) -> None:
        """An array's elements, in a frame if they are few."""
        self._begin()
        size = tensor.nbytes
        if not size:
            self._shared("no bytes", b"C\x00")
            return
        head = _sized(size, (b"C", b"B", b"\x8e"))
        if size >= _FRAME:
            self._close()
            self._out.write(head)
        else:
            self._frame += head
        for chunk in tensor.data.chunks():
            if size >= _FRAME:
                self._out.write(chunk)
            else:
                self._frame += chunk
            if self._progress is not None:
                self._progress(len(chunk))
        self._store()

    def _tuple(self, sizes: Sequence[int]) -> None:
        self._begin()
        if not sizes:
            self._frame += b")"
            return
        if len(sizes) > 3:
            self._frame += b"("
        for size in sizes:
            self._number(size)
        self._frame += b"t" if len(sizes) > 3 else (b"\x85", b"\x86", b"\x87")[len(sizes) - 1]
        self._store()

    def _number(self, number: int) -> None:
        self._begin()
        if 0 <= number < 1 << 16:
            wide = number >= 1 << 8
            self._frame += b"M" if wide else b"K"
            self._frame += number.to_bytes(1 + wide, "little")
        elif -(1 << 31) <= number < 1 << 31:
            self._frame += b"J" + number.to_bytes(4, "little", signed=True)
        else:
            length = number.bit_length() // 8 + 1
            self._frame += b"\x8a" + bytes((length,)) + number.to_bytes(length, "little")

    def _constant(self, code: bytes) -> None:
        self._begin()
        self._frame += code

    def _global(self, module: str, name: str) -> None:
        if not self._recalled(f"global {module}.{name}"):
            self._text(module)
            self._text(name)
            self._frame += b"\x93"
            self._store(f"global {module}.{name}")

    def _text(self, text: str) -> None:
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raise Refused("a name is not valid Unicode", where=ascii(text[:80])) from None
        self._shared(f"text {text}", _sized(len(raw), _TEXT) + raw)

    def _shared(self, what: str, written: bytes) -> None:
        """A value that is written once."""
        self._begin()
        if not self._recalled(what):
            self._frame += written
            self._store(what)

    def _recalled(self, what: str) -> bool:
        """Whether a value is in the memo; it is then fetched."""
        number = self._memo.get(what)
        if number is not None:
            self._frame += b"h" + bytes((number,)) if number < 256 else b"j" + number.to_bytes(4, "little")
        return number is not None

    def _store(self, what: str = "") -> None:
        """Put the value on the stack into the memo."""
        if what:
            self._memo[what] = self._stored
        self._stored += 1
        self._frame += b"\x94"

    def _begin(self) -> None:
        """What happens before every value: a long frame ends."""
        if len(self._frame) >= _FRAME:
            self._close()

    def _close(self) -> None:
        if len(self._frame) >= _SMALLEST_FRAME:
            self._out.write(b"\x95" + len(self._frame).to_bytes(8, "little"))
        self._out.write(bytes(self._frame))
        self._frame.clear()


def _sized(size: int, codes: tuple[bytes, bytes, bytes]) -> bytes:
    """The code for a length of one, four or eight bytes, and the length."""
    for code, width in zip(codes, (1, 4, 8), strict=True):
        if size < 1 << 8 * width:
            return code + size.to_bytes(width, "little")
    raise ValueError(f"a value of {size} bytes")
