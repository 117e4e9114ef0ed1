"""Check what a layout table refers to: families, parts, modules, placeholders, patterns, settings, other layouts. Its
grammar is checked before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from converters.spelling import did_you_mean

from .expand import expand_groups
from .globs import glob_matches, is_for
from .names import CannotHold, families, tensor_slots
from .network_checks import PLACEHOLDER, open_sizes, placeholders, smallest_variants
from .network_tables import load_network
from .parse import Fault
from .readable_networks import readable_networks
from .storage import DIVISOR
from .table_files import labels_path, layout_names, network_names
from .variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .parse import Key
    from .schema import LayoutFile, LayoutTable, NetworkTable
    from .variants import Variant


def _named_layouts(file: LayoutFile) -> Iterator[tuple[Key, str]]:
    """The layouts that a layout table names, each with its place."""
    for word in ("default_targets", "also_reads"):
        for place, name in enumerate(getattr(file, word)):
            yield (word, place), name
    for place, row in enumerate(file.supports):
        for name in row.default_targets:
            yield ("supports", place, "default_targets"), name


def layout_faults(file: LayoutFile, table: LayoutTable) -> Iterator[Fault]:
    """The references of a layout table that lead nowhere, rows that are never reached, names that two tensors get."""
    names = layout_names()
    for count, labels in file.labels.items():
        if not os.path.isfile(labels_path(labels)):
            yield Fault(("labels", count), f"there are no labels {labels!r}")
    for key, name in _named_layouts(file):
        if name not in names:
            yield Fault(key, f"there is no layout {name!r}", did_you_mean(name, names))
    unknown = [family for family in file.modules if family not in network_names()]
    for family in unknown:
        near = did_you_mean(family, network_names())
        yield Fault(("modules", family), f"there is no family {family!r}", near)
    readable = readable_networks(family for family in families(table) if family not in unknown)
    faults = [
        fault
        for family in readable
        if family in file.modules
        for fault in _name_faults(file, load_network(family))
    ]
    yield from faults
    if unknown:
        return
    for place, row in enumerate(file.tensor):
        if row.family not in table.modules:
            near = did_you_mean(row.family, table.modules)
            yield Fault(("tensor", place, "family"), f"there is no family {row.family!r}", near)
    if len(readable) < len(families(table)):
        return  # the rest is about all networks together, and a network table is broken
    yield from _rank_faults(file, table)
    of_layout = [variant for family in families(table) for variant in variants(family)]
    yield from _glob_faults(file, of_layout)
    yield from _unreachable_rows(file, of_layout)
    yield from _setting_faults(file, of_layout)
    if not faults:
        faults = [*_doubled_names(file, table)]
        yield from faults or (*_twice_faults(file, table), *_order_faults(file, table))


def _lines(file: LayoutFile, family: str) -> Iterator[tuple[Key, str, str, str]]:
    """The lines of a family's modules in a layout's file: the key, the part that they are for, the module and its
    name. Their grammar has been checked."""
    table: Mapping[str, object] = file.modules[family]
    within = table.get("in")
    scopes: list[tuple[str, Mapping[str, object]]] = [("", table)]
    scopes += within.items() if isinstance(within, dict) else ()
    for part, lines in scopes:
        for name, value in lines.items():
            if name in ("same_as", "in") and not part:
                continue
            key: Key = ("modules", family, *(("in", part) if part else ()), name)
            for text in value if isinstance(value, list) else [str(value)]:
                for module, own in expand_groups(key, name, text):
                    yield key, part, module, own


def _name_faults(file: LayoutFile, network: NetworkTable) -> Iterator[Fault]:
    """Parts, modules and placeholders of one family's names."""
    modules = {part: {line.name for line in lines} for part, lines in network.modules.items()}
    every = {name for names in modules.values() for name in names} | {f"{side}." for side in network.compose}
    right = {*placeholders(network), *open_sizes(network), *file.letters}
    wrong: set[object] = set()
    for key, part, module, name in _lines(file, network.family):
        if part and part not in modules:
            if part not in wrong:
                yield Fault(key[:-1], f"there is no part {part!r}", did_you_mean(part, modules))
            wrong.add(part)
            continue
        known = modules[part] if part else every
        if key in wrong:
            continue
        if module not in known:
            wrong.add(key)
            what = f"there is no module {module!r} in {part or network.family}"
            yield Fault(key, what, did_you_mean(module, known))
        for word in PLACEHOLDER.findall(name):
            if word not in right:
                wrong.add(key)
                yield Fault(key, f"there is no placeholder {word!r}", did_you_mean(word, right))


