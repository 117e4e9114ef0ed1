"""Reads the msgpack files of ``flax.serialization`` (``to_bytes``, ``msgpack_serialize``) without reading the arrays.

An array is an extension of type 1 with a msgpack value of its own inside: shape, name of the dtype, bytes in C order.
Type 3 is a numpy scalar in the same form, type 2 a complex number. An array of more than 1 GiB is a dictionary of flat
pieces. Source: flax 0.12.8, ``flax/serialization.py``, and the msgpack specification.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.other_value import LIST, OtherValue, plain_value, unconverted
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT, Floating
from converters.printable import short_name
from converters.tensor import FileBytes, Held, Joined, Swapped, Tensor

from .element_types import ElementType, element_type
from .names import DEPTH, Flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile
    from converters.tensor import Data

CHUNKED = "__msgpack_chunked_array__"
"""The key of a dictionary that is an array in pieces."""

ARRAY, COMPLEX, SCALAR = 1, 2, 3
"""Flax's types of extensions."""

_WALK_LIMIT = 4 << 20  # bytes of the file, the contents of arrays and long texts not counted
_WINDOW = 4096
_SHORT = 256  # bytes of a text that is held as a value
_KEY = 1024  # bytes of a key
_AXES = 64
_DAMAGED = "the file is damaged; fetch it again"

