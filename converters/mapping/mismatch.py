"""Explain why a file matches no variant of a layout: every fault against the most similar variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.errors import AnotherNetwork, Refused
from converters.printable import short_name

from .agreement import Fault, optional_head, own_names, present_parts, slots_of_file, tensor_faults
from .file_names import file_name, sizes_in_names
from .globs import glob_matches
from .layout_tables import models
from .names import CannotHold, families
from .other_networks import other_network
from .readable_networks import readable_variants
from .remedies import remedy
from .tensor_counts import TensorCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from converters.tensor import Tensor

    from .file_names import FileNames
    from .names import TensorSlot
    from .remedies import Fits
    from .schema import LayoutTable
    from .variants import Variant

NO_REMEDY = "the file may be damaged or from another network; --json lists every fault"
"""The hint where nothing is known that would help."""

_ALIKE = 0.3
"""The least part of the names that a file must share with a variant to be compared with it."""


class _Candidate(NamedTuple):
    """A variant that a file may be meant to be: the part of the names that they share (0 to 1), and the faults."""

    shared: float
    variant: Variant
    slots: tuple[TensorSlot, ...]
    faults: list[Fault]


def explain(
    layout: LayoutTable,
    names: FileNames,
    tensors: Mapping[str, Tensor],
    requested: str | None,
    may_try: Callable[[str], bool],
    fits: Fits,
    path: str,
) -> Refused:
    """The error for a file that matches no variant of a layout. ``requested`` is the variant or model that the user
    requests, ``may_try`` tests by name whether a variant may be it, and ``fits`` what the user may say of the file."""
    candidates = [
        variant
        for variant in readable_variants(families(layout))
        if may_try(variant.name) and not layout.support_for(variant.name).unsupported
    ]
    if not candidates:
        known = ", ".join(row.name for row in models(layout))
        return Refused(
            f"{layout.name} has no network named {requested!r}",
            path=path,
            hint=f"there are {known}" if known else "`convert models` lists them",
        )
    other = other_network(layout, names, tensors)
    if other is not None:
        return AnotherNetwork(
            f"is {other.what}, none of the networks that {layout.title} is read for",
            path=path,
            hint=other.hint or "`convert models` shows what can be converted",
        )
    best = _nearest(layout, tensors, names, candidates)
    if best is None:
        return Refused(
            f"is not a video network that {layout.title} has",
            path=path,
            where=_some_of(names),
            hint="`convert inspect` shows what it holds, `convert models` what can be converted",
        )
    return _mismatch(layout, tensors, names, best, fits, path)


def _some_of(names: FileNames) -> str:
    """How many tensors a file has, and the first of them."""
    count = len(names.wanted)
    some = [short_name(name) or "''" for name in sorted(names.wanted.values())[:2]]
    return f"{count} tensor{'s' * (count > 1)} such as {', '.join(some)}" if some else "it holds no tensors"


def _nearest(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: FileNames, candidates: Iterable[Variant]
) -> _Candidate | None:
    """The variant that shares most names with a file and has the fewest faults; None if all share too few. Variants
    whose number of tensors differs too much are not expanded."""
    best: _Candidate | None = None
    for variant in candidates:
        least = _ALIKE if best is None else best.shared
        own = own_names(layout, variant, names)
        if _most_shared(layout, variant, len(own)) < least:
            continue
        sizes = sizes_in_names(layout, variant.family, names.wanted)
        present = present_parts(layout, variant, sizes, own)
        try:
            slots = tuple(slots_of_file(layout, variant, {"classes": 0, **sizes}, present, names))
        except CannotHold:
            continue
        slot_names = {slot.name for slot in slots if slot.name}
        shared = len(slot_names & names.wanted.keys()) / len(slot_names | names.wanted.keys())
        if shared < least:
            continue
        faults = _disagreements(variant, slots, sizes, tensors, names)
        if best is None or (shared, -len(faults)) > (best.shared, -len(best.faults)):
            best = _Candidate(shared, variant, slots, faults)
    return best


def _most_shared(layout: LayoutTable, variant: Variant, in_file: int) -> float:
    """The largest part of the names that a file of ``in_file`` tensors can share with a variant."""
    counter = TensorCounter(layout)
    most = counter.count(variant)
    least = most
    head = optional_head(layout, variant)
    if head:
        least -= counter.count_part(variant, head)
    most += sum(counter.count_part(variant, part) for part, optional in variant.parts if optional)
    if in_file < least:
        return in_file / least
    return most / in_file if in_file > most else 1.0


def _mismatch(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    names: FileNames,
    best: _Candidate,
    fits: Fits,
    path: str,
) -> Refused:
    """The refusal with all differences from the most similar variant, names first."""
    variant = best.variant
    slot_names = {slot.name for slot in best.slots if slot.name}
    missing = [name for name in slot_names if name not in names.wanted]
    unused = [name for bare, name in names.wanted.items() if bare not in slot_names]
    faults = [
        *(Fault("missing", file_name(names.prefix, name), near) for name, near in nearest(missing, unused)),
        *(Fault("unused", name, near) for name, near in nearest(unused, missing)),
        *best.faults,
    ]
    explanations = (
        text
        for glob, text in layout.storage.hints.items()
        if any(glob_matches(glob, name) for name in missing)
    )
    return Refused(
        f"does not fit {variant.title} ({variant.name}), the nearest of {layout.name}'s networks",
        path=path,
        where=f"{len(faults)} fault{'s' if len(faults) > 1 else ''}; {best.shared:.0%} of the names agree",
        hint=remedy(layout, variant, best.slots, names, tensors, fits) or next(explanations, NO_REMEDY),
        faults=tuple(str(fault) for fault in faults),
    )


def _disagreements(
    variant: Variant,
    slots: Iterable[TensorSlot],
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    names: FileNames,
) -> list[Fault]:
    """Every wrong shape and dtype, of the names that the file has."""
    sizes = dict(sizes)
    faults = []
    for slot in slots:
        name = names.wanted.get(slot.name)
        if name is not None:
            faults += tensor_faults(variant, slot, name, tensors, sizes)
    return faults


def nearest(names: list[str], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each name with the most similar other name. Only the first 20 names are searched for, since this is slow."""
    if not names:
        return
    from difflib import get_close_matches

    choices = sorted(others)
    for position, name in enumerate(sorted(names)):
        similar = get_close_matches(name, choices, 1, 0.8) if position < 20 else []
        yield name, f"nearest: {similar[0]}" if similar else ""
