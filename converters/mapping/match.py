"""Decide from a file's names and shapes which network it holds.

Nothing is loaded on doubt: a file matches a variant when its names are exactly the variant's names and every shape
agrees. Where none does, `mismatch` lists all that does not agree.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from converters.errors import UsageError
from converters.record import Record

from .agreement import optional_head, present_parts, tensor_faults
from .catalog import models
from .file_names import FileNames, averaged_names, chosen_name, pattern, readings, sizes_in_names, sort_out
from .globs import is_for
from .names import CannotHold, families, tensor_slots
from .variants import config, count, count_part, head_part, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from converters.tensor import Tensor

    from .names import TensorSlot
    from .schema import LayoutTable
    from .variants import Variant


class Match(Record):
    """A file matched with a variant, every tensor accounted for.

    ``slots`` are in state-dict order; ``prefix`` is the prefix of the file's names; ``dropped`` are the file's
    tensors that the layout drops by name; ``counters`` the batch counters, which carry nothing. ``choices`` are the
    variants that fit where these are several, ``variant`` being the first. ``partial`` says that the network has more
    tensors than ``slots``: of a file that is a part alone.
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
    partial: bool = False

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
    path: str = "",
) -> Match:
    """Match a file's tensors with one variant that ``layout`` names.

    ``others`` are names of values that are not tensors. Among Caffe2 blobs they too must be dropped by name;
    what a PyTorch file holds beside its state dict is left out. ``variant`` asks for one variant, or for those of
    one of the layout's models, ``head`` is what the file calls the head where that is not the layout's name. Raises
    `Refused` with every fault, counted against the nearest variant.
    """
    found, tried = _try(layout, tensors, others, variant, head, path)
    if found is None:
        layout, likeliest = max(tried, key=_recognised) if len(tried) > 1 else tried[0]
        from .mismatch import explain

        raise explain(layout, tensors, likeliest, variant, _asked(layout, variant), path)
    return found


def find_match(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    others: Iterable[str] = (),
    *,
    variant: str | None = None,
    head: str | None = None,
    path: str = "",
) -> Match | None:
    """As `match_file`, but None where no variant fits: to list all faults takes longer than to find none."""
    return _try(layout, tensors, others, variant, head, path)[0]


def _try(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    others: Iterable[str],
    variant: str | None,
    head: str | None,
    path: str,
) -> tuple[Match | None, list[tuple[LayoutTable, FileNames]]]:
    """The match, or None and every reading of the names that was tried."""
    if layout.format == "pytorch":
        averages = averaged_names(tensors)
        names = [name for name in tensors if name not in averages]
        beside = (*averages, *others)
    else:
        names, beside = [*tensors, *others], ()
    asked = _asked(layout, variant)
    tried: list[tuple[LayoutTable, FileNames]] = []
    for table, prefix in readings(layout, names, head):
        sorted_out = sort_out(table, names, beside, prefix)
        chosen = table.choose(partial(chosen_name, table, sorted_out.wanted))
        found = [
            match
            for match in _matching_variants(chosen, tensors, sorted_out, asked)
            if variant is None or _may_be(match, variant)
        ]
        if found:
            several = tuple(match.variant.name for match in found) if len(found) > 1 else ()
            return found[0].replace(choices=several), tried
        tried.append((chosen, sorted_out))
    return None, tried


def _recognised(reading: tuple[LayoutTable, FileNames]) -> int:
    """How many of a file's names a layout may mean, as far as they are the same in every variant."""
    layout, names = reading
    templates = {text for names in layout.modules.values() for text in names.common.values()}
    kinds = [layout.parameter(kind, "weight") for kind in ("conv", "fc")]
    return sum(leaf.of(text) in names.wanted for text in templates for leaf in kinds)


def _asked(layout: LayoutTable, variant: str | None) -> Callable[[str], bool]:
    """Whether a variant may be tried, by its name."""
    if variant is None:
        return lambda _: True
    rows = [row for row in models(layout) if row.name == variant]
    return lambda name: name == variant or any(is_for(row.variants, name) for row in rows)


def names_for(found: Match) -> list[str]:
    """What ``variant`` may be of a file that fits: the layout's models whose network and sizes are the file's, then the
    networks' own names, of all that it may be."""
    names = found.choices or (found.variant.name,)
    known = [row.name for row in models(found.layout) if any(is_for(row.variants, name) for name in names)]
    return [*(name for name in known if _may_be(found, name)), *names]


