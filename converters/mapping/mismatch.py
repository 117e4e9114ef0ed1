"""Why a file is no network of a layout: every fault, counted against the nearest variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import Refused
from converters.printable import printable

from .agreement import Fault, optional_head, present_parts, tensor_faults
from .catalog import models
from .file_names import sizes_in_names
from .globs import glob_matches
from .names import CannotHold, families, tensor_slots
from .variants import count, count_part, head_part, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from converters.tensor import Tensor

    from .file_names import FileNames
    from .names import TensorSlot
    from .schema import LayoutTable
    from .variants import Variant

_ALIKE = 0.3
"""A file that shares fewer of its names with every variant is no network of the layout."""


class _Candidate(NamedTuple):
    """A variant with the part of the names that it shares with a file (0 to 1), and what does not agree."""

    shared: float
    variant: Variant
    slots: tuple[TensorSlot, ...]
    faults: list[Fault]


def explain(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    names: FileNames,
    wanted: str | None,
    asked: Callable[[str], bool],
    path: str,
) -> Refused:
    """The refusal of a file that is no variant of a layout. ``wanted`` is the variant or the model that the user asks
    for, ``asked`` says by its name whether a variant may be it."""
    candidates = [
        variant
        for family in families(layout)
        for variant in variants(family)
        if asked(variant.name) and not layout.support_for(variant.name).unsupported
    ]
    if not candidates:
        known = ", ".join(row.name for row in models(layout))
        return Refused(
            f"{layout.name} has no network named {wanted!r}",
            path=path,
            hint=f"there are {known}" if known else "`convert models` lists them",
        )
    best = _nearest(layout, tensors, names, candidates)
    if best is None:
        return Refused(
            f"is no network that {layout.title} has",
            path=path,
            where=f"{len(names.wanted)} tensors such as {', '.join(sorted(names.wanted.values())[:2])}"
            if names.wanted
            else "it holds no tensors",
            hint="`convert inspect` shows what it holds, `convert models` what can be converted",
        )
    return _mismatch(layout, tensors, names, best, path)


def _nearest(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: FileNames, candidates: Iterable[Variant]
) -> _Candidate | None:
    """The variant that shares most names with a file, and of several the one with the fewest faults; None where none
    shares many. Only variants that may be it by their number of tensors are expanded."""
    best: _Candidate | None = None
    for variant in candidates:
        least = _ALIKE if best is None else best.shared
        if _most_shared(layout, variant, len(names.wanted)) < least:
            continue
        sizes = sizes_in_names(layout, variant.family, names.wanted)
        present = present_parts(layout, variant, sizes, names)
        try:
            slots = tuple(tensor_slots(layout, variant, {"classes": 0, **sizes}, present))
        except CannotHold:
            continue
        own = {slot.name for slot in slots if slot.name}
        shared = len(own & names.wanted.keys()) / len(own | names.wanted.keys())
        if shared < least:
            continue
        faults = _disagreements(variant, slots, sizes, tensors, names)
        if best is None or (shared, -len(faults)) > (best.shared, -len(best.faults)):
            best = _Candidate(shared, variant, slots, faults)
    return best


def _most_shared(layout: LayoutTable, variant: Variant, number: int) -> float:
    """The largest part of the names that a file of ``number`` tensors can share with a variant."""
    counts = layout.tensor_counts
    most = count(variant, counts)
    least = most
    head = optional_head(layout, variant)
    if head:
        least -= count_part(variant, head, counts)
    most += sum(count_part(variant, part, counts) for part, optional in variant.parts if optional)
    if number < least:
        return number / least
    return most / number if number > most else 1.0


def _mismatch(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: FileNames, best: _Candidate, path: str
) -> Refused:
    """What does not agree with the nearest variant, names first."""
    variant = best.variant
    own = {slot.name for slot in best.slots if slot.name}
    missing = [name for name in own if name not in names.wanted]
    unused = [name for bare, name in names.wanted.items() if bare not in own]
    faults = [
        *(Fault("missing", names.prefix + name, near) for name, near in nearest(missing, unused)),
        *(Fault("unused", name, near) for name, near in nearest(unused, missing)),
        *best.faults,
    ]
    hints = (
        text
        for glob, text in layout.storage.hints.items()
        if any(glob_matches(glob, name) for name in missing)
    )
    general = "the file may be damaged or from another network; --json lists every fault"
    return Refused(
        f"does not fit {variant.title} ({variant.name}), the nearest of {layout.name}'s networks",
        path=path,
        where=f"{len(faults)} fault{'s' if len(faults) > 1 else ''}; {best.shared:.0%} of the names agree",
        hint=_other_head(layout, variant, best.slots, names, tensors) or next(hints, general),
        faults=tuple(str(fault) for fault in faults),
    )


def _disagreements(
    variant: Variant,
    expected: Iterable[TensorSlot],
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    names: FileNames,
) -> list[Fault]:
    """Every shape and dtype that does not agree, of the names that are there."""
    sizes = dict(sizes)
    faults = []
    for slot in expected:
        name = names.wanted.get(slot.name)
        if name is not None:
            faults += tensor_faults(variant, slot, name, tensors, sizes)
    return faults


def _other_head(
    layout: LayoutTable,
    variant: Variant,
    expected: Iterable[TensorSlot],
    names: FileNames,
    tensors: Mapping[str, Tensor],
) -> str:
    """What to say where all is in order but for variant more layer, of as many inputs as the head, in the head's place:
    it may be the head, under a name of its own."""
    wanted = {slot.name: slot for slot in expected if slot.name}
    head = {module.name for module in variant.modules if module.part == head_part(variant)}
    missing = [slot for name, slot in wanted.items() if name not in names.wanted]
    unused = {bare: name for bare, name in names.wanted.items() if bare not in wanted}
    weight, bias = layout.parameter("fc", "weight"), layout.parameter("fc", "bias")
    found = [bare.removesuffix(weight.suffix) for bare in unused if bare.endswith(weight.suffix)]
    if len(head) != 1 or len(found) != 1 or unused.keys() != {weight.of(found[0]), bias.of(found[0])}:
        return ""
    if any(slot.canonical.rpartition(".")[0] not in head for slot in missing):
        return ""
    inputs = next(module.shape[1] for module in variant.modules if module.name in head)
    plain = weight.plain(tensors[unused[weight.of(found[0])]].shape, 2)
    if plain is None or plain[1] != inputs:
        return ""
    return f"if {printable(names.prefix + found[0])} is its head, say so: --head {printable(names.prefix + found[0])}"


def nearest(names: list[str], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each name with the nearest other name, as long as there are few: the search is slow."""
    if not names:
        return
    from difflib import get_close_matches

    choices = sorted(others)
    for number, name in enumerate(sorted(names)):
        near = get_close_matches(name, choices, 1, 0.8) if number < 20 else []
        yield name, f"nearest: {near[0]}" if near else ""