def _rank_faults(file: LayoutFile, table: LayoutTable) -> Iterator[Fault]:
    """Axes that are not as many as a module has."""
    for kind, given in file.parameters.items():
        for name in given:
            stored = table.storage.parameters[kind][name]
            rank = stored.rank
            if rank is None:
                continue
            right = {rank} if stored.missing is None else {rank, rank - 1}
            for family in table.modules:
                wrong = _other_rank(load_network(family), kind, name, right)
                if wrong:
                    yield Fault(("parameters", kind, name), f"names {rank} axes, but {wrong}")


def _other_rank(network: NetworkTable, kind: str, name: str, right: set[int]) -> str:
    """A module of a kind whose tensor has a number of axes that is not right, in words; empty if none has."""
    for templates in network.modules.values():
        for template in templates:
            if template.kind.removesuffix("+bias") == kind:
                axes = len(template.shape) if name == "weight" and kind != "bn" else 1
                if axes not in right:
                    return f"{template.name} of {network.family} has {axes}"
    return ""


def _rows(file: LayoutFile) -> Iterator[tuple[Key, tuple[str, ...]]]:
    """The rows that are for some variants."""
    for place, row in enumerate(file.supports):
        yield ("supports", place), row.variants
    for place, further in enumerate(file.twice):
        yield ("twice", place), further.variants
    for place, model in enumerate(file.models):
        yield ("models", place), model.variants
    for name, input_ in file.preprocessing.items():
        yield ("preprocessing", name), input_.variants


def _glob_faults(file: LayoutFile, known: Iterable[Variant]) -> Iterator[Fault]:
    """Patterns that match no variant."""
    names = [variant.name for variant in known]
    if not names:
        return
    patterns = {*names, *(f"{variant.values['type']}-*" for variant in known)}
    for key, globs in _rows(file):
        for glob in globs:
            if glob != "*" and not any(is_for((glob,), name) for name in names):
                near = did_you_mean(glob, patterns)
                yield Fault((*key, "variants"), f"{glob!r} matches no variant", near)


def _unreachable_rows(file: LayoutFile, known: Iterable[Variant]) -> Iterator[Fault]:
    """Rows that never count, as earlier ones match all of their variants."""
    names = [variant.name for variant in known]
    rows: dict[str, list[tuple[Key, tuple[str, ...]]]] = {}
    for place, row in enumerate(file.supports):
        rows.setdefault("supports", []).append((("supports", place), row.variants))
    for place, model in enumerate(file.models):
        if not model.name and not model.sizes:
            rows.setdefault("models", []).append((("models", place), model.variants))
    for name, input_ in file.preprocessing.items():
        rows.setdefault(f"input {input_.channels}", []).append((("preprocessing", name), input_.variants))
    for alike in rows.values():
        taken: dict[str, Key] = {}
        for key, globs in alike:
            matched = [name for name in names if is_for(globs, name)]
            if matched and all(name in taken for name in matched):
                first = taken[matched[0]]
                what = f"is never reached: earlier rows, such as number {first[1]!r}, match all its variants"
                yield Fault((*key, "variants"), what, f"did you mean to put it before row {first[1]!r}?")
            for name in matched:
                taken.setdefault(name, key)


