"""What a file holds beside the tensors that can be converted.

Every reader keeps such things by name, in `Checkpoint.other_values`: tensors of dtypes and forms that are not
converted, arrays of other libraries, numbers, texts, dictionaries. `inspect` shows them, `diff` compares them, and an
error says what a needed one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.tensor import Data

DICTIONARY, LIST, TUPLE = "dictionary", "list", "tuple"
"""The kinds of containers of plain values."""


class OtherValue(Record):
    """Something that no conversion takes, as it is in the file. Nothing of it is read before it is asked for.

    ``kind`` is the name of its dtype (``uint16``, ``complex64``, ``float8_e4m3fn``), or says what it is: ``text``,
    ``dictionary``, ``sparse tensor``. ``shape`` is that of a tensor or an array, None for everything else.

    ``data`` are its bytes: little-endian and in C order for the elements of an array, UTF-8 for a long text. ``value``
    is a number, a short text or None. ``parts`` gives what is inside it, by name. Two of them are equal if their
    kinds, shapes, bytes, values and parts are; ``opaque`` means that it holds more than these, which nothing here
    can compare.

    ``beside`` is true for what stands beside the tensors and means nothing to a mapping: an epoch beside a state dict,
    a new shape in a graph. ``hint`` says how to save it so that it can be converted.
    """

    kind: str
    shape: tuple[int, ...] | None = None
    data: Data | None = None
    value: bool | int | float | str | None = None
    parts: Callable[[], Iterator[tuple[str, OtherValue]]] | None = None
    opaque: bool = False
    beside: bool = False
    hint: str = ""

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor or an array, although one that is not converted."""
        return self.shape is not None


def unconverted(kind: str, shape: tuple[int, ...], data: Data | None, *, beside: bool = False) -> OtherValue:
    """A tensor that is not converted; one without ``data`` cannot be compared."""
    return OtherValue(kind=kind, shape=shape, data=data, opaque=data is None, beside=beside)


def plain_value(value: bool | int | float | str | None) -> OtherValue:
    """A number, a short text or None, beside the tensors."""
    kinds = {type(None): "None", bool: "truth value", int: "integer", float: "number", str: "text"}
    return OtherValue(kind=kinds[type(value)], value=value, beside=True)
