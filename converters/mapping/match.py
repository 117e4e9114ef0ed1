"""Decide from a file's names and shapes which network it holds, and list all that does not agree.

Nothing is loaded on doubt: a file fits a variant when its names are exactly the variant's names and every shape
agrees, and every fault is collected before the run stops.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import Refused, UsageError
from converters.printable import printable
from converters.tensor import FLOATS

from .catalog import models
from .globs import glob_matches, is_for
from .names import BATCHES, CannotHold, TensorSlot, families, name_templates, tensor_slots
from .variants import config, count, count_part, head_part, modules, parts, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from converters.tensor import Tensor

    from .schema import LayoutTable
    from .variants import Variant


class Fault(NamedTuple):
    """One thing that does not agree. ``kind`` is missing, unused, doubled, shape or dtype."""

    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}{f' ({self.detail})' if self.detail else ''}"


class Match(NamedTuple):
    """A file matched with a variant, every tensor accounted for.

    ``slots`` are in state-dict order; ``prefix`` is the prefix of the file's names; ``dropped`` are the file's
    tensors that the layout drops by name; ``counters`` the batch counters, which carry nothing. ``choices`` are the
    variants that fit where these are several, ``variant`` being the first. ``partial`` tells that the network has more
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


class _Names(NamedTuple):
    """A file's names, sorted out: what must be mapped, what is dropped, what counts batches."""

    wanted: dict[str, str]
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    prefix: str


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
        layout, likeliest = max(tried, key=_known) if len(tried) > 1 else tried[0]
        raise _refusal(layout, tensors, likeliest, variant, _asked(layout, variant), path)
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
) -> tuple[Match | None, list[tuple[LayoutTable, _Names]]]:
    """The fit, or None and how the names have been read in vain."""
    if layout.format == "pytorch":
        averages = averaged(tensors)
        names = [name for name in tensors if name not in averages]
        beside = (*averages, *others)
    else:
        names, beside = [*tensors, *others], ()
    asked = _asked(layout, variant)
    tried: list[tuple[LayoutTable, _Names]] = []
    for table, prefix in _readings(layout, names, head):
        sorted_out = _sort_out(table, names, beside, prefix)
        chosen = table.choose(partial(_chosen, table, sorted_out.wanted))
        found = [
            match
            for match in _matches(chosen, tensors, sorted_out, asked)
            if variant is None or _may_be(match, variant)
        ]
        if found:
            several = tuple(match.variant.name for match in found) if len(found) > 1 else ()
            return found[0]._replace(choices=several), tried
        tried.append((chosen, sorted_out))
    return None, tried


def averaged(names: Iterable[str]) -> dict[str, None]:
    """Averages of a file's weights that lie among them as buffers of the same module, as mmcv's EMAHook keeps them:
    ``ema_`` and a parameter's name with ``_`` for its dots. In the file's order."""
    averages = [name for name in names if name.startswith(_AVERAGE)]
    own = {name.replace(".", "_") for name in names} if averages else set()
    return dict.fromkeys(name for name in averages if name.removeprefix(_AVERAGE) in own)


def inverted(found: Match) -> Match:
    """The same for a file that has inverse standard deviations for variances, which nothing in it shows.

    Raises `UsageError` where no file of the layout has.
    """
    if not found.layout.storage.inverse_std:
        raise UsageError(f"no file of {found.layout.title} has inverse standard deviations")
    layout = found.layout.inverted()
    return found._replace(
        layout=layout, slots=tuple(tensor_slots(layout, found.variant, found.sizes, found.present))
    )


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
    """Whether the sizes of a file leave it to be the model ``variant``. Classes tell nothing: there are others after
    further training."""
    return all(
        found.sizes.get(size, allowed[0]) in allowed
        for row in models(found.layout)
        if row.name == variant
        for size, allowed in row.sizes.items()
        if size != "classes"
    )


def headless(found: Match) -> Match:
    """The same without the head, whose tensors are dropped. Raises `UsageError` where the tables know of none."""
    head = head_part(found.variant)
    if not head:
        raise UsageError(f"{found.variant.title} has no head that can be left out")
    gone = {module.name for module in modules(found.variant) if module.part == head}
    kept = tuple(entry for entry in found.slots if entry.canonical.rpartition(".")[0] not in gone)
    dropped = tuple(found.prefix + entry.name for entry in found.slots if entry not in kept and entry.name)
    return found._replace(
        sizes={**found.sizes, "classes": 0},
        present={**found.present, head: False},
        slots=kept,
        dropped=(*dropped, *found.dropped),
    )


