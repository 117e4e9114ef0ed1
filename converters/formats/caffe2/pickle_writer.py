"""Writes Caffe2 checkpoints in the byte format of VMZ's releases.

That is what ``cPickle.dump({'blobs': {name: array}}, out, 2)`` writes under Python 2.7 with numpy 1.16. Names are
Python 2 strings; what the arrays have in common is written once and then fetched from the memo. cPickle memoises only
objects that are referenced elsewhere too, which the names are not once VMZ's ``minidb_to_pickle.py`` has cut off
their scopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.tensor import NUMPY_CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output, Sink
    from converters.tensor import Tensor

_CODES = {dtype: code.encode() for code, dtype in NUMPY_CODES.items()}

_BATCH = 1000  # items of a dictionary that cPickle sets at once


def write_caffe2_pickle(
    out: Sink, blobs: Iterable[Tensor] | Mapping[str, Tensor], *, nested: bool = True
) -> None:
    """Write the blobs in order, as ``{'blobs': {...}}`` or flat, one chunk in memory at a time.

    Raises `Refused` for a name that occurs twice, a dtype that numpy lacks, and an array of 2 GiB or more, whose
    length the format cannot express.
    """
    tensors = list(blobs.values() if isinstance(blobs, Mapping) else blobs)
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise Refused(f"the blob {tensor.name} occurs twice", hint="a pickle has one of each name")
        names.add(tensor.name)
        if tensor.dtype not in _CODES:
            raise Refused(
                f"numpy has no {tensor.dtype}", where=tensor.name, hint="cast it, as with --dtype float32"
            )
        if tensor.nbytes >= 1 << 31:
            raise Refused("a Caffe2 pickle holds arrays below 2 GiB only", where=tensor.name)
    memo = _Memo()
    out.write(b"\x80\x02}" + memo.put("top"))
    if nested:
        out.write(_string(b"blobs") + memo.put("blobs") + b"}" + memo.put("blobs' value"))
    _write_items(out, memo, tensors)
    out.write(b"s." if nested else b".")


class _Memo:
    """cPickle's memo: the numbers, from 1, of values that can be fetched again."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def put(self, what: str) -> bytes:
        """Number the value on the stack."""
        number = self._numbers[what] = len(self._numbers) + 1
        return b"q" + bytes((number,)) if number < 256 else b"r" + number.to_bytes(4, "little")

    def get(self, what: str) -> bytes:
        """Recall a value, or nothing if it has no number."""
        number = self._numbers.get(what, 0)
        if not number:
            return b""
        return b"h" + bytes((number,)) if number < 256 else b"j" + number.to_bytes(4, "little")

    def name(self, module: str, name: str) -> bytes:
        """A global: in full the first time."""
        return self.get(name) or f"c{module}\n{name}\n".encode() + self.put(name)


def _write_items(out: Sink, memo: _Memo, tensors: list[Tensor]) -> None:
    if len(tensors) == 1:
        _write_blob(out, memo, tensors[0])
        out.write(b"s")
        return
    start = 0
    while tensors and start <= len(tensors):  # after a last full batch comes an empty one
        out.write(b"(")
        for tensor in tensors[start : start + _BATCH]:
            _write_blob(out, memo, tensor)
        out.write(b"u")
        start += _BATCH


def _write_blob(out: Sink, memo: _Memo, tensor: Tensor) -> None:
    head = _string(tensor.name.encode())
    head += memo.name("numpy.core.multiarray", "_reconstruct") + memo.name("numpy", "ndarray")
    head += b"K\x00\x85U\x01b\x87R" + memo.put(f"array {tensor.name}")
    head += b"(K\x01" + _shape_bytes(tensor.shape) + _dtype(memo, _CODES[tensor.dtype]) + b"\x89"
    out.write(head + _length(tensor.nbytes))
    for chunk in tensor.data.chunks():
        out.write(chunk)
    out.write(b"tb")


def _dtype(memo: _Memo, code: bytes) -> bytes:
    what = f"dtype {code.decode()}"
    known = memo.get(what)
    if known:
        return known
    order = b"|" if code.endswith(b"1") else b"<"
    made = memo.name("numpy", "dtype") + _string(code) + b"K\x00K\x01\x87R" + memo.put(what)
    return made + b"(K\x03" + _string(order) + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"


def _shape_bytes(shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_integer(size) for size in shape)
    if len(shape) > 3:
        return b"(" + sizes + b"t"
    return sizes + (b")", b"\x85", b"\x86", b"\x87")[len(shape)]


def _integer(value: int) -> bytes:
    if value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"M" + value.to_bytes(2, "little")
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    return b"I%d\n" % value


def _string(text: bytes) -> bytes:
    return _length(len(text)) + text


def _length(length: int) -> bytes:
    """The opcode and length of a string of ``length`` bytes."""
    return b"U" + length.to_bytes(1, "little") if length < 256 else b"T" + length.to_bytes(4, "little")


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a pickle; its blobs are in an inner dictionary unless the original file had them without one."""
    (out,) = outputs
    write_caffe2_pickle(out, content.tensors, nested=content.original.get("nested", True))
