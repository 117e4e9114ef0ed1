"""What a state dict cannot say about its network: eps, pools, input. From provenance, keywords or tables."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import Refused, UsageError
from converters.formats.provenance_record import LONGEST_STRIDE

from .catalog import load_labels, models
from .globs import is_for
from .schema import NOTHING
from .variants import settings, variants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .match import Match
    from .schema import LayoutTable, Model
    from .variants import Variant


class NetworkInfo(NamedTuple):
    """The network in a file, beyond its tensors. Without a head it has 0 ``classes``.

    ``bn_eps`` goes with the file's variances. ``pool1`` is the max pool after the stem, ``stem_stride`` the
    stem's stride in time. ``input`` has clip, crop and normalisation as plain data. ``model`` is the name of
    the published model, where one was asked for or no other fits, and ``settings`` what else no tensor shows;
    ``choices`` are the models that fit where these are several that compute different things.
    """

    family: str
    variant: str
    title: str
    classes: int
    channels: int
    bn_eps: float
    pool1: bool
    stem_stride: int
    sizes: Mapping[str, int]
    parts: Mapping[str, bool]
    input: Mapping[str, Any]
    licence: str
    model: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})
    choices: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Plain data for a provenance record."""
        return {**self._asdict(), "settings": dict(self.settings), "choices": list(self.choices)}


def network_info(
    match: Match,
    provenance: Mapping[str, Any] | None,
    *,
    told: Mapping[str, Any] = MappingProxyType({}),
    pool1: bool | None = None,
    stem_stride: int | None = None,
    model: str | None = None,
) -> NetworkInfo:
    """The network in a matched file. Keywords come first, then ``told``, what the file itself says beside its tensors
    (``bn_eps``, ``pool1``, ``stem_stride``), then its provenance, then its layout's table.

    ``model`` asks for one of the layout's models by its name; the name of a network asks for nothing.

    Raises `UsageError` for a stem stride that no network has.
    """
    if stem_stride is not None and not 1 <= stem_stride <= LONGEST_STRIDE:
        raise UsageError(f"a stem stride of {stem_stride} is not from 1 to {LONGEST_STRIDE}")
    layout, variant = match.layout, match.variant
    rows = _rows(match, provenance, model)
    row = rows[0] if len(rows) == 1 else None
    asked = row is not None and bool(row.name) and row.name == model
    has_stem = bool(variant.table.pool1) or bool(variant.table.compose)
    if not has_stem and (pool1 or (stem_stride or 1) != 1):
        raise UsageError(f"{variant.title} has neither pool1 nor a stem stride")
    eps = layout.eps(variant.name)
    pool = layout.support_for(variant.name).pool1 if row is None or row.pool1 is None else row.pool1
    found = NetworkInfo(
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        classes=match.sizes["classes"],
        channels=match.sizes.get("channels", 1),
        bn_eps=variant.table.bn_eps if eps is None else eps,
        pool1=bool(pool),
        stem_stride=1,
        sizes=dict(match.sizes),
        parts=dict(match.present),
        input=_input(match, row),
        licence=layout.licence,
        **_settings(match, rows),
    )
    if match.choices:
        found = found._replace(choices=match.choices)
    kept = (provenance or {}).get("network")
    if isinstance(kept, dict) and kept.get("variant") == variant.name:
        found = found._replace(
            bn_eps=float(kept["bn_eps"]) if eps is None else found.bn_eps,
            pool1=bool(kept["pool1"]),
            stem_stride=int(kept["stem_stride"]),
            input={**kept["input"], **found.input} if asked else kept["input"],
            licence=kept["licence"],
        )
        if found.settings and not asked and "settings" in kept:
            same = {name: value for name, value in kept["settings"].items() if name in found.settings}
            found = found._replace(model=kept["model"], settings={**found.settings, **same}, choices=())
    if not found.classes:  # without a head there is nothing to name
        known = {key: value for key, value in found.input.items() if key not in ("labels", "labels_notice")}
        found = found._replace(input=known)
    found = found._replace(**{key: value for key, value in told.items() if has_stem or key == "bn_eps"})
    return found._replace(
        pool1=found.pool1 if pool1 is None else pool1,
        stem_stride=found.stem_stride if stem_stride is None else stem_stride,
    )