def _setting_faults(file: LayoutFile, known: Iterable[Variant]) -> Iterator[Fault]:
    """Settings and sizes that the networks do not have."""
    rows: list[tuple[Key, tuple[str, ...], str, Iterable[str]]] = []
    rows.append((("settings",), ("*",), "setting", file.settings))
    for place, row in enumerate(file.supports):
        rows.append((("supports", place, "settings"), row.variants, "setting", row.settings))
        rows.append((("supports", place, "config"), row.variants, "option", row.config))
        rows.append((("supports", place, "fixed"), row.variants, "setting", row.fixed))
        numbered = ("supports", place, "one_number", "settings")
        rows.append((numbered, row.variants, "setting", row.one_number.settings))
    for place, scope in enumerate(file.scopes):
        rows.append((("scopes", place, "sizes"), ("*",), "size", scope.sizes))
    for place, model in enumerate(file.models):
        rows.append((("models", place, "settings"), model.variants, "setting", model.settings))
        rows.append((("models", place, "sizes"), model.variants, "size", model.sizes))
    for key, globs, thing, words in rows:
        tables = {variant.family: variant.table for variant in known if is_for(globs, variant.name)}
        right: set[str] = set()
        for table in tables.values():
            right |= {"size": open_sizes(table), "option": {*table.options}}.get(thing, {*table.settings})
        for word in words:
            if tables and word not in right:
                at = (*key, word) if not {"fixed", "one_number"} & {*key} else key
                yield Fault(at, f"there is no {thing} {word!r}", did_you_mean(word, right))


def _doubled_names(file: LayoutFile, table: LayoutTable) -> Iterator[Fault]:
    """Tensors of one network that get the same name, and modules that get none."""
    for family in table.modules:
        supported = [
            variant for variant in variants(family) if not table.support_for(variant.name).unsupported
        ]
        for variant in smallest_variants(supported):
            yield from _variant_faults(file, table, variant)


def _variant_faults(file: LayoutFile, table: LayoutTable, variant: Variant) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    sizes = dict.fromkeys((*open_sizes(variant.table), "classes"), 1)
    try:
        for slot in tensor_slots(table, variant, sizes, {"blending": True}):
            if not slot.name or slot.leaf == DIVISOR:
                continue
            if slot.name in seen:
                what = (
                    f"gives {slot.canonical} the name of {seen[slot.name]}, {slot.name!r}, in {variant.name}"
                )
                yield Fault(_line_of_module(file, variant.family, slot.key), what)
                return
            seen[slot.name] = slot.canonical
    except CannotHold as error:
        what = f"has no name for {error} of {variant.name}"
        yield Fault(("modules", variant.family), what, "name it, or list the variant as unsupported")


def _twice_faults(file: LayoutFile, table: LayoutTable) -> Iterator[Fault]:
    """Further names that no tensor gets, and those that do not lead back to its own name."""
    for place, row in enumerate(table.naming.twice if file.twice else ()):
        names: set[str] = set()
        for variant in (one for family in table.modules for one in variants(family)):
            further = table.further_names(variant.name)
            unsupported = table.support_for(variant.name).unsupported
            if further is None or unsupported or not is_for(row.variants, variant.name):
                continue
            sizes = dict.fromkeys((*open_sizes(variant.table), "classes"), 1)
            slots = {slot.name: slot.canonical for slot in tensor_slots(table, variant, sizes, {})}
            own = {further.first(name): canonical for name, canonical in slots.items()}
            if len(own) != len({*slots.values()}):
                what = f"does not lead from the further names in {variant.name} to one name of each tensor"
                yield Fault(("twice", place), what, "put a line behind those that give its further name")
                return
            names |= slots.keys()
        for line in row.names:
            if not any(glob_matches(line, name) for name in names):
                yield Fault(("twice", place), f"{line!r} is the further name of no tensor")


def _order_faults(file: LayoutFile, table: LayoutTable) -> Iterator[Fault]:
    """Families without names in an order, and words that are in no name."""
    for family, words in file.order.items():
        if family not in table.modules:
            near = did_you_mean(family, table.modules)
            yield Fault(("order", family), f"there is no family {family!r}", near)
            continue
        known: set[str] = set()
        for variant in variants(family):
            if not table.support_for(variant.name).unsupported:
                sizes = dict.fromkeys((*open_sizes(variant.table), "classes"), 1)
                for slot in tensor_slots(table, variant, sizes, {}):
                    known.update(slot.name.split("."))
        for place, word in enumerate(words):
            if not any(glob_matches(word, one) for one in known):
                yield Fault(("order", family, place), f"{word!r} is in no name", did_you_mean(word, known))


def _line_of_module(file: LayoutFile, family: str, module: str) -> Key:
    """The last line that names a module."""
    keys = [key for key, _, own, _ in _lines(file, family) if own == module] if family in file.modules else []
    return keys[-1] if keys else ("modules", family)
