"""The support table: which networks there are, which layouts hold them, and how exact a conversion is.

Read from the tables alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.notes import differences
from converters.mapping.layout_tables import readable_layouts
from converters.mapping.names import families, left_out, unstored
from converters.mapping.network_info import layout_settings, own_settings_apart
from converters.mapping.readable_networks import readable_networks
from converters.mapping.settings import follows
from converters.mapping.table_files import network_names
from converters.mapping.variants import BN_EPS, own_eps, own_settings, variants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedNetwork:
    """One network: the source layouts it comes in, the layouts that hold it, and why the others cannot."""

    family: str
    variant: str
    title: str
    sources: tuple[str, ...]
    layouts: Mapping[str, str]
    refusing: Mapping[str, str]

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return asdict(self)


def support_table() -> list[SupportedNetwork]:
    """Every network of every family."""
    rows = []
    for family in readable_networks(network_names()):
        for variant in variants(family):
            layouts, refusing = holding_layouts(variant)
            rows.append(
                SupportedNetwork(
                    family=family,
                    variant=variant.name,
                    title=variant.title,
                    sources=source_layouts(variant),
                    layouts=layouts,
                    refusing=refusing,
                )
            )
    return rows


def source_layouts(variant: Variant) -> tuple[str, ...]:
    """The layouts of source frameworks that have a network."""
    return tuple(
        table.name
        for table in readable_layouts()
        if table.format != "pytorch"
        and variant.family in families(table)
        and not table.support_for(variant.name).unsupported
    )


def holding_layouts(variant: Variant) -> tuple[dict[str, str], dict[str, str]]:
    """The PyTorch layouts that hold a network, each with its note, and those that refuse it, each with the reason.

    A source's default target comes first.
    """
    layouts: dict[str, str] = {}
    refusing: dict[str, str] = {}
    tables = readable_layouts()
    sources = [
        table
        for table in tables
        if table.format != "pytorch"
        and variant.family in table.modules
        and not table.support_for(variant.name).unsupported
    ]
    defaults = [name for table in sources for name in table.targets_for(variant.name)] or ["native"]
    targets = [table for table in tables if table.format == "pytorch"]
    targets.sort(key=lambda table: defaults.index(table.name) if table.name in defaults else len(defaults))
    for layout in targets:
        support = layout.support_for(variant.name)
        if support.unsupported:
            refusing[layout.name] = support.unsupported
        elif variant.family not in families(layout):
            refusing[layout.name] = "it has no such network"
        else:
            layouts[layout.name] = support.differs or support.note
    return layouts, refusing


class Exactness(NamedTuple):
    """What the weights of one layout are in another: ``kind`` is one of `KINDS`, ``why`` what to know about it."""

    kind: str
    why: str


KINDS = {
    "exact": "the same function",
    "eps": "the same function: the difference in batch norm eps is folded into `running_var`; refused if that would "
    "make a variance negative",
    "clips": "the same function of the same frames, but the clip has them in another arrangement; the report says how",
    "settings": "the same function once the target's network has the settings that weights do not show; the report "
    "names them",
    "partly": "the same function if the norms, or the statistics of norms, that the layout has no place for change "
    "nothing; otherwise refused",
    "differs": "the weights load, but the function differs; the report says how",
    "refused": "the layout has no such network",
}


def exactness(
    variant: Variant, source: LayoutTable, target: LayoutTable, *, frames: int = 0, channels: int = 0
) -> Exactness:
    """What the tables say about weights that go from one layout to another. ``frames`` are those of the clips that the
    network was made for, where they are known and the clip sets what the weights do not show, ``channels`` those of its
    input; 0 says nothing."""
    before, after = source.support_for(variant.name), target.support_for(variant.name)
    if after.unsupported or variant.family not in families(target):
        return Exactness("refused", after.unsupported or f"{target.title} has no such network")
    notes = [] if target.identity else differences(before, after)
    why = "; ".join(notes)
    if before.config != after.config and (before.differs or after.differs) and not target.identity:
        return Exactness("differs", why)
    if left_out(target, variant) - left_out(source, variant) or unstored(target, variant) - unstored(
        source, variant
    ):
        return Exactness("partly", why)
    of_models = _settings_to_choose(variant, source, target, frames)
    unchangeable = {*after.fixed, *after.one_number.settings}
    held = [names for names in of_models if not names & unchangeable]
    if of_models and len(held) < len(of_models):
        fixed = sorted(set().union(*of_models) & unchangeable)
        only = "" if not held else " for some of its models"
        notes = [*notes, f"{target.title}'s code has a different {', '.join(fixed)}{only}"]
    if of_models and not held:
        return Exactness("refused", notes[-1])
    why = "; ".join(notes)
    names = sorted(set().union(*held))
    if after.channels and channels not in (0, after.channels):
        names.append("input channels")
    if names:
        return Exactness("settings", "; ".join((*notes, ", ".join(names))))
    if _takes_other_clips(variant, source, target):
        return Exactness("clips", why)
    return Exactness("eps" if _eps_differs(variant, source, target) else "exact", why)


def _takes_other_clips(variant: Variant, source: LayoutTable, target: LayoutTable) -> bool:
    """Whether the target's network chooses frames that the source's clips have of themselves, or the other way. A
    number of frames that may be the clip's own is no such choice."""
    if target.identity:
        return False
    after = layout_settings(target, variant)[0]
    chosen = [name for name, values in variant.table.given.items() if name in after and 0 not in values]
    return any(
        before[name] != after[name] and follows(variant, name, before[name], after[name])
        for before in layout_settings(source, variant, of_files=True)
        for name in chosen
    )


def _eps_differs(variant: Variant, source: LayoutTable, target: LayoutTable) -> bool:
    wanted = own_eps(target, variant)
    return wanted is not None and wanted != own_settings(source, variant).get(BN_EPS)


def _settings_to_choose(
    variant: Variant, source: LayoutTable, target: LayoutTable, frames: int
) -> list[set[str]]:
    """The settings in which each of a source's networks differs from the target's own, where weights cannot make up
    for it."""
    if target.identity:
        return []
    clips = {name: frames for name, values in variant.table.given.items() if frames and 0 in values}
    return [
        {
            name
            for name, value in own_settings_apart(before, target, variant).items()
            if not follows(variant, name, before[name], value)
        }
        for before in (_with_clips(own, clips) for own in layout_settings(source, variant, of_files=True))
    ]


def _with_clips(own: Mapping[str, Any], clips: Mapping[str, int]) -> dict[str, Any]:
    """Settings with the frames of the clips in place of 0, which leaves them to the clip."""
    return {name: value or clips.get(name, value) for name, value in own.items()}
