"""Reads ONNX tensors: TensorProto messages, in every form in which they hold their values.

TensorProto has dims 1, data_type 2, the lists float_data 4, int32_data 5, string_data 6, int64_data 7, double_data 10
and uint64_data 11, name 8, raw_data 9, external_data 13 (key 1, value 2) and data_location 14 (0 in the file, 1 in
another one). The list int32_data also holds what is narrower: float16 and bfloat16 by their bits, several elements of a
few bits in a number.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.formats.io.protobuf_reader import BYTES, FIXED32, FIXED64, VARINT, Field, Unpacked
from converters.printable import short_name
from converters.record import Record
from converters.tensor import FileBytes, Held, Joined

from .integers import integers

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.io.protobuf_reader import Wire
    from converters.tensor import Data

FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""Element types of weights by their numbers; tensors of other types are shapes, axes, or quantised."""

_OTHER_TYPES = {8: "string", 27: "float6_e2m3", 28: "float6_e3m2"}
"""Element types whose bytes are not read: texts, and six bits that a list spreads over eight."""

_TYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32),
    7: ("int64", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64),
    14: ("complex64", 64), 15: ("complex128", 128), 16: ("bfloat16", 16), 17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8), 20: ("float8_e5m2fnuz", 8), 21: ("uint4", 4), 22: ("int4", 4),
    23: ("float4_e2m1", 4), 24: ("float8_e8m0", 8), 25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip
"""Every element type with a size: its name, and its bits."""

_LISTS = {1: 4, 14: 4, 7: 7, 11: 10, 15: 10, 12: 11, 13: 11}
"""The list that holds an element type; int32_data where it is not named."""

_INT32 = 5
_WIRES = {4: FIXED32, 10: FIXED64, 5: VARINT, 7: VARINT, 11: VARINT}
AXES = 32
_HERE, _OUTSIDE = 0, 1
_FILES = 1_000


