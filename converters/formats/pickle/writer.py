"""Writes values and numpy arrays as CPython's pickle does, byte for byte, in protocols 2 to 4.

Every value but numbers has a place in the memo, where equal texts are one unless they are said to be fresh. In
protocol 4 instructions come in frames of 64 KiB at least, and arrays of that size stand between frames. Protocol 2 has
no bytes: an array's are written as a text with the same characters. Source: CPython 3.11, ``Modules/_pickle.c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.tensor import ITEMSIZE, NUMPY_CODES, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.io.output_stream import Output

NUMPY_1, NUMPY_2 = "numpy.core.multiarray", "numpy._core.multiarray"
"""The module that numpy's arrays name. numpy 2 reads both."""

_CODES = {dtype: code for code, dtype in NUMPY_CODES.items()}
_TEXT = (b"\x8c", b"X", b"\x8d")
_BYTES = (b"C", b"B", b"\x8e")
_ASCII = bytes(range(128))
_FRAME = 64 * 1024
_SMALLEST_FRAME = 4
_BATCH = 1000  # items of a dictionary or a list that are set at once


class Fresh(str):
    """A text that is an object of its own, although an equal one may have been written before."""

    __slots__ = ()


class PickleWriter:
    """Writes one value after the other, each with `_frame` full or not as the C code leaves it.

    ``numpy`` is the module of arrays. ``codes`` are numpy's codes of the dtypes that numpy itself lacks; for others
    the stream names ``ml_dtypes``.
    """

    def __init__(
        self,
        out: Output,
        progress: Callable[[int], None] | None,
        *,
        protocol: int = 4,
        numpy: str = NUMPY_1,
        codes: Mapping[str, str] | None = None,
    ) -> None:
        self._out = out
        self._progress = progress
        self._protocol = protocol
        self._numpy = numpy
        self._codes = {**_CODES, **(codes or {})}
        self._frame = bytearray()
        self._memo: dict[str, int] = {}
        self._stored = 0
        out.write(b"\x80" + bytes((protocol,)))

    def end(self) -> None:
        """The last instruction."""
        self._frame += b"."
        self._close()

    def value(self, value: object) -> None:
        """A tensor, a dictionary with texts as keys, a list, a tuple of sizes, or a text; one chunk of a tensor's
        data is in memory at a time."""
        if isinstance(value, Tensor):
            self._array(value)
        elif isinstance(value, dict):
            self._container(b"}", b"s", b"u", list(value.items()))
        elif isinstance(value, list):
            self._container(b"]", b"a", b"e", [(item,) for item in value])
        elif isinstance(value, tuple):
            self._tuple(value)
        elif isinstance(value, str):
            self._text(value)
        else:
            raise TypeError(f"a {type(value).__name__} is not written")

    def _container(self, empty: bytes, one: bytes, many: bytes, items: Sequence[tuple[object, ...]]) -> None:
        self._begin()
        self._frame += empty
        self._store()
        if len(items) == 1:
            self._all(items)
            self._frame += one
            return
        beyond = empty == b"}" and len(items) % _BATCH == 0 and bool(items)  # a last, empty batch
        for start in range(0, len(items) + beyond, _BATCH):
            batch = items[start : start + _BATCH]
            self._frame += b"("
            self._all(batch)
            self._frame += many

    def _all(self, items: Sequence[tuple[object, ...]]) -> None:
        for item in items:
            for part in item:
                self.value(part)

    def _array(self, tensor: Tensor) -> None:
        """A call of numpy's ``_reconstruct``, and the array's state."""
        self._begin()
        self._global(self._numpy, "_reconstruct")
        self._begin()
        self._global("numpy", "ndarray")
        self._tuple((0,))
        self._short_bytes(b"b")
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
        if dtype in self._codes:
            self._text(Fresh(self._codes[dtype]))  # numpy makes a new text of it each time
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
        for number in (-1, -1, 0) if dtype in self._codes else (2, 2, 64):
            self._number(number)
        self._frame += b"t"
        self._store()
        self._frame += b"b"

    def _short_bytes(self, raw: bytes) -> None:
        """Bytes of which Python has one object only: none, or a single one."""
        self._begin()
        if self._recalled(f"bytes {raw!r}"):
            return
        if self._protocol > 2:
            self._frame += b"C" + bytes((len(raw),)) + raw
        elif raw:
            self._global("_codecs", "encode")
            self._text(raw.decode("latin-1"))
            self._end_of_encoded()
        else:
            self._global("__builtin__", "bytes")
            self._frame += b")R"
        self._store(f"bytes {raw!r}")

    def _end_of_encoded(self) -> None:
        """The end of a call that gives a text's characters as bytes."""
        self._text("latin1")
        self._frame += b"\x86"
        self._store()
        self._frame += b"R"

    def _bytes(self, tensor: Tensor) -> None:
        """An array's elements, in a frame if they are few."""
        if not tensor.nbytes:
            self._short_bytes(b"")
        elif self._protocol == 2:
            self._encoded(tensor)
        else:
            self._begin()
            self._long(tensor.nbytes, _BYTES, tensor, text=False)
            self._store()

    def _encoded(self, tensor: Tensor) -> None:
        """Elements as a text, which takes another byte for each beyond ASCII; they are read twice."""
        self._begin()
        self._global("_codecs", "encode")
        self._begin()
        more = sum(len(bytes(chunk).translate(None, _ASCII)) for chunk in tensor.data.chunks())
        self._long(tensor.nbytes + more, (b"", b"X", b""), tensor, text=True)
        self._store()
        self._end_of_encoded()
        self._store()

    def _long(self, size: int, codes: tuple[bytes, bytes, bytes], tensor: Tensor, *, text: bool) -> None:
        head = b"X" + size.to_bytes(4, "little") if text else _sized(size, codes)
        apart = size >= _FRAME
        if apart:
            self._close()
            self._out.write(head)
        else:
            self._frame += head
        for chunk in tensor.data.chunks():
            piece = bytes(chunk).decode("latin-1").encode() if text else chunk
            if apart:
                self._out.write(piece)
            else:
                self._frame += piece
            if self._progress is not None:
                self._progress(len(chunk))

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
        if self._recalled(f"global {module}.{name}"):
            return
        if self._protocol < 4:
            self._frame += f"c{module}\n{name}\n".encode()
        else:
            self._text(module)
            self._text(name)
            self._frame += b"\x93"
        self._store(f"global {module}.{name}")

    def _text(self, text: str) -> None:
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raise Refused("a name is not valid Unicode", where=ascii(text[:80])) from None
        self._begin()
        what = "" if isinstance(text, Fresh) else f"text {text}"
        if what and self._recalled(what):
            return
        short = self._protocol < 4 and len(raw) < 256
        self._frame += b"X" + len(raw).to_bytes(4, "little") if short else _sized(len(raw), _TEXT)
        self._frame += raw
        self._store(what)

    def _recalled(self, what: str) -> bool:
        """Whether a value is in the memo; it is then fetched."""
        number = self._memo.get(what)
        if number is not None:
            self._frame += b"h" + bytes((number,)) if number < 256 else b"j" + number.to_bytes(4, "little")
        return number is not None

    def _store(self, what: str = "") -> None:
        """Put the value on the stack into the memo."""
        number = self._stored
        if what:
            self._memo[what] = number
        self._stored += 1
        if self._protocol >= 4:
            self._frame += b"\x94"
        else:
            self._frame += b"q" + bytes((number,)) if number < 256 else b"r" + number.to_bytes(4, "little")

    def _begin(self) -> None:
        """What happens before every value: a long frame ends."""
        if len(self._frame) >= _FRAME:
            self._close()

    def _close(self) -> None:
        if self._protocol >= 4 and len(self._frame) >= _SMALLEST_FRAME:
            self._out.write(b"\x95" + len(self._frame).to_bytes(8, "little"))
        self._out.write(bytes(self._frame))
        self._frame.clear()


def _sized(size: int, codes: tuple[bytes, bytes, bytes]) -> bytes:
    """The code for a length of one, four or eight bytes, and the length."""
    for code, width in zip(codes, (1, 4, 8), strict=True):
        if size < 1 << 8 * width:
            return code + size.to_bytes(width, "little")
    raise ValueError(f"a value of {size} bytes")
