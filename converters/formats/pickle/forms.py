"""What the values of a pickle are, without what they hold: classes, keys, byte orders.

Readers of arrays keep names, numbers and shapes. What else another program would find in the file is here: that names
are bytes, a dictionary is ordered, an array is big-endian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.other_value import OtherValue

from .numpy_arrays import Array
from .values import PickleValues, byte_order, owner

if TYPE_CHECKING:
    from converters.files import SourceFile

THE_FORM = "the form of the pickle"
"""The name of a form among the metadata."""


class _Forms(PickleValues):
    """Describes values without their contents; texts have theirs with ``texts``."""

    __slots__ = ("_texts",)

    def __init__(self, file: SourceFile, *, texts: bool) -> None:
        super().__init__(file)
        self._texts = texts

    def describe(self, value: object) -> OtherValue:
        if isinstance(value, Array):
            return OtherValue(kind=f"{owner(value)}{byte_order(value)}", beside=True)
        found = super().describe(value)
        if found.parts is not None or (self._texts and isinstance(value, str)):
            return found
        return OtherValue(kind=found.kind, beside=True)


def form_of(file: SourceFile, value: object, *, texts: bool = False) -> OtherValue:
    """The form of a pickle's value. ``texts`` are compared too where they are names that a reader leaves out."""
    return _Forms(file, texts=texts).describe(value)
