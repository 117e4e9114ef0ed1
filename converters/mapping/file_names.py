"""Sort a file's names by what they are to a layout: prefixes, ignored names, batch counters and tensors' names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .globs import glob_matches
from .names import BATCHES, families, name_templates
from .network_tables import load_network
from .readable_networks import readable_networks
from .training_state import beside_the_network, left_aside
from .variants import head_part, variants
from .wrapped_modules import without_wrappers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from converters.tensor import Tensor

    from .schema import LayoutTable

_AVERAGE = "ema_"

_AVERAGED = ("n_averaged", "steps")
"""The counters in averaged models of PyTorch and mmengine, whose other names have the prefix ``module.``."""


OUTSIDE = "\0"
"""Stands before a name that does not have the prefix: no tensor of a network has it, but for a head that was named."""


class Selection(NamedTuple):
    """One way to take a file's names: ``names`` are to be mapped, each with the file's own, ``dropped`` are left out.

    Of these ``told`` are those that the user dropped, and ``aside`` those that are not weights, each with what it
    belongs to. ``wrappers`` are left out inside the names.
    """

    names: dict[str, str]
    dropped: tuple[str, ...]
    told: tuple[str, ...]
    aside: Mapping[str, str] = {}
    wrappers: tuple[str, ...] = ()


class FileNames(NamedTuple):
    """A file's names: ``wanted`` are to be mapped (by the name without ``prefix``), ``dropped`` are left out, and
    ``counters`` are batch counters."""

    wanted: dict[str, str]
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    prefix: str


class Selections:
    """The ways to take a file's names, the plainest first: as they are; without those that are not weights; without
    wrappers inside them. Each is found when it is asked for, and once.

    ``layout_format`` is the format of the layouts that it is to be read as, ``others`` are names of values that are not
    tensors, ``drop`` the user's patterns.
    """

    def __init__(
        self, layout_format: str, tensors: Mapping[str, Tensor], others: Sequence[str], drop: Sequence[str]
    ) -> None:
        self._further = _selections(layout_format, tensors, others, drop)
        self._found: list[Selection] = []

    def __iter__(self) -> Iterator[Selection]:
        yield from self._found
        for selection in self._further:
            self._found.append(selection)
            yield selection


def _selections(
    layout_format: str, tensors: Mapping[str, Tensor], others: Sequence[str], drop: Sequence[str]
) -> Iterator[Selection]:
    """See `Selections`."""
    if layout_format == "pytorch":
        averages = averaged_names(tensors)
        names, extra = [name for name in tensors if name not in averages], (*averages, *others)
    else:
        names, extra = [*tensors, *others], ()
    told = tuple(name for name in names if any(glob_matches(glob, name) for glob in drop)) if drop else ()
    if told:
        names = [name for name in names if name not in {*told}]
    first = Selection(dict(zip(names, names, strict=True)), (*told, *extra), told)
    yield first
    aside = left_aside(layout_format, {name: tensors[name] for name in names if name in tensors}, others)
    weights = [name for name in names if name not in aside]
    rest = first._replace(
        names=dict(zip(weights, weights, strict=True)), dropped=(*told, *aside, *extra), aside=aside
    )
    if aside:
        yield rest
    if layout_format == "pytorch":
        inner, wrappers = without_wrappers(weights)
        if wrappers:
            yield rest._replace(names=inner, wrappers=wrappers)
        beside = beside_the_network({name: tensors[name] for name in weights if name in tensors})
        if beside:
            kept = {
                name: own for name, own in (inner if wrappers else rest.names).items() if own not in beside
            }
            aside |= {name: beside[name] for name in weights if name in beside}
            yield Selection(kept, (*told, *aside, *extra), told, aside, tuple(wrappers))


def averaged_names(names: Iterable[str]) -> dict[str, None]:
    """The names of averaged weights that mmcv's EMAHook stores as buffers beside the weights: ``ema_`` and a
    parameter's name with ``_`` for its dots. In the file's order."""
    averages = [name for name in names if name.startswith(_AVERAGE)]
    own = {name.replace(".", "_") for name in names} if averages else set()
    return dict.fromkeys(name for name in averages if name.removeprefix(_AVERAGE) in own)


def readings(
    layout: LayoutTable, selection: Selection, head: str | None, *, guess: bool = False
) -> Iterator[tuple[LayoutTable, str]]:
    """The ways to read a file's names as a layout's: each a table and a prefix of all names but a named head's.

    PyTorch wrappers put an attribute's name before all names (``module.``, ``model.``, ``encoder.``, also several), so
    any common prefix is tried; with ``guess`` any that most names have. Layouts of other formats list their prefixes.
    """
    names = list(selection.names)
    tables = (layout, layout.without_backbone()) if layout.naming.backbone else (layout,)
    if layout.format != "pytorch":
        for table in tables:
            file_prefixes = (
                file_prefix
                for prefix in table.naming.prefixes
                if prefix and (file_prefix := _file_prefix(table, prefix, names))
            )
            prefix = next(file_prefixes, "")
            yield (table if head is None else with_head(table, head.removeprefix(prefix))), prefix
        return
    head_modules: Collection[str] = ()
    if head is not None:
        head_modules = _modules_called(head, selection.names)
    prefixes = [""]
    for table in tables:
        for prefix in prefixes:
            named = head is not None and not table.identity
            yield (with_head(table, _inside(prefix, str(head), head_modules)) if named else table), prefix
            if len(prefixes) == 1:  # late, since nearly all files have no prefix
                others = {*_AVERAGED, *(name for name in names if name.rpartition(".")[0] in head_modules)}
                of_network = [name for name in names if name not in others]
                prefixes += _usual_prefixes(of_network) if guess else _common_prefixes(of_network)


def with_head(layout: LayoutTable, name: str) -> LayoutTable:
    """The layout for a file that calls the head ``name``, whichever variant it holds."""
    keys = {"head"}
    for family in readable_networks(families(layout)):
        modules = load_network(family).modules
        for part in {head_part(variant) for variant in variants(family)} & modules.keys():
            if len(modules[part]) == 1:
                keys.add(modules[part][0].name)
    return layout.with_head(name, keys)


def _modules_called(name: str, names: Mapping[str, str]) -> list[str]:
    """The module with a name in the file, else those whose names end with it."""
    modules = {own.rpartition(".")[0]: inner.rpartition(".")[0] for inner, own in names.items()}
    if name in modules:
        return [modules[name]]
    return [inner for own, inner in modules.items() if own.endswith(f".{name}")]


def _inside(prefix: str, head: str, modules: Collection[str]) -> str:
    """The name without the prefix of the head that the user named: the only one of ``modules``, or that with the
    prefix."""
    name = next(iter(modules)) if len(modules) == 1 else prefix + head
    return name.removeprefix(prefix) if name.startswith(prefix) else OUTSIDE + name


def file_name(prefix: str, name: str) -> str:
    """A name in the file: with the prefix, unless it is marked as outside it."""
    return name[1:] if name.startswith(OUTSIDE) else prefix + name


def _usual_prefixes(names: list[str]) -> list[str]:
    """The prefixes that most names have, at least a third of them, and that end with a dot, the shortest first."""
    prefixes: list[str] = []
    start = ""
    while True:
        counts: dict[str, int] = {}
        for name in names:
            if name.startswith(start) and "." in name[len(start) :]:
                longer = start + name[len(start) :].partition(".")[0] + "."
                counts[longer] = counts.get(longer, 0) + 1
        start = max(counts, key=lambda prefix: counts[prefix], default="")
        if not start or 3 * counts[start] < len(names):
            return prefixes
        prefixes.append(start)


def _common_prefixes(names: list[str]) -> list[str]:
    """Every prefix of all names that ends with a dot, the shortest first."""
    first, last = min(names, default=""), max(names, default="")
    prefixes = []
    for place, (letter, last_letter) in enumerate(zip(first, last, strict=False)):
        if letter != last_letter:
            break
        if letter == ".":
            prefixes.append(first[: place + 1])
    return prefixes


def _file_prefix(layout: LayoutTable, prefix: str, names: Iterable[str]) -> str:
    """The prefix in a file that a table's ``prefix`` means: itself, or for ``*...`` the shortest before the weight of a
    convolution or a linear layer. Empty if no name has it."""
    if not prefix.startswith("*"):
        return prefix if any(name.startswith(prefix) for name in names) else ""
    endings = tuple(
        prefix[1:] + layout.parameter(kind, "weight").of(template)
        for family in families(layout)
        for lines in (layout.modules[family].common, *layout.modules[family].within.values())
        for template in lines.values()
        for kind in ("conv", "fc")
    )
    candidates = {
        name[: len(name) - len(ending) + len(prefix) - 1]
        for name in names
        for ending in endings
        if name.endswith(ending)
    }
    return min(candidates, key=lambda prefix: (len(prefix), prefix), default="")


def sort_out(layout: LayoutTable, selection: Selection, prefix: str) -> FileNames:
    """A file's names with ``prefix`` in front, by what they are to a layout."""
    drop = pattern((*layout.storage.ignore, *layout.storage.ignore_if_zero))
    wanted: dict[str, str] = {}
    dropped, counters = [], []
    for inner, name in selection.names.items():
        bare = inner.removeprefix(prefix)
        if drop and drop.fullmatch(bare):
            dropped.append(name)
        elif layout.format == "pytorch" and (bare.endswith(f".{BATCHES}") or (prefix and inner in _AVERAGED)):
            counters.append(name)
        elif prefix and bare == inner:
            wanted[OUTSIDE + inner] = name
        else:
            wanted[bare] = name
    return FileNames(wanted, (*dropped, *selection.dropped), tuple(counters), prefix)


