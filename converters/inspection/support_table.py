"""The support table: which networks there are, and which layouts hold them. Read from the tables alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.conversion.plan import differences, pool1_note
from converters.mapping.catalog import layout_names, load_layout, network_names
from converters.mapping.names import families, left_out, unstored
from converters.mapping.network_info import differing_settings, layout_settings
from converters.mapping.variants import settings, variants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant


class Support(NamedTuple):
    """One network: the sources it comes from, the layouts that hold it, and why the others cannot."""

    family: str
    variant: str
    title: str
    sources: tuple[str, ...]
    layouts: Mapping[str, str]
    refusing: Mapping[str, str]


def support_table() -> list[Support]:
    """Every network of every family."""
    sources = [load_layout(name) for name in layout_names()]
    table = []
    for family in network_names():
        for one in variants(family):
            layouts, refusing = holding_layouts(one)
            foreign = tuple(
                layout.name
                for layout in sources
                if layout.format != "pytorch"
                and family in families(layout)
                and not layout.support_for(one.name).unsupported
            )
            table.append(Support(family, one.name, one.title, foreign, layouts, refusing))
    return table


def holding_layouts(one: Variant) -> tuple[dict[str, str], dict[str, str]]:
    """The PyTorch layouts that hold a network, each with its note, and those that refuse it, with the reason.

    A source's default target stands first.
    """
    layouts: dict[str, str] = {}
    refusing: dict[str, str] = {}
    tables = [load_layout(name) for name in layout_names()]
    sources = [
        table
        for table in tables
        if table.format != "pytorch"
        and one.family in table.modules
        and not table.support_for(one.name).unsupported
    ]
    wanted = [name for table in sources for name in table.default_targets] or ["native"]
    for layout in sorted(
        tables, key=lambda table: wanted.index(table.name) if table.name in wanted else len(wanted)
    ):
        name = layout.name
        if layout.format != "pytorch":
            continue
        support_for = layout.support_for(one.name)
        if support_for.unsupported:
            refusing[name] = support_for.unsupported
        elif one.family not in families(layout):
            refusing[name] = "it has no such network"
        else:
            layouts[name] = support_for.differs or support_for.note
    return layouts, refusing


class Exactness(NamedTuple):
    """What weights of one layout are in another: ``kind`` is one of `KINDS`, ``why`` what must be known of it.
    ``pool1`` tells that the target's networks have another pool behind the stem unless they are asked for it."""

    kind: str
    why: str
    pool1: bool = False


KINDS = {
    "exact": "the same function",
    "eps": "the same function: what the batch norms' eps differ by goes into `running_var`, and is refused where that "
    "would make a variance negative",
    "settings": "the same function once the target's network is told what no weight shows, which the report names",
    "partly": "the same function, where the norms that the layout has no place for, or the statistics of norms, do "
    "nothing: else it is refused",
    "differs": "the weights load, the function is another, and the report says how",
    "refused": "the layout has no such network",
}


def exactness(one: Variant, source: LayoutTable, target: LayoutTable) -> Exactness:
    """What the tables say of weights that go from one layout to another."""
    had, has = source.support_for(one.name), target.support_for(one.name)
    if has.unsupported or one.family not in families(target):
        return Exactness("refused", has.unsupported or f"{target.title} has no such network")
    why = [] if target.identity else differences(had, has)
    if said := pool1_note(target, one.name, source.pool1(one.name)):
        why.append(said)
    text = "; ".join(why)
    default = one.table.bn_eps
    shifted = (source.eps(one.name) or default) != (target.eps(one.name) or source.eps(one.name) or default)
    if had.config != has.config and (had.differs or has.differs) and not target.identity:
        return Exactness("differs", text, bool(said))
    if left_out(target, one) - left_out(source, one) or unstored(target, one) - unstored(source, one):
        return Exactness("partly", text, bool(said))
    if told := _to_tell(one, source, target):
        if fixed := [name for name in told if name in has.fixed]:
            return Exactness("refused", f"{target.title}'s code has another {', '.join(fixed)}")
        return Exactness("settings", "; ".join((*why, ", ".join(told))), bool(said))
    return Exactness("eps" if shifted else "exact", text, bool(said))


def _to_tell(one: Variant, source: LayoutTable, target: LayoutTable) -> list[str]:
    """The settings in which a source's networks differ from a target's own, where no weight makes up for them."""
    if not settings(one) or target.identity:
        return []
    there = layout_settings(target, one)
    found = {name for wanted in layout_settings(source, one) for name in differing_settings(wanted, there)}
    return sorted(found - set(one.table.folded_settings))
