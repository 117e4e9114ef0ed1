"""Writes ``.pth`` files without torch and without numpy.

The file is what ``torch.save(OrderedDict(...), buffer)`` of torch 2.13 writes, byte for byte except for the record
``.data/serialization_id`` (torch takes half of it from its C++ library's string hash). ``torch.load`` reads it with
``weights_only=True`` and with ``mmap=True``; the bytes of every tensor are 64-byte aligned.
"""

from __future__ import annotations

from struct import Struct, pack
from typing import TYPE_CHECKING

from converters.formats.io.crc32 import crc32_function
from converters.tensor import ITEMSIZE, known_crc

from .archive import ALIGNMENT, Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.format import Content
    from converters.formats.io.crc32 import Crc32
    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

STORAGE = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
"""torch's storage class for each dtype."""

_OWN_RECORDS = frozenset(
    ("data.pkl", ".format_version", ".storage_alignment", "byteorder", "version", ".data/serialization_id")
)
_UINT = Struct("<I").pack
_TUPLE = (b"", b"\x85", b"\x86", b"\x87")
_BATCH = 1000  # items per SETITEMS and APPENDS, as pickle has it


def write_pth(
    out: Output,
    tensors: Sequence[Tensor],
    *,
    records: Mapping[str, bytes] | Callable[[list[int]], Mapping[str, bytes]] | None = None,
    wrap: Mapping[str, object] | None = None,
    key: str = "state_dict",
    crc: Crc32 | None = None,
    progress: Callable[[int], None] | None = None,
    serialization_id: str | None = None,
) -> list[int]:
    """Write ``tensors`` in order as an ``OrderedDict``, and return the CRC-32 of each tensor's bytes.

    ``records`` are additional members ``archive/NAME`` of the zip, which ``torch.load`` ignores; a function is called
    for them after the tensors, with their CRCs. With ``wrap``, plain data, the file holds ``{key: OrderedDict,
    **wrap}`` instead of the bare ``OrderedDict``. ``progress`` is called with the number of bytes of each chunk. The
    same tensors give the same bytes; ``serialization_id``, 40 digits, replaces the computed one.

    Only the names and one chunk of data are in memory. Raises `ValueError` if a name occurs twice, if the length of a
    tensor's data contradicts its shape, or if a record's name is taken or not ASCII.
    """
    checksum = crc if crc is not None else crc32_function()
    write = out.write
    archive = Archive(out, checksum)
    archive.record("data.pkl", pickled(tensors, wrap, key))
    archive.record(".format_version", b"1")
    archive.record(".storage_alignment", str(ALIGNMENT).encode())
    archive.record("byteorder", b"little")
    crcs = []
    for number, tensor in enumerate(tensors):
        size = tensor.nbytes
        archive.begin(f"data/{number}", size)
        known = known_crc(tensor.data)
        value = known or 0
        start = out.position
        for chunk in tensor.data.chunks():
            if known is None:
                value = checksum(chunk, value)
            write(chunk)
            if progress is not None:
                progress(len(chunk))
        if out.position - start != size:
            raise ValueError(f"{tensor.name}: {out.position - start} bytes of data, {size} by its shape")
        out.note(start, value)
        archive.end(value)
        crcs.append(value)
    for name, content in (records(crcs) if callable(records) else records or {}).items():
        if name in _OWN_RECORDS or name.startswith("data/"):
            raise ValueError(f"the record {name!r} is the format's own")
        if not name.isascii():  # unzip shows others by the locale, and warns
            raise ValueError(f"the record {name!r} is not named in ASCII")
        archive.record(name, content)
    archive.record("version", b"3\n")
    archive.close(serialization_id)
    return crcs


def pickled(tensors: Sequence[Tensor], wrap: Mapping[str, object] | None, key: str = "state_dict") -> bytes:
    """The record ``data.pkl``: protocol 2, memo numbers and batches as CPython's pickler has them."""
    pickle = _Pickle()
    if wrap is None:
        pickle.state_dict(tensors)
    else:
        if key in wrap:
            raise ValueError(f"{key!r} is the state dict's own key")
        pickle.out += b"}"
        pickle.put()
        pickle.out += b"(" if wrap else b""
        pickle.plain(key)
        pickle.state_dict(tensors)
        for name, value in wrap.items():
            pickle.plain(name)
            pickle.plain(value)
        pickle.out += b"u" if wrap else b"s"
    pickle.out += b"."
    return bytes(pickle.out)