def _matches(
    layout: LayoutTable, tensors: Mapping[str, Tensor], names: _Names, asked: Callable[[str], bool]
) -> list[Match]:
    """Every variant that fits."""
    found: list[Match] = []
    for family in families(layout):
        sizes = _bound_by_names(layout, family, names.wanted)
        for one in variants(family):
            if not asked(one.name) or layout.support_for(one.name).unsupported:
                continue
            match = _match(layout, one, sizes, tensors, names)
            if match and not any(_same_body(match, other) for other in found):
                found.append(match)
    return found


def _same_body(one: Match, other: Match) -> bool:
    """Whether two networks, of which the file has no head, are the same up to it."""
    return (
        one.sizes == other.sizes == {**one.sizes, "classes": 0}
        and one.slots == other.slots
        and config(one.variant) == config(other.variant)
    )


def _readings(layout: LayoutTable, names: list[str], head: str | None) -> Iterator[tuple[LayoutTable, str]]:
    """How a file's names may be those of a layout: with which prefix in front, and by which names.

    PyTorch's wrappers put the name of an attribute in front of all names (``module.``, ``model.``, ``encoder.``,
    several of them): whatever all have in common may be one. Other layouts say what their prefixes are.
    """
    if layout.format != "pytorch":
        scopes = (
            found
            for prefix in layout.naming.prefixes
            if prefix and (found := _file_prefix(layout, prefix, names))
        )
        prefix = next(scopes, "")
        yield (layout.with_head(head.removeprefix(prefix)) if head is not None else layout), prefix
        return
    prefixes = [""]
    for table in (layout, layout.without_backbone()) if layout.naming.backbone else (layout,):
        for prefix in prefixes:
            named = head is not None and not table.identity
            yield (table.with_head(str(head).removeprefix(prefix)) if named else table), prefix
            if len(prefixes) == 1:  # only now: nearly all files have none
                prefixes += _common_prefixes([name for name in names if name not in _AVERAGED])


def _common_prefixes(names: list[str]) -> list[str]:
    """Every prefix, up to a dot, that all names have, the shortest first."""
    first, last = min(names, default=""), max(names, default="")
    found = []
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            break
        if one == ".":
            found.append(first[: place + 1])
    return found


def _known(reading: tuple[LayoutTable, _Names]) -> int:
    """How many of a file's names a layout may mean, as far as they are the same in every variant."""
    layout, names = reading
    templates = {text for names in layout.modules.values() for text in names.common.values()}
    kinds = [layout.parameter(kind, "weight") for kind in ("conv", "fc")]
    return sum(leaf.of(text) in names.wanted for text in templates for leaf in kinds)


def _sort_out(layout: LayoutTable, names: Iterable[str], beside: Iterable[str], prefix: str) -> _Names:
    drop = _pattern((*layout.storage.ignore, *layout.storage.ignore_if_zero))
    wanted: dict[str, str] = {}
    dropped, counters = [], []
    for name in names:
        bare = name.removeprefix(prefix)
        if drop and drop.fullmatch(bare):
            dropped.append(name)
        elif layout.format == "pytorch" and (bare.endswith(f".{BATCHES}") or (prefix and name in _AVERAGED)):
            counters.append(name)
        elif prefix and bare == name:
            wanted[f"\0{name}"] = name  # outside the scope: cannot be a network's tensor
        else:
            wanted[bare] = name
    return _Names(wanted, (*dropped, *beside), tuple(counters), prefix)


_AVERAGE = "ema_"
_AVERAGED = ("n_averaged", "steps")
"""How many states PyTorch's and mmengine's averaged models have averaged: beside the prefix ``module.``."""


def _file_prefix(layout: LayoutTable, prefix: str, names: Iterable[str]) -> str:
    """The prefix that ``prefix`` stands for in a file: itself, or behind a ``*`` the shortest that is in front of a
    convolution's or a matrix's weight; empty if no name has it."""
    if not prefix.startswith("*"):
        return prefix if any(name.startswith(prefix) for name in names) else ""
    ends = tuple(
        prefix[1:] + layout.parameter(kind, "weight").of(template)
        for family in families(layout)
        for template in layout.modules[family].common.values()
        for kind in ("conv", "fc")
    )
    found = {
        name[: len(name) - len(end) + len(prefix) - 1] for name in names for end in ends if name.endswith(end)
    }
    return min(found, key=lambda prefix: (len(prefix), prefix), default="")


