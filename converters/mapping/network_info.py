"""What a state dict cannot say about its network: eps, pools, input. From provenance, keywords or tables."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused, UsageError
from converters.record import Record

from .catalog import load_labels, models
from .globs import is_for
from .settings import parse_settings
from .variants import BN_EPS, find_variant, own_eps, own_settings, settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .match import Match
    from .schema import LayoutTable, Model
    from .variants import Variant


class NetworkInfo(Record):
    """The network in a file, beyond its tensors. Without a head it has 0 ``classes``.

    ``settings`` are what no tensor shows, as the network's table declares them. ``input`` has clip, crop and
    normalisation as plain data. ``model`` is the name of the published model, where one was asked for or no other
    fits; ``choices`` are the models that fit where these are several that compute different things.
    """

    family: str
    variant: str
    title: str
    classes: int
    channels: int
    sizes: Mapping[str, int]
    parts: Mapping[str, bool]
    input: Mapping[str, Any]
    licence: str
    model: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})
    choices: tuple[str, ...] = ()

    @property
    def bn_eps(self) -> float:
        """The eps that the file's variances go with; 0 in a network without norms."""
        found: float = self.settings.get(BN_EPS, 0.0)
        return found

    def with_eps(self, eps: float) -> NetworkInfo:
        """The same with another eps of the batch norms, where it has any."""
        if BN_EPS not in self.settings:
            return self
        return self.replace(settings={**self.settings, BN_EPS: eps})

    def as_data(self) -> dict[str, Any]:
        """Plain data for a provenance record."""
        return {**self.as_dict(), "settings": dict(self.settings), "choices": list(self.choices)}


def network_info(
    match: Match,
    provenance: Mapping[str, Any] | None,
    *,
    told: Mapping[str, Any] = MappingProxyType({}),
    asked: Mapping[str, object] = MappingProxyType({}),
    model: str | None = None,
) -> NetworkInfo:
    """The network in a matched file. Its settings are those ``asked`` for, then ``told``, what the file itself says
    beside its tensors (an ONNX graph shows some), then its provenance's, then its layout's.

    ``model`` asks for one of the layout's models by its name; the name of a network asks for nothing.

    Raises `UsageError` for a setting or a value that the network cannot have, `BadInput` for such in a provenance.
    """
    layout, variant = match.layout, match.variant
    wanted = parse_settings(variant, asked)
    rows = _rows(match, provenance, model)
    row = rows[0] if len(rows) == 1 else None
    by_name = row is not None and bool(row.name) and row.name == model
    found = NetworkInfo(
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        classes=match.sizes["classes"],
        channels=match.sizes.get("channels", 1),
        sizes=dict(match.sizes),
        parts=dict(match.present),
        input=_input(match, row),
        licence=layout.licence,
        **_settings(match, rows),
    )
    if match.choices:
        found = found.replace(choices=match.choices)
    kept = (provenance or {}).get("network")
    if isinstance(kept, dict) and kept.get("variant") == variant.name:
        found = found.replace(
            input={**kept["input"], **found.input} if by_name else kept["input"], licence=kept["licence"]
        )
        if not by_name:
            same = _recorded(match, kept["settings"])
            found = found.replace(model=kept["model"], settings={**found.settings, **same}, choices=())
    if not found.classes:  # without a head there is nothing to name
        known = {key: value for key, value in found.input.items() if key not in ("labels", "labels_notice")}
        found = found.replace(input=known)
    shown = {name: value for name, value in told.items() if name in found.settings}
    return found.replace(settings={**found.settings, **shown, **wanted})


def _recorded(match: Match, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a record says the file's weights go with. The eps is the layout's own, where it is of a
    project: its conversion took the difference into the variances. Raises `BadInput` for impossible ones."""
    own = settings(match.variant)
    known = {name: value for name, value in kept.items() if name in own}
    try:
        found = parse_settings(match.variant, known)
    except UsageError:
        raise BadInput("its provenance record is damaged", hint="convert the source again") from None
    if own_eps(match.layout, match.variant) is not None:
        found.pop(BN_EPS, None)
    return found


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
    if layout.identity:
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
    own = own_settings(match.layout, match.variant)
    distinct = [_with(own, row) for row in rows] or [own]
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
    one = find_variant(network["family"], network["variant"])
    own = own_settings(layout, one)
    rows = [row for row in layout.models if is_for(row.variants, one.name)]
    found = {row.name: _with(own, row) for row in rows if row.name}
    same = [name for name, values in found.items() if values == told]
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
    own = own_settings(layout, variant)
    rows = [
        row
        for row in layout.models
        if is_for(row.variants, variant.name)
        and (sizes is None or all(sizes[size] in allowed for size, allowed in row.sizes.items()))
    ]
    return [_with(own, row) for row in rows] or [own]


def _with(own: Mapping[str, Any], row: Model) -> dict[str, Any]:
    """A layout's settings of a variant with those of one of its models."""
    return {name: row.settings.get(name, value) for name, value in own.items()}


def differing_settings(wanted: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of ``wanted`` settings the nearest of those that a layout has are otherwise, with its values; but for the
    eps of batch norms, which goes into the variances."""
    apart = (
        {name: one[name] for name, value in wanted.items() if one[name] != value and name != BN_EPS}
        for one in held
    )
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
