"""Check what a network table refers to: parts, placeholders, columns and families. Its grammar is checked before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.networks import family_names
from converters.spelling import did_you_mean

from .parse import Fault, TableError
from .table_files import network_names
from .variants import is_detector, variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .schema import NetworkTable
    from .variants import Variant

PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SIZES = ("classes", "channels")
"""Sizes that every file's tensors show."""


def network_faults(table: NetworkTable) -> Iterator[Fault]:
    """The references of a network table that lead nowhere, and variants that cannot be expanded."""
    known = set(network_names())
    for side, row in table.compose.items():
        if row.network not in known:
            key = ("compose", side, "network")
            yield Fault(key, f"there is no family {row.network!r}", did_you_mean(row.network, known))
    if table.reference != table.family and table.reference not in family_names():
        near = did_you_mean(table.reference, family_names())
        yield Fault(("reference",), f"there is no reference network {table.reference!r}", near)
    for family in table.inflate.sources:
        if family not in known:
            key = ("inflate", "sources", family)
            yield Fault(key, f"there is no family {family!r}", did_you_mean(family, known))
    right = {*placeholders(table), *open_sizes(table), *table.settings}
    for part, templates in table.modules.items():
        for template in templates:
            words = [*PLACEHOLDER.findall(template.name), *template.shape, *template.grid]
            for word in words:
                if isinstance(word, str) and word not in right:
                    key = ("parts", part, template.name)
                    yield Fault(key, f"there is no placeholder {word!r}", did_you_mean(word, right))
    for part, condition in table.where.items():
        for column in condition:
            if column not in right:
                yield Fault(("where", part), f"there is no column {column!r}", did_you_mean(column, right))
    yield from _expansion_faults(table)


def _expansion_faults(table: NetworkTable) -> Iterator[Fault]:
    """What the expansion of a family's variants shows."""
    try:
        for variant in variants(table.family):
            is_detector(variant)
            for part, _ in variant.parts:
                if part not in table.modules and part not in table.compose:
                    near = did_you_mean(part, {*table.modules, *table.compose})
                    yield Fault(("types", str(variant.values["type"])), f"there is no part {part!r}", near)
                    return
        for variant in smallest_variants(variants(table.family)):
            names = [module.name for module in variant.modules]
            if twice := next((name for name in names if names.count(name) > 1), ""):
                yield Fault(("types", str(variant.values["type"])), f"has two modules {twice!r}")
    except TableError as error:
        if error.path != f"networks/{table.family}.toml":
            raise  # it is the error of a network that this one composes
        types = [variant.values["type"] for variant in variants(table.family) if variant.name == error.where]
        yield Fault(("types", *types), error.told.what)
    except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else str(error)
        yield Fault(("variant",), f"its variants cannot be expanded: {what}")


def placeholders(table: NetworkTable) -> set[str]:
    """The placeholders that names of a family may have."""
    names = {name for columns in table.columns.values() for name in columns}
    names |= {name for rows in (table.types, table.depths) for row in rows.values() for name in row}
    if table.index is not None:
        names |= {table.index.running, table.index.stage.name, table.index.within, "blocks"}
    return names | {"type", "depth"}


def open_sizes(table: NetworkTable) -> set[str]:
    """The sizes that a file's tensors show."""
    listed = {
        name
        for row in table.types.values()
        for name, value in row.items()
        if name not in ("depths", "columns", "blocks") and isinstance(value, list)
    }
    return {*_SIZES, *table.sizes, *listed}


def smallest_variants(known: Iterable[Variant]) -> list[Variant]:
    """One variant for every list of parts: that with the fewest blocks."""
    smallest: dict[object, Variant] = {}
    for variant in known:
        blocks = variant.values.get("blocks", ())
        first = smallest.get(variant.parts)
        if first is None or sum(blocks) < sum(first.values.get("blocks", ())):
            smallest[variant.parts] = variant
    return list(smallest.values())