def _chosen(layout: LayoutTable, wanted: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    """The first of a module's names under which a file has a tensor."""
    leaves = {
        leaf for of_kind in layout.storage.parameters.values() for leaf in of_kind.values() if leaf.suffix
    }
    return next((name for name in choices if any(leaf.of(name) in wanted for leaf in leaves)), choices[0])


def zeros_of(found: Match) -> list[str]:
    """The dropped tensors of a file that must be zero everywhere (`Storage.ignore_if_zero`)."""
    zero = _pattern(found.layout.storage.ignore_if_zero)
    return [name for name in found.dropped if zero and zero.fullmatch(name.removeprefix(found.prefix))]


def _pattern(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{re.escape(glob).replace(chr(92) + '*', '.*')})" for glob in globs))


def _bound_by_names(layout: LayoutTable, family: str, names: Iterable[str]) -> dict[str, int]:
    for template in name_templates(layout, family):
        start, _, end = template.partition("{classes}")
        expression = re.compile(f"{re.escape(start)}([1-9][0-9]{{0,8}}){re.escape(end)}_")
        for name in names:
            if match := expression.match(name):
                return {"classes": int(match[1])}
    return {}


def _present(layout: LayoutTable, one: Variant, sizes: Mapping[str, int], names: _Names) -> dict[str, bool]:
    """For each part that may be missing whether the file has its first tensor; not of a head that is there."""
    present = {}
    head = _head(layout, one)
    for part, optional in parts(one):
        if optional or part == head:
            first = next(module.name for module in modules(one) if module.part == part)
            try:
                tensor = next(
                    (
                        entry.name
                        for entry in tensor_slots(layout, one, sizes, {part: True})
                        if entry.canonical.startswith(f"{first}.")
                    ),
                    "",
                )
            except KeyError:
                tensor = ""
            if optional or tensor not in names.wanted:
                present[part] = tensor in names.wanted
    return present


def _head(layout: LayoutTable, one: Variant) -> str:
    """The part of a variant that a file may lack."""
    return head_part(one) if layout.storage.head_optional else ""


def _match(
    layout: LayoutTable, one: Variant, sizes: Mapping[str, int], tensors: Mapping[str, Tensor], names: _Names
) -> Match | None:
    """The fit of a variant whose names are exactly the file's and whose shapes and dtypes all agree.

    The names are counted first, and the expansion stops where something disagrees: most variants cost nothing.
    """
    stored = layout.tensor_counts()
    few, many = count(one, stored), len(names.wanted)
    optional = {part: count_part(one, part, stored) for part, may_lack in parts(one) if may_lack}
    head = _head(layout, one)
    last = count_part(one, head, stored) if head else 0
    if not few - last <= many <= few + sum(optional.values()):
        return None
    present = (
        {head: False} if many == few - last != few else {}
    )  # else all its modules would be looked through
    if optional:
        present = _present(layout, one, sizes, names)
    few -= 0 if present.get(head, True) else last
    if few + sum(number for part, number in optional.items() if present[part]) != many:
        return None
    sizes = dict(sizes)
    if head and not present.get(head, True):
        sizes["classes"] = 0
    expected = []
    try:
        for entry in tensor_slots(layout, one, sizes, present):
            if not entry.name:
                expected.append(entry)
                continue
            name = names.wanted.get(entry.name)
            if name is None or _faults(one, entry, name, tensors, sizes):
                return None
            expected.append(entry)
    except (CannotHold, KeyError):
        return None
    return Match(layout, one, sizes, present, names.prefix, tuple(expected), names.dropped, names.counters)


def _agree(
    one: Variant,
    expected: Iterable[TensorSlot],
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    names: _Names,
) -> list[Fault]:
    """Every shape and dtype that does not agree, of the names that are there."""
    sizes = dict(sizes)
    faults = []
    for entry in expected:
        name = names.wanted.get(entry.name)
        if name is not None:
            faults += _faults(one, entry, name, tensors, sizes)
    return faults


def _faults(
    one: Variant, entry: TensorSlot, name: str, tensors: Mapping[str, Tensor], sizes: dict[str, int]
) -> list[Fault]:
    """What is wrong with one tensor. Binds the open sizes that its shape tells."""
    tensor = tensors.get(name)
    if tensor is None:
        return [Fault("dtype", name, "a plain value, wanted an array")]
    faults = []
    if tensor.dtype not in FLOATS:
        faults.append(Fault("dtype", name, f"{tensor.dtype}, wanted a floating type"))
    plain = entry.stored.plain(tensor.shape, len(entry.shape))
    shape = None if plain is None else entry.stored.canonical(plain)
    if shape != entry.shape and (shape is None or not _unify(one, entry.shape, shape, sizes)):
        wanted = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in entry.shape)
        faults.append(Fault("shape", name, f"{_text(tensor.shape)}, wanted {_text(wanted)}"))
    return faults