class _Pickle:
    """A pickle under construction: the opcodes so far and the next memo number."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\2")
        self.memo = 0
        self.tuples: dict[tuple[int, ...], tuple[bytes, bytes]] = {}  # shapes, and strides, that were written

    def put(self) -> int:
        """Memoise the object on the stack, as the pickler does with each; returns its number."""
        number = self.memo
        self.memo = number + 1
        self.out += b"q%c" % number if number < 256 else b"r" + _UINT(number)
        return number

    def text(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        self.out += b"X" + _UINT(len(data)) + data
        return self.put()

    def name(self, module: str, name: str) -> int:
        self.out += f"c{module}\n{name}\n".encode()
        return self.put()

    def extent(self, shape: tuple[int, ...]) -> None:
        """Two tuples: a shape, and the strides of an array of that shape in C order, in elements."""
        if not shape:
            self.out += b"))"  # the one empty tuple is not memoized
            return
        known = self.tuples.get(shape)
        if known is None:
            known = self.tuples[shape] = (_tuple(shape), _tuple(_strides(shape)))
        for encoded in known:
            self.out += encoded
            self.put()

    def state_dict(self, tensors: Sequence[Tensor]) -> None:
        """``OrderedDict`` of name to ``torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False,
        OrderedDict())``, each tensor with a storage of its own."""
        if len({tensor.name for tensor in tensors}) != len(tensors):
            raise ValueError("a tensor's name occurs twice")
        empty = _get(self.name("collections", "OrderedDict")) + b")R"
        self.out += b")R"
        self.put()
        shared: dict[str, bytes] = {}
        for first in range(0, len(tensors), _BATCH):
            batch = tensors[first : first + _BATCH]
            self.out += b"(" if len(batch) > 1 else b""
            for number, tensor in enumerate(batch, first):
                self.text(tensor.name)
                self._tensor(number, tensor, empty, shared)
            self.out += b"u" if len(batch) > 1 else b"s"

    def _tensor(self, number: int, tensor: Tensor, empty: bytes, shared: dict[str, bytes]) -> None:
        """``shared`` has what all tensors refer to: written once, then fetched from the memo."""
        storage = STORAGE[tensor.dtype]
        if shared:
            self.out += shared["rebuild"]
        else:
            rebuild = _get(self.name("torch._utils", "_rebuild_tensor_v2"))
            self.out += b"(("
            shared["rebuild"] = rebuild + b"((" + _get(self.text("storage"))
        if storage in shared:
            self.out += shared[storage]
        else:
            shared[storage] = _get(self.name("torch", storage))
        self.text(str(number))
        if "cpu" in shared:
            self.out += shared["cpu"]
        else:
            shared["cpu"] = _get(self.text("cpu"))
        self.out += _int(tensor.nbytes // ITEMSIZE[tensor.dtype]) + b"t"
        self.put()
        self.out += b"QK\0"
        self.extent(tensor.shape)
        self.out += b"\x89" + empty
        self.put()
        self.out += b"t"
        self.put()
        self.out += b"R"
        self.put()

    def plain(self, value: object) -> None:
        """``None``, ``bool``, ``int``, ``float``, ``str``, and lists, tuples and dicts of them."""
        out = self.out
        if value is None:
            out += b"N"
        elif isinstance(value, bool):
            out += b"\x88" if value else b"\x89"
        elif isinstance(value, int):
            out += _int(value)
        elif isinstance(value, float):
            out += b"G" + pack(">d", value)
        elif isinstance(value, str):
            self.text(value)
        elif isinstance(value, tuple):
            if not value:
                out += b")"
                return
            out += b"("
            for item in value:
                self.plain(item)
            out += b"t"
            self.put()
        elif isinstance(value, list):
            out += b"]"
            self.put()
            for first in range(0, len(value), _BATCH):
                out += b"("
                for item in value[first : first + _BATCH]:
                    self.plain(item)
                out += b"e"
        elif isinstance(value, dict):
            out += b"}"
            self.put()
            items = list(value.items())
            for first in range(0, len(items), _BATCH):
                out += b"("
                for name, item in items[first : first + _BATCH]:
                    self.plain(name)
                    self.plain(item)
                out += b"u"
        else:
            raise TypeError(f"a wrapper holds plain data, not {type(value).__name__}")


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size or 1
    return tuple(reversed(strides))


def _tuple(numbers: tuple[int, ...]) -> bytes:
    """A tuple of at least one integer."""
    items = b"".join([_int(number) for number in numbers])
    return b"(" + items + b"t" if len(numbers) > 3 else items + _TUPLE[len(numbers)]


def _get(number: int) -> bytes:
    return b"h%c" % number if number < 256 else b"j" + _UINT(number)


def _int(value: int) -> bytes:
    if 0 <= value < 0x100:
        return b"K%c" % value
    if 0 <= value < 0x10000:
        return b"M" + pack("<H", value)
    if -0x80000000 <= value < 0x80000000:
        return b"J" + pack("<i", value)
    size = value.bit_length() // 8 + 1
    if size > 255:
        raise ValueError("an integer of more than 255 bytes")
    return b"\x8a%c" % size + value.to_bytes(size, "little", signed=True)


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a ``.pth`` with the provenance in a record."""
    (out,) = outputs
    wrapper = content.wrapper
    write_pth(
        out,
        content.tensors,
        progress=content.progress,
        records=lambda crcs: {"provenance.json": content.provenance(crcs).encode()},
        wrap=wrapper and wrapper.entries,
        key=wrapper.key if wrapper else "state_dict",
    )