_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_LENGTHS = {
    0xD9: ("text", 1),
    0xDA: ("text", 2),
    0xDB: ("text", 4),
    0xC4: ("bytes", 1),
    0xC5: ("bytes", 2),
    0xC6: ("bytes", 4),
    0xDC: ("list", 2),
    0xDD: ("list", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
    0xC7: ("extension", 1),
    0xC8: ("extension", 2),
    0xC9: ("extension", 4),
}


class _Span(NamedTuple):
    """A text or bytes that stay in the file."""

    kind: str
    offset: int
    length: int


def read_msgpack(file: SourceFile) -> Flat:
    """Read the names, dtypes, shapes and offsets of all arrays. Raises `BadInput`."""
    reader = _Reader(file)
    tree = reader.value(0)
    if reader.at != file.size:
        raise reader.bad(f"has {file.size - reader.at:,} more bytes after its end")
    if not isinstance(tree, (dict, list)):
        raise BadInput("holds one value", path=file.path, hint="a checkpoint is a dictionary of named arrays")
    flat = Flat(file)
    flat.forms = "\0".join(reader.forms)
    flat.add(tree, _leaf)
    if not flat.tensors and not any(other.is_tensor for other in flat.other_values.values()):
        raise BadInput("holds no arrays", path=file.path, hint="the weights are in another file")
    return flat


def _leaf(name: str, value: object) -> Tensor | OtherValue:
    return value._replace(name=name) if isinstance(value, Tensor) else _other(value)


def _other(value: object) -> OtherValue:
    if isinstance(value, OtherValue):
        return value
    if isinstance(value, list):
        inner = value
        return OtherValue(kind=LIST, parts=lambda: _parts(inner), beside=True)
    if isinstance(value, bytes):
        return OtherValue(kind="bytes", data=Held(value), beside=True)
    if isinstance(value, Floating):
        return plain_value(float(value)).replace(kind=value.name, beside=False)
    assert value is None or isinstance(value, (bool, int, float, str))
    return plain_value(value).replace(beside=False)


def _parts(values: list[object]) -> Iterator[tuple[str, OtherValue]]:
    """What is in a list, by place; made when it is asked for, as there may be millions."""
    return ((f"[{place}]", _other(value)) for place, value in enumerate(values))


class _Reader:
    """Reads one value after the other, from the offset ``at``."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.at = 0
        self.end = file.size  # of the file or of the extension that is being read
        self._base = 0
        self._window = b""
        self._walked = 0
        self._objects = 0
        self.forms: list[str] = []
        """What names and tensors do not show, each with the place where it ends among all values: keys that are no
        texts, lists, big-endian arrays."""
        self._values = 0

    def note(self, form: str) -> None:
        """Keep what the value here is."""
        self.forms.append(f"{form} {self._values}")

    def bad(self, what: str) -> BadInput:
        """The error for what is wrong here."""
        return BadInput(what, path=self.file.path, where=f"offset {self.at:,}", hint=_DAMAGED)

    def take(self, length: int) -> bytes:
        """The next bytes, at most `_KEY`."""
        self.check(length)
        self._walked += length
        if self._walked > _WALK_LIMIT:
            raise BadInput(
                f"has over {_WALK_LIMIT:,} bytes beside its arrays",
                path=self.file.path,
                hint="no checkpoint has so many",
            )
        start = self.at - self._base
        if start < 0 or start + length > len(self._window):
            self._base, start = self.at, 0
            self._window = self.file.read_at(self.at, min(_WINDOW, self.file.size - self.at))
        self.at += length
        return self._window[start : start + length]

    def check(self, length: int) -> None:
        """Raise `BadInput` unless so many bytes follow."""
        if length > self.end - self.at:
            if self.end == self.file.size:
                raise self.file.cut(self.at, length)
            raise self.bad("has a value that is longer than the extension around it")

    def head(self) -> tuple[str, int | float | bool | None]:
        """The kind of the next value, and its number, length or count."""
        (byte,) = self.take(1)
        if byte < 0x80 or byte >= 0xE0:
            return "number", byte if byte < 0x80 else byte - 256
        if byte < 0xC0:
            for limit, kind, mask in ((0x90, "map", 15), (0xA0, "list", 15), (0xC0, "text", 31)):
                if byte < limit:
                    return kind, byte & mask
        if byte in (0xC0, 0xC2, 0xC3):
            return "constant", {0xC0: None, 0xC2: False, 0xC3: True}[byte]
        if byte in _NUMBERS:
            form = _NUMBERS[byte]
            number: int | float = struct.unpack(form, self.take(struct.calcsize(form)))[0]
            return "number", Floating("number of 32 bits", number) if form == ">f" else number
        if byte in _FIXED_EXTENSIONS:
            return "extension", _FIXED_EXTENSIONS[byte]
        if byte not in _LENGTHS:
            raise self.bad(f"has 0x{byte:02x} where a value must be")
        kind, width = _LENGTHS[byte]
        return kind, int.from_bytes(self.take(width), "big")

    def count(self, number: object, least: int) -> int:
        """A count of values of at least so many bytes each, all of which must be there."""
        assert isinstance(number, int)
        self.check(number * least)
        return number

    def value(self, depth: int) -> object:
        """The next value: dictionaries, lists, plain values, `Tensor` without names, and `OtherValue`."""
        kind, number = self.head()
        self._values += 1
        if kind in ("number", "constant"):
            return number
        assert isinstance(number, int)
        if kind == "extension":
            return self.extension(number)
        if kind in ("text", "bytes"):
            return self.text(kind, number)
        if depth >= DEPTH:
            raise self.bad(f"is nested more than {DEPTH} deep")
        if kind == "list":
            self.note("list")
            return [self.value(depth + 1) for _ in range(self.count(number, 1))]
        return self.map(self.count(number, 2), depth)

    def map(self, count: int, depth: int) -> object:
        """The dictionary, or the array in pieces, of so many entries."""
        entries: dict[str, object] = {}
        for _ in range(count):
            key = self.key()
            if key in entries:
                raise self.bad(f"has the key {short_name(key)} twice")
            entries[key] = self.value(depth + 1)
        return self.joined(entries) if CHUNKED in entries else entries

    def key(self) -> str:
        """A key. Numbers are written out: a file could choose their hashes."""
        kind, number = self.head()
        if kind != "text":
            self.note(f"{kind} as a key")
        if kind == "number" and isinstance(number, int):
            return str(number)
        if kind not in ("text", "bytes"):
            raise self.bad("has a key that is not a string")
        assert isinstance(number, int)
        if number > _KEY:
            raise self.bad(f"has a key of {number:,} bytes")
        return self.decoded(self.take(number))

    def decoded(self, raw: bytes) -> str:
        """Bytes as text."""
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.bad("has a string that cannot be decoded") from None

    def text(self, kind: str, length: int) -> object:
        """A text or bytes; long ones stay in the file."""
        if length < _SHORT:
            raw = self.take(length)
            return self.decoded(raw) if kind == "text" else raw
        self.objects(1)
        span = self.span(kind, length)
        return OtherValue(kind=kind, data=FileBytes(self.file, span.offset, span.length), beside=True)

    def objects(self, count: int) -> None:
        """Count what takes more memory than its bytes; there are at most as many as a checkpoint has tensors."""
        self._objects += count
        if self._objects > TENSOR_LIMIT:
            raise self.bad(f"holds more than {TENSOR_LIMIT:,} arrays and long texts")

    def span(self, kind: str, length: int) -> _Span:
        """Pass bytes of any length."""
        self.check(length)
        self.at += length
        return _Span(kind, self.at - length, length)

    def extension(self, length: int) -> Tensor | OtherValue:
        """An array, a numpy scalar or a complex number."""
        self.objects(1)
        (kind,) = self.take(1)
        self.check(length)
        outer, self.end = self.end, self.at + length
        if kind in (ARRAY, SCALAR):
            found: Tensor | OtherValue = self.array()
            if kind == SCALAR and found.shape:
                raise self.bad("has a numpy scalar with axes")
        elif kind == COMPLEX:
            found = self.complex_number()
        else:
            raise self.bad(
                f"has an extension of type {kind - 256 if kind > 127 else kind}, which Flax does not write"
            )
        if self.at != self.end:
            raise self.bad(f"has {self.end - self.at:,} bytes too many in an extension")
        self.end = outer
        return found

    def array(self) -> Tensor | OtherValue:
        """``(shape, name of the dtype, bytes)``"""
        if self.head() != ("list", 3):
            raise self.bad("has an array of unknown form")
        kind, axes = self.head()
        if kind != "list" or not isinstance(axes, int) or axes > _AXES:
            raise self.bad("has an array of impossible shape")
        shape = tuple(self.size() for _ in range(axes))
        kind, length = self.head()
        if kind not in ("text", "bytes") or not isinstance(length, int) or length > _SHORT:
            raise self.bad("has an array without the name of its dtype")
        name = self.decoded(self.take(length))
        found = element_type(name)
        if found is None:
            raise self.bad(f"has an array of dtype {short_name(name)}, which numpy does not have")
        kind, length = self.head()
        if kind not in ("text", "bytes") or not isinstance(length, int):
            raise self.bad("has an array without contents")
        span = self.span(kind, length)
        if prod(shape) * found.size != length:
            raise self.bad(f"has an array of {length:,} bytes, which are not those of its shape")
        if found.swapped:
            self.note("big-endian array")
        return _array(found, shape, FileBytes(self.file, span.offset, span.length))

    def size(self) -> int:
        """One axis of a shape."""
        kind, number = self.head()
        if kind != "number" or not isinstance(number, int) or not 0 <= number < 1 << 63:
            raise self.bad("has an array of impossible shape")
        return number

    def complex_number(self) -> OtherValue:
        """``(real part, imaginary part)``"""
        if self.head() != ("list", 2):
            raise self.bad("has a complex number of unknown form")
        parts = []
        for _ in range(2):
            kind, number = self.head()
            if kind != "number":
                raise self.bad("has a complex number of unknown form")
            assert isinstance(number, (int, float))
            parts.append(number)
        data = Held(struct.pack("<dd", *parts))
        return OtherValue(kind="complex number", data=data, beside=True)

    def joined(self, entries: dict[str, object]) -> Tensor | OtherValue:
        """An array in pieces: ``shape`` and ``chunks``, dictionaries whose keys are places."""
        shape, chunks = self.places(entries.get("shape")), self.places(entries.get("chunks"))
        sizes = tuple(size for size in shape if isinstance(size, int) and 0 <= size < 1 << 63)
        pieces = [chunk for chunk in chunks if isinstance(chunk, Tensor)]
        if len(entries) != 3 or len(sizes) != len(shape) or len(sizes) > _AXES:
            raise self.bad("has an array in pieces of unknown form")
        if len(pieces) != len(chunks) or not pieces or any(len(piece.shape) != 1 for piece in pieces):
            raise self.bad("has an array in pieces that are not arrays of numbers")
        dtype = pieces[0].dtype
        if any(piece.dtype != dtype for piece in pieces):
            raise self.bad("has an array in pieces of several dtypes")
        if sum(piece.shape[0] for piece in pieces) != prod(sizes):
            raise self.bad("has an array in pieces, which are not as long as its shape says")
        return Tensor("", dtype, sizes, Joined(tuple(piece.data for piece in pieces)))

    def places(self, entries: object) -> list[object]:
        """The values of ``{"0": ..., "1": ...}``."""
        if not isinstance(entries, dict) or entries.keys() != {str(place) for place in range(len(entries))}:
            raise self.bad("has an array in pieces of unknown form")
        return [entries[str(place)] for place in range(len(entries))]


def _array(found: ElementType, shape: tuple[int, ...], data: Data) -> Tensor | OtherValue:
    if found.swapped:
        data = Swapped(data, found.size)
    if found.is_converted:
        return Tensor("", found.name, shape, data)
    return unconverted(found.name, shape, data)