def _unify(
    one: Variant, wanted: tuple[int | str, ...], shape: tuple[int, ...], sizes: dict[str, int]
) -> bool:
    if len(wanted) != len(shape):
        return False
    for size, actual in zip(wanted, shape, strict=True):
        if isinstance(size, str):
            allowed = _allowed(one, size)
            if actual < 1 or (allowed is not None and actual not in allowed):
                return False
            if sizes.setdefault(size, actual) != actual:
                return False
        elif size != actual:
            return False
    return True


def _allowed(one: Variant, hole: str) -> list[int] | None:
    values = one.values.get(hole)
    if values is None:
        for side in one.table.compose:
            types = one.table.compose[side].type.format_map(one.values)
            for inner in variants(one.table.compose[side].network):
                if inner.values["type"] == types and hole in inner.values:
                    found: list[int] = inner.values[hole]
                    return found
    return values


def _text(shape: Iterable[int | str]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _refusal(
    layout: LayoutTable,
    tensors: Mapping[str, Tensor],
    names: _Names,
    variant: str | None,
    asked: Callable[[str], bool],
    path: str,
) -> Refused:
    """Count every fault against the variant that comes nearest."""
    best: tuple[float, int, Variant, tuple[TensorSlot, ...], list[Fault]] | None = None
    for family in families(layout):
        sizes = _bound_by_names(layout, family, names.wanted)
        for one in variants(family):
            if not asked(one.name) or layout.support_for(one.name).unsupported:
                continue
            try:
                expected = tuple(
                    tensor_slots(layout, one, {"classes": 0, **sizes}, _present(layout, one, sizes, names))
                )
            except CannotHold:
                continue
            wanted = {entry.name for entry in expected if entry.name}
            shared = len(wanted & names.wanted.keys()) / len(wanted | names.wanted.keys())
            if best is not None and shared < best[0]:
                continue
            faults = _agree(one, expected, sizes, tensors, names)
            if best is None or (shared, -len(faults)) > best[:2]:
                best = (shared, -len(faults), one, expected, faults)
    if best is None:
        named = ", ".join(row.name for row in models(layout))
        return Refused(
            f"{layout.name} has no network named {variant!r}",
            path=path,
            hint=f"there are {named}" if named else "`convert models` lists them",
        )
    shared, _, one, expected, faults = best
    if shared < 0.3:
        return Refused(
            f"is no network that {layout.title} has",
            path=path,
            where=f"{len(names.wanted)} tensors such as {', '.join(sorted(names.wanted.values())[:2])}"
            if names.wanted
            else "it holds no tensors",
            hint="`convert inspect` shows what it holds, `convert models` what can be converted",
        )
    wanted = {entry.name for entry in expected if entry.name}
    missing = [name for name in wanted if name not in names.wanted]
    unused = [name for bare, name in names.wanted.items() if bare not in wanted]
    faults = [
        *(Fault("missing", names.prefix + name, near) for name, near in nearest(missing, unused)),
        *(Fault("unused", name, near) for name, near in nearest(unused, missing)),
        *faults,
    ]
    return Refused(
        f"does not fit {one.title} ({one.name}), the nearest of {layout.name}'s networks",
        path=path,
        where=f"{len(faults)} fault{'s' if len(faults) > 1 else ''}; {shared:.0%} of the names agree",
        hint=_other_head(layout, one, expected, names, tensors)
        or next(
            (
                text
                for glob, text in layout.storage.hints.items()
                if any(glob_matches(glob, name) for name in missing)
            ),
            "the file may be damaged or from another network; --json lists every fault",
        ),
        faults=tuple(str(fault) for fault in faults),
    )


def _other_head(
    layout: LayoutTable,
    one: Variant,
    expected: Iterable[TensorSlot],
    names: _Names,
    tensors: Mapping[str, Tensor],
) -> str:
    """What to say where all is in order but for one more layer, of as many inputs as the head, in the head's place:
    it may be the head, under a name of its own."""
    wanted = {entry.name: entry for entry in expected if entry.name}
    head = {module.name for module in modules(one) if module.part == head_part(one)}
    missing = [entry for name, entry in wanted.items() if name not in names.wanted]
    unused = {bare: name for bare, name in names.wanted.items() if bare not in wanted}
    weight, bias = layout.parameter("fc", "weight"), layout.parameter("fc", "bias")
    found = [bare.removesuffix(weight.suffix) for bare in unused if bare.endswith(weight.suffix)]
    if len(head) != 1 or len(found) != 1 or unused.keys() != {weight.of(found[0]), bias.of(found[0])}:
        return ""
    if any(entry.canonical.rpartition(".")[0] not in head for entry in missing):
        return ""
    inputs = next(module.shape[1] for module in modules(one) if module.name in head)
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
