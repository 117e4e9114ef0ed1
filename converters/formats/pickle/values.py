"""The values of a pickle that are not weights, as `OtherValue`: numbers, texts, arrays, and containers of them.

Containers may be shared and may contain themselves, so nothing is followed here before it is asked for. Who follows
them bounds how far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard
from zlib import crc32

from converters.errors import BadInput
from converters.formats.other_value import DICTIONARY, LIST, TUPLE, OtherValue, plain_value
from converters.tensor import FileBytes, Held

from .keys import key_text
from .machine import FrozenSetItems, Global, Inert, SetItems
from .numpy_arrays import ARRAY, Array, Floating, Integer, dtype_of, numpy_kind, tensor
from .strings import RAW, UTF8, Span, encodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.files import SourceFile
    from converters.tensor import Data


_FROM_NUMPY = "save it as a tensor, with torch.from_numpy"


class PickleValues:
    """Describes values of one file. ``special`` describes those that only the file's format knows, and gives None for
    all others.

    A container that occurs in several places, or in itself, has one description, so that who follows the values can
    tell.
    """

    __slots__ = ("_containers", "_file", "_labels", "_special")

    def __init__(
        self, file: SourceFile, special: Callable[[object], OtherValue | None] | None = None
    ) -> None:
        self._file = file
        self._special = special
        self._containers: dict[int, tuple[object, OtherValue]] = {}
        self._labels: dict[int, tuple[Span, str]] = {}

    def describe(self, value: object) -> OtherValue:
        """A value of the pickle, beside the tensors."""
        if isinstance(value, (Integer, Floating)):
            plain = int(value) if isinstance(value, Integer) else float(value)
            return plain_value(plain).replace(kind=value.name)
        if value is None or isinstance(value, (bool, int, float)):
            return plain_value(value)
        if isinstance(value, (str, bytes, Span)):
            return self._text(value)
        if isinstance(value, Array):
            array = self.array(value)
            kind = f"{owner(value)} of {array.kind}{byte_order(value)}"
            return array.replace(kind=kind, beside=True, hint=_FROM_NUMPY)
        if isinstance(value, Global):
            return OtherValue(kind="name", value=value.name, beside=True)
        known = self._containers.get(id(value))
        if known is None:
            known = self._containers[id(value)] = (value, self._container(value))
        return known[1]

    def _container(self, value: object) -> OtherValue:
        if isinstance(value, dict):
            kind = getattr(value, "name", DICTIONARY)
            return OtherValue(kind=kind, parts=lambda: self._items(value), beside=True)
        if isinstance(value, (list, tuple)):
            kind = getattr(value, "name", LIST if isinstance(value, list) else TUPLE)
            return OtherValue(kind=kind, parts=lambda: self.elements(value), beside=True)
        special = self._special(value) if self._special else None
        if special is not None:
            return special.replace(beside=True)
        return self._object(value)

    def _object(self, value: object) -> OtherValue:
        """An inert object: what it was made from, where it keeps that."""
        kind = getattr(value, "name", "object")
        made_from = value.made_from() if isinstance(value, Inert) else None
        if made_from is None:
            return OtherValue(kind=kind, opaque=True, beside=True)
        return OtherValue(kind=kind, parts=lambda: self.elements(made_from), beside=True)

    def _text(self, value: str | bytes | Span) -> OtherValue:
        kind = getattr(value, "name", "")
        if isinstance(value, str):
            unicode = encodes(value)
            kind = kind or ("text" if unicode else "text that is not Unicode")
            return OtherValue(kind=kind, value=str(value) if unicode else printable_text(value), beside=True)
        if isinstance(value, bytes):
            return OtherValue(kind=kind or "bytes", data=Held(value), beside=True)
        return OtherValue(
            kind=_span_kind(value), data=FileBytes(self._file, value.offset, value.length), beside=True
        )

    def array(self, array: Array) -> OtherValue:
        """An array of numpy's. Its elements are in the order of the file where they are not numbers."""
        code = array.dtype.code if array.dtype else ""
        if dtype := dtype_of(code):
            try:
                found = tensor(self._file, "", array)
            except BadInput:  # it has another number of bytes than its shape takes
                return OtherValue(kind=dtype, shape=array.shape, opaque=True)
            return OtherValue(kind=found.dtype, shape=found.shape, data=found.data)
        kind, elements = numpy_kind(code), array.data
        if array.dtype and array.order != "C":
            kind = f"{kind}, axes in order {array.order}"
        if array.dtype and array.dtype.order == ">":
            kind = f"{kind}, big-endian"
        data: Data | None = None
        if isinstance(elements, list):
            return OtherValue(kind=kind, shape=array.shape, parts=lambda: self.elements(elements))
        if isinstance(elements, bytes):
            data = Held(elements)
        elif isinstance(elements, Span):
            if elements.coding != RAW:
                kind = f"{kind}, as {elements.coding}"
            data = FileBytes(self._file, elements.offset, elements.length)
        more = array.dtype.more if array.dtype and code[0] in "VMm" else None
        parts = None if more is None else lambda: self.elements(more)
        return OtherValue(kind=kind, shape=array.shape, data=data, parts=parts, opaque=data is None)

    def _items(self, items: dict[object, object]) -> Iterator[tuple[str, OtherValue]]:
        for key, value in items.items():
            yield self._label(key), self.describe(value)
        if in_bytes := sorted(key for key in items if isinstance(key, bytes)):
            yield ".keys in bytes", OtherValue(kind="names", data=Held(b"\0".join(in_bytes)), beside=True)
        if alike := sorted(printable_text(key) for key in items if _looks_like_no_name(key)):
            names = OtherValue(kind="names", data=Held("\0".join(alike).encode()), beside=True)
            yield ".keys that are texts", names
        yield from self._attributes(items)

    def _label(self, key: object) -> str:
        """The name of an entry of a dictionary: a text as it is, any other key in brackets."""
        if type(key) is str or isinstance(key, bytes):
            return printable_text(key)
        return f"[{printable_text(key_text(key, self._long))}]"

    def _long(self, span: Span) -> str:
        """What stands for a long text that is a key: not its place, which tells nothing."""
        if id(span) not in self._labels:
            crc = 0
            for chunk in self._file.chunks(span.offset, span.length):
                crc = crc32(chunk, crc)
            self._labels[id(span)] = (span, f"text of {span.length:,} bytes, CRC-32 {crc:08x}")
        return self._labels[id(span)][1]

    def elements(self, items: list[object] | tuple[object, ...]) -> Iterator[tuple[str, OtherValue]]:
        """What is in a sequence, by place."""
        unordered = isinstance(items, (SetItems, FrozenSetItems))
        for index, value in enumerate(items):
            label = f"{{{key_text(value, self._long)}}}" if unordered else f"[{index}]"
            yield label, self.describe(value)
        yield from self._attributes(items)

    def _attributes(self, container: object) -> Iterator[tuple[str, OtherValue]]:
        """The attributes of a dictionary or a list of a class of its own, if it has any."""
        attributes = getattr(container, "attributes", None)
        if attributes is not None:
            yield ".attributes", self.describe(attributes)


def owner(array: Array) -> str:
    """What sort of array it is, in words."""
    return "numpy array" if array.owner == ARRAY else f"array ({array.owner})"


def byte_order(array: Array) -> str:
    """That numbers are big-endian, where `PickleValues.array` gives them little-endian."""
    return ", big-endian" if array.dtype and array.dtype.order == ">" and dtype_of(array.dtype.code) else ""


def _looks_like_no_name(key: object) -> TypeGuard[str]:
    """Whether a text that is a key is also the label of something else."""
    return type(key) is str and (key[:1] in ("[", ".") or "\\" in key)


def _span_kind(span: Span) -> str:
    """Texts and bytes by how the stream writes them: only the oldest protocols have another way than the usual."""
    kind, usual = ("text", UTF8) if span.text else (getattr(span, "name", "bytes"), RAW)
    return kind if span.coding == usual else f"{kind}, as {span.coding}"


def printable_text(text: str | bytes) -> str:
    """Text that can be encoded as UTF-8."""
    if isinstance(text, str):
        if encodes(text):
            return text
        text = text.encode("utf-8", "backslashreplace")
    return text.decode("utf-8", "backslashreplace")
