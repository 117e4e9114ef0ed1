"""The file that a chain of conversions began with, as its provenance record describes it."""

from __future__ import annotations

from itertools import groupby
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.mapping.file_names import with_head
from converters.mapping.names import BATCHES
from converters.record import Record
from converters.tensor import ITEMSIZE

from .operations.values import AddUlps
from .rounding import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.mapping.names import TensorSlot
    from converters.mapping.schema import LayoutTable


class OriginalFile(Record):
    """What the original file was like, so that the way back restores it.

    ``prefix`` stood before all names. ``shapes`` are the shapes that differed from the layout's own, and ``dtypes`` the
    dtypes that differed from ``dtype``, both by canonical names. ``lossy`` says that something has been rounded since.
    ``names`` are the names of modules that may have several, by their keys in the table. ``steps``, by canonical names
    and packed, lead from the values that the tables alone would write to the original bits (`AddUlps`). ``inverse``
    says that the file had inverse standard deviations, ``absent`` that its names lacked the backbone's prefix.
    ``head`` is the head's name if it was not the layout's. ``file_names`` are those that the prefix does not give, by
    the layout's names. ``lacks`` are further names of tensors, or first ones, that the file did not have. ``once`` says
    that a tensor is written under one of its names alone, as a graph has it.
    """

    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str
    dtypes: Mapping[str, str]
    lossy: bool
    names: Mapping[str, str] = MappingProxyType({})
    steps: Mapping[str, str] = MappingProxyType({})
    inverse: bool = False
    absent: bool = False
    head: str = ""
    file_names: Mapping[str, str] = MappingProxyType({})
    lacks: frozenset[str] = frozenset()
    once: bool = False

    def layout(self, table: LayoutTable) -> LayoutTable:
        """The table with the names and the storage that the original file had."""
        if self.absent:
            table = table.without_backbone()
        if self.head:
            table = with_head(table, self.head)
        table = table.choose(self._name)
        return table.inverted() if self.inverse else table

    def _name(self, key: str, choices: tuple[str, ...]) -> str:
        return self.names[key] if self.names.get(key) in choices else choices[0]

    def file_name(self, name: str) -> str:
        """The file's name of a tensor or a batch counter, by the layout's."""
        if not name.endswith(f".{BATCHES}"):
            return self.file_names.get(name) or self.prefix + name
        variance = self.file_name(name.removesuffix(BATCHES) + "running_var")
        return variance.removesuffix("running_var") + BATCHES

    def written(self, slots: Iterable[TensorSlot]) -> Iterator[TensorSlot]:
        """The layout's slots without the names that the file did not have. Raises `BadInput` where that is every name
        of a tensor."""
        if not self.lacks and not self.once:
            yield from slots
            return
        for _, group in groupby(slots, key=lambda slot: slot.canonical):
            every = list(group)
            stored = [slot for slot in every if slot.name not in self.lacks]
            if not stored:
                raise wrong_record()
            yield from stored[:1] if self.once else stored

    def dtype_of(self, canonical: str) -> str:
        """The dtype that a tensor had."""
        return self.dtypes.get(canonical, self.dtype)

    def rounding(self, canonical: str, dtype: str, shape: tuple[int, ...]) -> Iterator[AddUlps]:
        """The operation that leads back to a tensor's original bits, if one is needed. Raises `BadInput`."""
        text = self.steps.get(canonical)
        if text is not None:
            try:
                yield AddUlps(steps=unpack(text, prod(shape) * ITEMSIZE[dtype]))
            except ValueError:
                raise wrong_record() from None


def wrong_record() -> BadInput:
    """The error for a provenance record that contradicts the tensors of its file."""
    return BadInput("its provenance record does not fit its tensors", hint="convert the source again")