def pattern(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    """One regular expression for several globs; None if there are none."""
    if not globs:
        return None
    return re.compile("|".join(f"(?:{re.escape(glob).replace(chr(92) + '*', '.*')})" for glob in globs))


def chosen_name(layout: LayoutTable, wanted: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    """The first of a module's names that the file has a tensor of, else the first. ``key`` is the module's."""
    leaves = {
        leaf for of_kind in layout.storage.parameters.values() for leaf in of_kind.values() if leaf.suffix
    }
    for name in choices:
        names = [leaf.of(name) for leaf in leaves]
        if "{" not in name:
            found = any(one in wanted for one in names)
        else:
            expression = re.compile("|".join(map(_filled, names)))
            found = any(expression.fullmatch(one) for one in wanted)
        if found:
            return name
    return choices[0]


def _filled(template: str) -> str:
    """A regular expression for the names that a template stands for."""
    return ".*".join(re.escape(part) for part in re.split(r"\{\w+\}", template))


def sizes_in_names(layout: LayoutTable, family: str, names: Iterable[str]) -> dict[str, int]:
    """The sizes that are part of names, such as the number of classes."""
    for template in name_templates(layout, family):
        start, _, end = template.partition("{classes}")
        expression = re.compile(f"{re.escape(start)}([1-9][0-9]{{0,8}}){re.escape(end)}_")
        for name in names:
            if match := expression.match(name):
                return {"classes": int(match[1])}
    return {}