class Stored(Record):
    """A tensor of any element type. ``dtype`` is its name as PyTorch writes it, ``string`` for texts. Of texts and
    types that are not known ``data`` are the bytes as they are; it is None for sparse tensors, and where the bytes are
    in another file or in lists of numbers. ``in_node`` is true for a tensor that is an attribute of a node."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Data | None
    in_node: bool = False


class TensorReader:
    """Reads the tensors of one file, and opens the files of its external data."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.file = wire.file
        self.external: dict[str, SourceFile] = {}

    def read(self, field: Field) -> Stored:
        """A TensorProto. Raises `BadInput` for values that do not fill the shape."""
        name, kind, shape = "", 0, []
        raw: list[Field] = []
        texts: list[Field] = []
        typed: dict[int, list[Field]] = {number: [] for number in _WIRES}
        entries: dict[str, str] = {}
        location = _HERE
        for inner in self.wire.inside(field):
            if inner.number == 1 and inner.wire in (VARINT, BYTES):
                shape += self.wire.varints(inner, AXES)
                if len(shape) > AXES:
                    raise self.wire.damaged(f"has a tensor of more than {AXES} axes", inner.offset)
            elif inner.number == 2 and inner.wire == VARINT:
                kind = inner.value
            elif inner.number == 8:
                name = self.wire.text(inner)
            elif inner.number == 9 and inner.wire == BYTES:
                raw.append(inner)
            elif inner.number == 6 and inner.wire == BYTES:
                texts.append(inner)
            elif inner.number in typed:
                typed[inner.number].append(inner)
            elif inner.number == 13:
                key, value = pair(self.wire, inner)
                entries[key] = value
            elif inner.number == 14 and inner.wire == VARINT:
                location = inner.value
        inside = any(piece.size for piece in (*raw, *texts)) or any(typed.values())
        self._check_location(name, location, entries, inside=inside)
        if not all(size < 1 << 31 for size in shape):
            raise self._bad("has an impossible shape", name)
        if kind not in _TYPES:
            data = None if entries else self._undecoded([*raw, *texts])
            word = _OTHER_TYPES.get(kind, f"element type {kind}")
            return Stored(name=name, dtype=word, shape=tuple(shape), data=data)
        dtype, bits = _TYPES[kind]
        nbytes = -(-prod(shape) * bits // 8)
        if entries:
            data = self._external(name, entries, nbytes)
        elif raw:
            self._check_size(name, raw[-1].size, nbytes)
            data = FileBytes(self.file, raw[-1].offset, raw[-1].size)
        else:
            data = self._typed(name, typed, _LISTS.get(kind, _INT32), nbytes, max(1, bits // 8))
        return Stored(name=name, dtype=dtype, shape=tuple(shape), data=data)

    def _check_location(self, name: str, location: int, entries: dict[str, str], *, inside: bool) -> None:
        """Raise `BadInput` unless the values are where ``data_location`` says, and nowhere else."""
        advice = "the file is damaged; export it again"
        if location not in (_HERE, _OUTSIDE):
            raise self._bad(f"has its values in an unknown kind of place, {location}", name, advice)
        if entries and inside:
            raise self._bad("has values both in the file and in another one", name, advice)
        if bool(entries) != (location == _OUTSIDE):
            where, what = ("in the file", "another one") if entries else ("in another file", "none")
            raise self._bad(f"says that its values are {where}, and names {what}", name, advice)

    def floats(self, name: str, pieces: list[Field]) -> Stored:
        """A list of float32 that is an attribute."""
        nbytes = sum(_float_bytes(piece, 4) for piece in pieces if piece.wire in (FIXED32, BYTES))
        typed = {number: pieces if number == 4 else [] for number in _WIRES}
        data = self._typed(name, typed, 4, nbytes, 4)
        return Stored(name=name, dtype="float32", shape=(nbytes // 4,), data=data, in_node=True)

    def _typed(
        self, name: str, typed: dict[int, list[Field]], number: int, nbytes: int, itemsize: int
    ) -> Data:
        """Values in a list, in one field or several, packed or not."""
        pieces = typed.pop(number)
        if any(typed.values()) or any(piece.wire not in (_WIRES[number], BYTES) for piece in pieces):
            raise self._bad(
                "has values in the list of another type", name, "the file is damaged; export it again"
            )
        if _WIRES[number] == VARINT:
            found = integers(self.wire, pieces, itemsize)
            self._check_size(name, found.nbytes, nbytes)
            return found
        size = 4 if number == 4 else 8
        self._check_size(name, sum(_float_bytes(piece, size) for piece in pieces), nbytes)
        parts: list[Data] = [
            FileBytes(self.file, piece.offset, piece.size)
            if piece.wire == BYTES
            else Unpacked(self.file, piece)
            for piece in pieces
        ]
        if len(parts) == 1:
            return parts[0]
        return Joined(tuple(parts)) if parts else Held(b"")

    def _undecoded(self, pieces: list[Field]) -> Data | None:
        """Bytes that are compared and not read, each piece with its length in front; None where there are none."""
        parts = ((Held(piece.size.to_bytes(8, "little")), self._bytes(piece)) for piece in pieces)
        return Joined(tuple(part for pair in parts for part in pair)) if pieces else None

    def _bytes(self, piece: Field) -> FileBytes:
        return FileBytes(self.file, piece.offset, piece.size)

    def _check_size(self, name: str, size: int, nbytes: int) -> None:
        if size != nbytes:
            raise self._bad(
                f"has {size:,} bytes of values where the shape needs {nbytes:,}",
                name,
                "the file is damaged; export it again",
            )

    def _external(self, name: str, entries: dict[str, str], nbytes: int) -> Data:
        """External data: a range of a file in the model's folder."""
        location = entries.get("location", "")
        offset, length = (
            _whole(entries.get(key, ""), other) for key, other in (("offset", 0), ("length", nbytes))
        )
        if offset is None or length is None:
            raise self._bad("has external data without a valid place", name)
        self._check_size(name, length, nbytes)
        if location not in self.external:
            if len(self.external) == _FILES:
                raise BadInput(f"has external data in more than {_FILES:,} files", path=self.file.path)
            self.external[location] = self._opened(name, location)
        file = self.external[location]
        if offset + length > file.size:
            raise file.cut(offset, length)
        return FileBytes(file, offset, length)

    def _opened(self, name: str, location: str) -> SourceFile:
        self._require_inside(name, location)
        file = self.file.beside(location)
        if file is None:
            raise self._bad(
                f"has its weights in another file, {short_name(location)}, which is not there",
                name,
                "put it beside the model, under this name",
            )
        return file

    def _require_inside(self, name: str, location: str) -> None:
        """Raise `BadInput` for an external file outside the model's folder, which may be by a link."""
        folder = os.path.realpath(os.path.dirname(self.file.path) or os.curdir)
        path = os.path.realpath(os.path.join(folder, location)) if "\0" not in location else ""
        unsafe = not location or os.path.isabs(location) or ".." in location.replace("\\", "/").split("/")
        if unsafe or os.path.commonpath([folder, path or os.sep]) != folder:
            raise self._bad(
                f"has external data in {short_name(location)}, which is not in its own folder",
                name,
                "only files beside the model are read",
            )

    def _bad(self, what: str, name: str, hint: str = "") -> BadInput:
        return BadInput(what, path=self.file.path, where=short_name(name), hint=hint)


def pair(wire: Wire, field: Field, limit: int = 1000) -> tuple[str, str]:
    """The key and value of a StringStringEntryProto. Raises `BadInput` for a value of more than ``limit`` bytes."""
    texts = {inner.number: inner for inner in wire.inside(field)}
    key = wire.text(texts[1]) if 1 in texts else ""
    return key, wire.text(texts[2], limit) if 2 in texts else ""


def _float_bytes(piece: Field, size: int) -> int:
    """The bytes of the values of ``size`` bytes in one field of a list."""
    return piece.size if piece.wire == BYTES else piece.value * size


def _whole(text: str, missing: int) -> int | None:
    """A non-negative integer in a text: ``missing`` if the text is empty, None if it is something else."""
    if not text:
        return missing
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