def _may_be(found: Match, variant: str) -> bool:
    """Whether the sizes of a file leave it to be the model ``variant``. Classes show nothing: there are others after
    further training."""
    return all(
        found.sizes.get(size, allowed[0]) in allowed
        for row in models(found.layout)
        if row.name == variant
        for size, allowed in row.sizes.items()
        if size != "classes"
    )


def _matching_variants(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: FileNames, asked: Callable[[str], bool]
) -> list[Match]:
    """Every variant that fits."""
    found: list[Match] = []
    for family in families(layout):
        sizes = sizes_in_names(layout, family, names.wanted)
        for variant in variants(family):
            if not asked(variant.name) or layout.support_for(variant.name).unsupported:
                continue
            match = _match_variant(layout, variant, sizes, tensors, names)
            if match and not any(_same_body(match, other) for other in found):
                found.append(match)
    return found


def _match_variant(
    layout: LayoutTable,
    variant: Variant,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    names: FileNames,
) -> Match | None:
    """The match of a variant whose names are exactly the file's and whose shapes and dtypes all agree.

    The names are counted first, and the expansion stops where something disagrees: most variants cost nothing.
    """
    stored = layout.tensor_counts
    few, many = count(variant, stored), len(names.wanted)
    optional = {part: count_part(variant, part, stored) for part, may_lack in variant.parts if may_lack}
    head = optional_head(layout, variant)
    last = count_part(variant, head, stored) if head else 0
    if not few - last <= many <= few + sum(optional.values()):
        return None
    present = (
        {head: False} if many == few - last != few else {}
    )  # else all its modules would be looked through
    if optional:
        present = present_parts(layout, variant, sizes, names)
    few -= 0 if present.get(head, True) else last
    if few + sum(number for part, number in optional.items() if present[part]) != many:
        return None
    sizes = dict(sizes)
    if head and not present.get(head, True):
        sizes["classes"] = 0
    expected = []
    try:
        for entry in tensor_slots(layout, variant, sizes, present):
            if not entry.name:
                expected.append(entry)
                continue
            name = names.wanted.get(entry.name)
            if name is None or tensor_faults(variant, entry, name, tensors, sizes):
                return None
            expected.append(entry)
    except (CannotHold, KeyError):
        return None
    return Match(
        layout=layout,
        variant=variant,
        sizes=sizes,
        present=present,
        prefix=names.prefix,
        slots=tuple(expected),
        dropped=names.dropped,
        counters=names.counters,
    )


def _same_body(one: Match, other: Match) -> bool:
    """Whether two networks, of which the file has no head, are the same up to it."""
    return (
        one.sizes == other.sizes == {**one.sizes, "classes": 0}
        and one.slots == other.slots
        and config(one.variant) == config(other.variant)
    )


def with_inverse_std(found: Match) -> Match:
    """The same for a file that has inverse standard deviations for variances, which nothing in it shows.

    Raises `UsageError` where no file of the layout has.
    """
    if not found.layout.storage.inverse_std:
        raise UsageError(f"no file of {found.layout.title} has inverse standard deviations")
    layout = found.layout.inverted()
    return found.replace(
        layout=layout, slots=tuple(tensor_slots(layout, found.variant, found.sizes, found.present))
    )


def without_head(found: Match) -> Match:
    """The same without the head, whose tensors are dropped. Raises `UsageError` where the tables know of none."""
    head = head_part(found.variant)
    if not head:
        raise UsageError(f"{found.variant.title} has no head that can be left out")
    gone = {module.name for module in found.variant.modules if module.part == head}
    kept = tuple(entry for entry in found.slots if entry.canonical.rpartition(".")[0] not in gone)
    dropped = tuple(found.prefix + entry.name for entry in found.slots if entry not in kept and entry.name)
    return found.replace(
        sizes={**found.sizes, "classes": 0},
        present={**found.present, head: False},
        slots=kept,
        dropped=(*dropped, *found.dropped),
    )


def zeros_of(found: Match) -> list[str]:
    """The dropped tensors of a file that must be zero everywhere (`Storage.ignore_if_zero`)."""
    zero = pattern(found.layout.storage.ignore_if_zero)
    return [name for name in found.dropped if zero and zero.fullmatch(name.removeprefix(found.prefix))]
