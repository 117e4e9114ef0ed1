"""Whether a file's tensors are those of a variant: names, shapes and dtypes."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from converters.printable import shape_text
from converters.tensor import FLOATS

from .names import CannotHold, module_slots, tensor_slots
from .variants import head_part, variants

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Set

    from converters.tensor import Tensor

    from .file_names import FileNames
    from .names import TensorSlot
    from .schema import LayoutTable
    from .variants import Variant


class Fault(NamedTuple):
    """One thing that does not agree. ``kind`` is missing, unused, doubled, shape or dtype."""

    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}{f' ({self.detail})' if self.detail else ''}"


def optional_head(layout: LayoutTable, variant: Variant) -> str:
    """The part of a variant that a file may lack."""
    return head_part(variant) if layout.storage.head_optional else ""


def own_names(layout: LayoutTable, variant: Variant, names: FileNames) -> Set[str]:
    """The layout's own names of the tensors that a file of a variant has, by whichever names it has them."""
    further = layout.further_names(variant.name)
    return names.wanted.keys() if further is None else further.firsts(names.wanted)


def slots_of_file(
    layout: LayoutTable,
    variant: Variant,
    sizes: Mapping[str, int],
    present: Mapping[str, bool],
    names: FileNames,
) -> Iterator[TensorSlot]:
    """The `tensor_slots` of a variant as a file has them: of a tensor with several names those that are there, or the
    first if none is."""
    slots = tensor_slots(layout, variant, sizes, present)
    if layout.further_names(variant.name) is None:
        yield from slots
        return
    for _, group in groupby(slots, key=lambda slot: slot.canonical):
        every = list(group)
        yield from [slot for slot in every if slot.name in names.wanted] or every[:1]


def present_parts(
    layout: LayoutTable, variant: Variant, sizes: Mapping[str, int], names: Container[str]
) -> dict[str, bool]:
    """For each part that may be missing whether the file has its first tensor; not of a head that is there. ``names``
    are the tensors' own (`own_names`)."""
    present = {}
    head = optional_head(layout, variant)
    for part, optional in variant.parts:
        if optional or part == head:
            first = next(module for module in variant.modules if module.part == part)
            try:
                slot = next(module_slots(layout, variant, first, sizes), None)
            except (CannotHold, KeyError):
                slot = None
            there = slot is not None and slot.name in names
            if optional or not there:
                present[part] = there
    return present


def tensor_faults(
    variant: Variant, entry: TensorSlot, name: str, tensors: Mapping[str, Tensor], sizes: dict[str, int]
) -> list[Fault]:
    """What is wrong with one tensor. Enters the open sizes that its shape shows into ``sizes``."""
    tensor = tensors.get(name)
    if tensor is None:
        return [Fault("dtype", name, "a plain value, but must be an array")]
    faults = []
    if tensor.dtype not in FLOATS:
        faults.append(Fault("dtype", name, f"{tensor.dtype}, but must be of a floating-point type"))
    plain = entry.stored.plain(tensor.shape, len(entry.shape))
    if plain is None:
        plain = without_ones(tensor.shape, len(entry.shape))
    shape = None if plain is None else entry.stored.canonical(plain)
    if shape != entry.shape and (shape is None or not _unify(variant, entry.shape, shape, sizes)):
        wanted = entry.stored.bare(tuple(_size_text(variant, size, sizes) for size in entry.shape))
        faults.append(Fault("shape", name, f"{shape_text(tensor.shape)}, wanted {_joined(wanted)}"))
    return faults


def without_ones(shape: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
    """The shape of a vector or a matrix that has further axes of one, such as norms' ``[1, C]``; None for other
    tensors. Of a matrix it is shorter where it is ambiguous which axes are further ones."""
    if rank == 1 and len(shape) != 1:
        return tuple(size for size in shape if size != 1) or (1,)
    if rank == 2 and len(shape) > 2:
        return tuple(size for size in shape if size != 1)
    return None


def _unify(
    variant: Variant, wanted: tuple[int | str, ...], shape: tuple[int, ...], sizes: dict[str, int]
) -> bool:
    """Whether a shape has the sizes that are wanted; enters the open ones into ``sizes`` if it has."""
    if len(wanted) != len(shape):
        return False
    found = dict(sizes)
    for size, actual in zip(wanted, shape, strict=True):
        if isinstance(size, str):
            allowed = _allowed(variant, size)
            if actual < 1 or (allowed is not None and actual not in allowed):
                return False
            if found.setdefault(size, actual) != actual:
                return False
        elif size != actual:
            return False
    sizes.update(found)
    return True


def _allowed(variant: Variant, size: str) -> list[int] | None:
    values = variant.values.get(size)
    if values is None:
        for side in variant.table.compose:
            types = variant.table.compose[side].type.format_map(variant.values)
            for inner in variants(variant.table.compose[side].network):
                if inner.values["type"] == types and size in inner.values:
                    sizes: list[int] = inner.values[size]
                    return sizes
    return values


_WORDS = {"classes": "any number of classes", "channels": "any number of input channels"}


def _size_text(variant: Variant, size: int | str, sizes: Mapping[str, int]) -> str:
    """A size as a number, or in words where the file's tensors are to show it."""
    if isinstance(size, int) or size in sizes:
        return str(sizes[size] if isinstance(size, str) else size)
    allowed = _allowed(variant, size)
    return " or ".join(map(str, allowed)) if allowed else _WORDS.get(size, "any number")


def _joined(sizes: Iterable[str]) -> str:
    """Sizes as a shape; those of several words in brackets."""
    return "x".join(f"({size})" if " " in size else size for size in sizes)