def require_unambiguous(info: NetworkInfo, path: str, *, option: str = "--variant") -> NetworkInfo:
    """The same. Raises `Refused` where several models fit that compute different things; ``option`` chooses one."""
    if not info.choices:
        return info
    raise Refused(
        f"names and shapes fit {len(info.choices)} models that compute different things",
        path=path,
        where=", ".join(info.choices),
        hint=f"say which with {option}",
    )


def _rows(match: Match, provenance: Mapping[str, Any] | None, model: str | None) -> list[Model]:
    """What the layout's table says a file may have been made for: the model asked for, else every model that
    fits, else the first row that does."""
    layout = match.layout
    known = layout.models
    if layout.identity and settings(match.variant):
        told = (provenance or {}).get("network") or {}
        known = () if model is None and "model" in told else models(layout)
    rows = [row for row in known if is_for(row.variants, match.variant.name)]
    if asked := [row for row in rows if row.name and row.name == model]:
        return asked
    fitting = [
        row for row in rows if all(match.sizes[size] in allowed for size, allowed in row.sizes.items())
    ]
    return fitting if fitting and fitting[0].name else fitting[:1]


def _settings(match: Match, rows: list[Model]) -> dict[str, Any]:
    """Model, settings and choices of a file that ``rows`` may be of."""
    own = settings(match.variant)
    if not own:
        return {}
    held = match.layout.support_for(match.variant.name).config
    all_of = [{**held, **row.config} for row in rows] or [dict(held)]
    distinct = [{name: row.get(name, value) for name, value in own.items()} for row in all_of]
    named = [row.name for row in rows if row.name]
    return {
        "model": named[0] if len(named) == 1 else "",
        "settings": distinct[0],
        "choices": tuple(named) if any(one != distinct[0] for one in distinct) else (),
    }


def model_name_in(layout: LayoutTable, network: Mapping[str, Any]) -> str | None:
    """What ``--variant`` calls a network, as `NetworkInfo.as_data` has it, in ``layout``: its model, where that is one
    with the network's settings, else the first such, or the network's own name where the layout names no model of
    it. None where all have other settings."""
    told = dict(network["settings"])
    if not told:
        return str(network["model"])
    one = next(one for one in variants(network["family"]) if one.name == network["variant"])
    held = {**settings(one), **layout.support_for(one.name).config}
    rows = [row for row in layout.models if is_for(row.variants, one.name)]
    found = {row.name: {**held, **row.config} for row in rows if row.name}
    same = [name for name, config in found.items() if {key: config[key] for key in settings(one)} == told]
    if network["model"] in same:
        return str(network["model"])
    if found:
        return same[0] if same else None
    return one.name


def layout_settings(
    layout: LayoutTable, variant: Variant, sizes: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """The settings that a layout's own networks of a variant may have: one for each of its models that fit the sizes
    ``bound``, where it names any."""
    own = settings(variant)
    held = {**own, **layout.support_for(variant.name).config}
    configs = [
        row.config
        for row in layout.models
        if is_for(row.variants, variant.name)
        and (sizes is None or all(sizes[size] in allowed for size, allowed in row.sizes.items()))
    ]
    return [{name: {**held, **config}[name] for name in own} for config in configs or [NOTHING]]


def differing_settings(wanted: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of ``wanted`` settings the nearest of those that a layout has are otherwise, with its values."""
    apart = ({name: one[name] for name, value in wanted.items() if one[name] != value} for one in held)
    return min(apart, key=len, default={})


def _input(match: Match, row: Model | None) -> dict[str, Any]:
    """Clip, crop and normalisation: the clip a file was made for, and the statistics for its channels."""
    found: dict[str, Any] = {}
    if row is not None:
        found["clip"] = [match.sizes.get(str(size), size) for size in row.clip]
        found["counted_at"] = [match.sizes.get(str(size), size) for size in row.count or row.clip]
        found["counted_positions"] = row.count_positions
        found["frame_step"] = row.frame_step
        found["resize"] = row.resize
    labels = match.layout.labels.get(str(match.sizes["classes"]))
    if labels is not None:
        found["labels"], found["labels_notice"] = load_labels(labels)
    for input_ in match.layout.preprocessing.values():
        if input_.channels == match.sizes.get("channels") and is_for(input_.variants, match.variant.name):
            return found | input_.as_data()
    return found
