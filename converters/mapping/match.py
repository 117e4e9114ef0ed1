"""Match a file with a variant by its names and shapes.

A file matches a variant only if it has exactly the variant's names and every shape agrees. If no variant matches,
`mismatch` lists every difference.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from converters.errors import Refused, UsageError
from converters.record import Record

from .agreement import optional_head, own_names, present_parts, slots_of_file, tensor_faults
from .file_names import (
    FileNames,
    Selection,
    Selections,
    chosen_name,
    pattern,
    readings,
    sizes_in_names,
    sort_out,
)
from .globs import is_for
from .layout_tables import models
from .names import BATCHES, CannotHold, families, tensor_slots
from .other_networks import other_network
from .readable_networks import readable_networks
from .table_files import usual_class_counts
from .tensor_counts import TensorCounter
from .variants import config, head_part, is_detector, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from converters.tensor import Tensor

    from .names import TensorSlot
    from .schema import LayoutTable
    from .variants import Variant


class Match(Record):
    """A file matched with a variant, every tensor accounted for.

    ``slots`` are in state-dict order. ``prefix`` is the prefix of the file's names, ``names`` are those that the slots
    have in the file where that prefix does not say so, and ``wrappers`` the parts of names that were left out.
    ``dropped`` are the file's tensors that are left out, ``counters`` its batch counters. Of those left out, ``told``
    are the user's, and ``aside`` are not weights, each with what it belongs to; the others are the layout's to ignore.
    If several variants fit, ``choices`` are their names and ``variant`` is the first; ``also`` are those that a file is
    taken for only if that is asked for (`Support.if_asked`). ``partial`` means that the file
    holds a part of the network: the network has more tensors than ``slots``.
    """

    layout: LayoutTable
    variant: Variant
    sizes: Mapping[str, int]
    present: Mapping[str, bool]
    prefix: str
    slots: tuple[TensorSlot, ...]
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    partial: bool = False
    names: Mapping[str, str] = MappingProxyType({})
    wrappers: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    aside: Mapping[str, str] = MappingProxyType({})

    def file_name(self, slot: TensorSlot) -> str:
        """A slot's name in the file, which it has to store."""
        return self.names.get(slot.name) or self.prefix + slot.name

    def stray_counters(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Those of `counters` that count nothing: not an int64, or not beside a variance of the network."""
        beside = {
            self.file_name(slot).removesuffix("running_var") + BATCHES
            for slot in self.slots
            if slot.name and slot.leaf == "running_var"
        }
        return [
            name
            for name in self.counters
            if (tensors[name].dtype, tensors[name].shape) != ("int64", ())
            or (name.endswith(BATCHES) and name not in beside)
        ]

    @property
    def has_inverse_std(self) -> bool:
        """Whether the file stores inverse standard deviations instead of variances."""
        return any(slot.stored.inverse for slot in self.slots)


def match_file(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    others: Iterable[str] = (),
    *,
    variant: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    path: str = "",
) -> Match:
    """Match a file's tensors with a variant of ``layout``.

    ``others`` are names of values that are not tensors. Among Caffe2 blobs the layout must ignore them by name; in a
    PyTorch file they are left out. ``variant`` requests one variant, or those of one of the layout's models. ``head``
    is the file's name of the head, if it is not the layout's, and ``drop`` are patterns of names to leave out. Raises
    `Refused` with every fault against the most similar variant.
    """
    others = tuple(others)
    selections = Selections(layout.format, tensors, others, drop)
    match = match_selections(layout, tensors, selections, variant=variant, head=head)
    if match is None:
        from .mismatch import NO_REMEDY, explain

        *_, selection = selections
        tables = list(readings(layout, selection, head, guess=True))
        tried = [_sorted_out(table, selection, prefix) for table, prefix in tables]
        likeliest = max(tried, key=_count_recognised) if len(tried) > 1 else tried[0]

        def fits(head_: str | None, more: Sequence[str]) -> Match | None:
            return find_match(
                layout, tensors, others, variant=variant, head=head_ or head, drop=(*drop, *more)
            )

        refusal = explain(*likeliest, tensors, variant, _filter_for(layout, variant), fits, path)
        if head is not None and refusal.told.hint == NO_REMEDY:
            refusal.hint = _hint_without_head(layout, tensors, others, variant, drop) or NO_REMEDY
        raise refusal
    return match


def _hint_without_head(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    others: Iterable[str],
    variant: str | None,
    drop: Sequence[str],
) -> str:
    """What helps a file whose head is not as the user says; empty if nothing does."""
    from .mismatch import NO_REMEDY

    try:
        match_file(layout, tensors, others, variant=variant, drop=drop)
    except Refused as error:
        return "" if error.told.hint == NO_REMEDY else f"leave --head out; {error.told.hint}"
    return "leave --head out: the file fits without it"


def find_match(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    others: Iterable[str] = (),
    *,
    variant: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
) -> Match | None:
    """As `match_file`, but returns None if no variant matches. This is faster, since no faults are listed."""
    selections = Selections(layout.format, tensors, tuple(others), drop)
    return match_selections(layout, tensors, selections, variant=variant, head=head)


def match_selections(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    selections: Iterable[Selection],
    *,
    variant: str | None = None,
    head: str | None = None,
) -> Match | None:
    """As `find_match`, for names that several layouts are tried with."""
    asked = _filter_for(layout, variant)
    for selection in selections:
        for table, prefix in readings(layout, selection, head):
            chosen, names = _sorted_out(table, selection, prefix)
            if variant is None and other_network(chosen, names, tensors, by_shape=True):
                continue
            matches = [
                match
                for match in _matching_variants(chosen, tensors, names, asked)
                if variant is None or _may_be_model(match, variant)
            ]
            if matches := _without_unlikely_detectors(matches):
                matches, also = _if_asked(matches) if variant is None else (matches, ())
                choices = tuple(match.variant.name for match in matches) if len(matches) > 1 else ()
                return _named(matches[0], names, selection).replace(choices=choices, also=also)
    return None


def _sorted_out(table: LayoutTable, selection: Selection, prefix: str) -> tuple[LayoutTable, FileNames]:
    """A file's names sorted out, and the layout with those that the file has for modules that may have several."""
    names = sort_out(table, selection, prefix)
    return table.choose(partial(chosen_name, table, names.wanted)), names


def _named(match: Match, names: FileNames, selection: Selection) -> Match:
    """The match with what is said of the file's names."""
    stored = (slot.name for slot in match.slots if slot.name)
    return match.replace(
        names={name: names.wanted[name] for name in stored if names.wanted[name] != match.prefix + name},
        wrappers=selection.wrappers,
        told=selection.told,
        aside=selection.aside,
    )


def _without_unlikely_detectors(matches: list[Match]) -> list[Match]:
    """The matches without the detectors, if a classifier fits too and the number of classes is a usual one for it."""
    classifiers = [match for match in matches if not is_detector(match.variant)]
    if 0 < len(classifiers) < len(matches) and classifiers[0].sizes["classes"] in usual_class_counts():
        return classifiers
    return matches


def _if_asked(matches: list[Match]) -> tuple[list[Match], tuple[str, ...]]:
    """The matches without those that are to be asked for, and these variants' names, if others are left."""
    asked = [match for match in matches if match.layout.support_for(match.variant.name).if_asked]
    if 0 < len(asked) < len(matches):
        return [match for match in matches if match not in asked], tuple(
            match.variant.name for match in asked
        )
    return matches, ()


def _count_recognised(reading: tuple[LayoutTable, FileNames]) -> int:
    """How many of the file's names the layout has in every variant."""
    layout, names = reading
    templates = {text for names in layout.modules.values() for text in names.common.values()}
    kinds = [layout.parameter(kind, "weight") for kind in ("conv", "fc")]
    return sum(leaf.of(text) in names.wanted for text in templates for leaf in kinds)


def _filter_for(layout: LayoutTable, requested: str | None) -> Callable[[str], bool]:
    """A test of variants' names: whether the requested variant or model may be this variant."""
    if requested is None:
        return lambda _: True
    rows = [row for row in models(layout) if row.name == requested]
    return lambda name: name == requested or any(is_for(row.variants, name) for row in rows)


def names_for(match: Match) -> list[str]:
    """The names that ``variant`` may have for a matched file: the layout's models with its variant and sizes, then its
    variants."""
    names = (*(match.choices or (match.variant.name,)), *match.also)
    model_names = [
        row.name for row in models(match.layout) if any(is_for(row.variants, name) for name in names)
    ]
    return list(dict.fromkeys((*(name for name in model_names if _may_be_model(match, name)), *names)))


def others_that_fit(match: Match) -> tuple[str, ...]:
    """The names for ``variant`` that a file is not taken for where none is asked for; none if only one network fits."""
    models_too = {row.name for row in models(match.layout) if row.if_asked}
    names = [name for name in names_for(match) if name != match.variant.name]
    return tuple(names) if match.also else tuple(name for name in names if name in models_too)


def _may_be_model(match: Match, model: str) -> bool:
    """Whether the file's sizes allow ``model``. The number of classes does not count: fine-tuning changes it."""
    return all(
        match.sizes.get(size, allowed[0]) in allowed
        for row in models(match.layout)
        if row.name == model
        for size, allowed in row.sizes.items()
        if size != "classes"
    )


def _matching_variants(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: FileNames, may_try: Callable[[str], bool]
) -> list[Match]:
    """Every variant that matches; of variants that differ only in a head that the file lacks, the first."""
    counter = TensorCounter(layout)
    matches: list[Match] = []
    for family in readable_networks(families(layout)):
        sizes = sizes_in_names(layout, family, names.wanted)
        for variant in variants(family):
            if not may_try(variant.name) or layout.support_for(variant.name).unsupported:
                continue
            match = _match_variant(layout, variant, counter, sizes, tensors, names)
            if match and not any(_differ_in_head_only(match, other) for other in matches):
                matches.append(match)
    return matches


def _match_variant(
    layout: LayoutTable,
    variant: Variant,
    counter: TensorCounter,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    names: FileNames,
) -> Match | None:
    """The match with a variant if all names, shapes and dtypes agree.

    Names are counted first, and the expansion stops at the first difference, so most variants cost nothing.
    """
    required = counter.count(variant)
    optional = {part: counter.count_part(variant, part) for part, may_lack in variant.parts if may_lack}
    head = optional_head(layout, variant)
    head_count = counter.count_part(variant, head) if head else 0
    if len(names.wanted) < required - head_count:
        return None
    own = own_names(layout, variant, names)
    in_file = len(own)
    if not required - head_count <= in_file <= required + sum(optional.values()):
        return None
    present = {head: False} if in_file == required - head_count != required else {}
    if optional:  # only then, since this looks through all modules
        present = present_parts(layout, variant, sizes, own)
    required -= 0 if present.get(head, True) else head_count
    if required + sum(part_count for part, part_count in optional.items() if present[part]) != in_file:
        return None
    sizes = dict(sizes)
    if head and not present.get(head, True):
        sizes["classes"] = 0
    slots = []
    stored = 0
    try:
        for slot in slots_of_file(layout, variant, sizes, present, names):
            if not slot.name:
                slots.append(slot)
                continue
            name = names.wanted.get(slot.name)
            if name is None or tensor_faults(variant, slot, name, tensors, sizes):
                return None
            slots.append(slot)
            stored += 1
    except (CannotHold, KeyError):
        return None
    if stored != len(names.wanted):
        return None
    return Match(
        layout=layout,
        variant=variant,
        sizes=sizes,
        present=present,
        prefix=names.prefix,
        slots=tuple(slots),
        dropped=names.dropped,
        counters=names.counters,
    )


def _differ_in_head_only(first: Match, second: Match) -> bool:
    """Whether a file without a head matches two variants that differ only in the head."""
    return (
        first.sizes == second.sizes == {**first.sizes, "classes": 0}
        and first.slots == second.slots
        and config(first.variant) == config(second.variant)
    )


def with_inverse_std(match: Match) -> Match:
    """The match of a file that stores inverse standard deviations instead of variances, which the file does not show.

    Raises `UsageError` if no file of the layout does.
    """
    if not match.layout.storage.inverse_std:
        raise UsageError(f"no file of {match.layout.title} has inverse standard deviations")
    layout = match.layout.inverted()
    return match.replace(
        layout=layout, slots=tuple(tensor_slots(layout, match.variant, match.sizes, match.present))
    )


def without_head(match: Match) -> Match:
    """The match without the head, whose tensors are dropped. Raises `UsageError` if the variant has no head."""
    head = head_part(match.variant)
    if not head:
        raise UsageError(f"{match.variant.title} has no head that can be left out")
    head_modules = {module.name for module in match.variant.modules if module.part == head}
    slots = tuple(slot for slot in match.slots if slot.canonical.rpartition(".")[0] not in head_modules)
    dropped = tuple(match.file_name(slot) for slot in match.slots if slot not in slots and slot.name)
    return match.replace(
        sizes={**match.sizes, "classes": 0},
        present={**match.present, head: False},
        slots=slots,
        dropped=(*dropped, *match.dropped),
    )


def tensors_that_must_be_zero(match: Match) -> list[str]:
    """The names of the file's ignored tensors that must be zero everywhere (`Storage.ignore_if_zero`)."""
    glob = pattern(match.layout.storage.ignore_if_zero)
    return [name for name in match.dropped if glob and glob.fullmatch(name.removeprefix(match.prefix))]
