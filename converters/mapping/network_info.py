"""The network in a matched file: its settings and input, from the user, the file, its provenance and the tables."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused, UsageError
from converters.record import Record

from .globs import is_for
from .layout_tables import layout_of_model, models
from .names import families
from .readable_networks import readable_variants
from .settings import parse_settings, settings_text
from .table_files import load_labels
from .variants import BN_EPS, find_variant, own_eps, own_settings, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .match import Match
    from .schema import LayoutTable, Model, OneNumber
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

    def __repr__(self) -> str:
        return f"NetworkInfo({self.variant}, {self.classes} classes, {self.channels} channels)"

    @property
    def bn_eps(self) -> float:
        """The eps that the file's variances go with; 0 in a network without batch norms."""
        eps: float = self.settings.get(BN_EPS, 0.0)
        return eps

    def with_eps(self, eps: float) -> NetworkInfo:
        """The same with another eps of its batch norms, if it has any."""
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
    declared: Mapping[str, Any] = MappingProxyType({}),
    requested: Mapping[str, object] = MappingProxyType({}),
    model: str | None = None,
) -> NetworkInfo:
    """The network in a matched file.

    A setting comes from ``requested`` (the user), else from ``declared`` (the file's own graph), else from the
    provenance record, else from the layout. ``model`` chooses one of the layout's models by name; a variant's name
    chooses none.

    Raises `UsageError` for a setting or a value that the network cannot have, `BadInput` for one in the record.
    """
    layout, variant = match.layout, match.variant
    from_user = _of_one_number(layout, variant, parse_settings(variant, requested))
    rows = _models_of(match, provenance, model)
    by_name = len(rows) == 1 and bool(rows[0].name) and rows[0].name == model
    found = _settings(match, rows, from_user)
    info = NetworkInfo(
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        classes=match.sizes["classes"],
        channels=match.sizes.get("channels", 1),
        sizes=dict(match.sizes),
        parts=dict(match.present),
        input=_input(match, rows, {**found["settings"], **from_user}),
        licence=layout.licence,
        **found,
    )
    if match.choices:
        info = info.replace(model="", choices=tuple(_choices(match, provenance, from_user)))
    recorded = (provenance or {}).get("network")
    if isinstance(recorded, dict) and recorded.get("variant") == variant.name:
        info = info.replace(
            input={**recorded["input"], **info.input} if by_name else recorded["input"],
            licence=recorded["licence"],
        )
        if not by_name:
            from_record = _recorded_settings(match, recorded["settings"], (provenance or {}).get("layout"))
            info = info.replace(
                model=recorded["model"], settings={**info.settings, **from_record}, choices=()
            )
    if not info.classes:  # without a head there is nothing to name
        input_ = {key: value for key, value in info.input.items() if key not in ("labels", "labels_notice")}
        info = info.replace(input=input_)
    from_file = {name: value for name, value in declared.items() if name in info.settings}
    return info.replace(settings={**info.settings, **from_file, **from_user})


def _of_one_number(layout: LayoutTable, variant: Variant, asked: dict[str, Any]) -> dict[str, Any]:
    """The settings that a user asks for, with those that the layout's code takes from the same number as one of them.
    Raises `UsageError` where they differ, or where it is out of its range."""
    row = layout.support_for(variant.name).one_number
    if not any(name in asked for name in row.settings):
        return asked
    number = row.number_in(asked)
    if number is None:
        wrong = settings_text(asked, [name for name in row.settings if name in asked])
        raise UsageError(f"{layout.title}'s {one_number_text(row)}, not {wrong}")
    return {**asked, **dict.fromkeys(row.settings, number)}


def one_number_text(row: OneNumber) -> str:
    """What a layout's code has one number for, and which it may be."""
    *numbers, last = row.numbers
    may_be = f"{', '.join(map(str, numbers))} or {last}"
    return f"code has one number for {' and '.join(row.settings)}, which may be {may_be}"


def _choices(match: Match, provenance: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> Iterator[str]:
    """The variants that fit a file, by the name of their only model where each has one; the models of a variant where
    these compute different things."""
    by_variant: dict[str, tuple[str, ...]] = {}
    only: dict[str, str] = {}
    for variant in readable_variants(families(match.layout)):
        if variant.name in match.choices:
            candidate = match.replace(variant=variant)
            of_variant = _models_of(candidate, provenance, None)
            by_variant[variant.name] = _settings(candidate, of_variant, asked)["choices"]
            named = [
                row.name for row in match.layout.models if row.name and is_for(row.variants, variant.name)
            ]
            only[variant.name] = named[0] if len(named) == 1 else ""
    every = all(by_variant[name] or only[name] for name in by_variant)
    for name, of_models in by_variant.items():
        yield from of_models or (only[name] if every else name,)


def _recorded_settings(match: Match, recorded: Mapping[str, Any], layout: object) -> dict[str, Any]:
    """The recorded settings of the file's weights, which were converted to ``layout``. The eps is left out if the
    layout has its own: the recorded conversion has shifted the variances to it. Raises `BadInput` for impossible
    values, and for another eps than the layout's own."""
    defaults = settings(match.variant)
    known = {name: value for name, value in recorded.items() if name in defaults}
    try:
        values = parse_settings(match.variant, known)
    except UsageError:
        raise BadInput("its provenance record is damaged", hint="convert the source again") from None
    own = own_eps(match.layout, match.variant)
    if own is not None and values.pop(BN_EPS, own) != own and layout == match.layout.name:
        raise BadInput(
            f"its provenance record says another bn_eps than {own:g}, that of its layout",
            hint="convert the source again",
        )
    return values


def require_unambiguous(info: NetworkInfo, path: str, *, option: str = "--variant") -> NetworkInfo:
    """Return ``info``. Raises `Refused` if several models with different settings fit; ``option`` chooses one."""
    if not info.choices:
        return info
    raise Refused(
        f"names and shapes fit {len(info.choices)} models that compute different things",
        path=path,
        where=", ".join(info.choices),
        hint=f"say which with {option}",
    )


def _models_of(match: Match, provenance: Mapping[str, Any] | None, model: str | None) -> list[Model]:
    """The models of the layout's table that a file may be: the requested one, else all that fit, else the first row
    without a name that fits."""
    layout = match.layout
    candidates = layout.models
    if layout.identity:
        recorded = (provenance or {}).get("network") or {}
        candidates = () if model is None and "model" in recorded else models(layout)
    rows = [row for row in candidates if is_for(row.variants, match.variant.name)]
    if named := [row for row in rows if row.name and row.name == model]:
        return named
    fitting = [
        row
        for row in rows
        if not row.if_asked and all(match.sizes[size] in allowed for size, allowed in row.sizes.items())
    ]
    return fitting if fitting and fitting[0].name else fitting[:1]


def _settings(match: Match, rows: list[Model], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The model, settings and choices of a file that may be any of the models ``rows``, which are one where the
    settings ``asked`` for are all that they differ in."""
    own = own_settings(match.layout, match.variant)
    known = {name: value for name, value in asked.items() if name in own}
    homes = [layout_of_model(match.layout, row, match.variant.name) for row in rows]
    distinct = [
        {**_with_model(own_settings(home, match.variant), row), **known}
        for home, row in zip(homes, rows, strict=True)
    ] or [own]
    named = [row.name for row in rows if row.name]
    return {
        "model": named[0] if len(named) == 1 else "",
        "settings": distinct[0],
        "choices": tuple(named) if any(values != distinct[0] for values in distinct) else (),
    }


def model_name_in(layout: LayoutTable, network: Mapping[str, Any]) -> str | None:
    """The name of a network (data of `NetworkInfo.as_data`) for ``--variant`` in ``layout``.

    This is its model or the first other model with the network's settings. It is the variant's name if the layout
    names no model of it, or none with the number that its code has for some settings, and None if all models have
    other settings.
    """
    wanted = dict(network["settings"])
    variant = find_variant(network["family"], network["variant"])
    own = own_settings(layout, variant)
    rows = [row for row in layout.models if is_for(row.variants, variant.name)]
    values_of = {row.name: _with_model(own, row) for row in rows if row.name}
    equal = [name for name, values in values_of.items() if values == wanted]
    if network["model"] in equal:
        return str(network["model"])
    if equal:
        return equal[0]
    return None if values_of and own_settings_apart(wanted, layout, variant) else variant.name


def layout_settings(
    layout: LayoutTable, variant: Variant, sizes: Mapping[str, int] | None = None, *, of_files: bool = False
) -> list[dict[str, Any]]:
    """The settings of a layout's own networks of a variant: one set for each of its models that fit ``sizes``, or one
    set if it lists no model. With ``of_files`` they are those that a file is taken for without being asked."""
    own = own_settings(layout, variant)
    rows = [
        row
        for row in layout.models
        if is_for(row.variants, variant.name)
        and (sizes is None or all(sizes[size] in allowed for size, allowed in row.sizes.items()))
    ]
    if of_files:
        rows = [row for row in rows if not row.if_asked] or rows
    return [_with_model(own, row) for row in rows] or [own]


def _with_model(own: Mapping[str, Any], row: Model) -> dict[str, Any]:
    """A layout's settings of a variant with those of one of its models."""
    return {name: row.settings.get(name, value) for name, value in own.items()}


def own_settings_apart(
    wanted: Mapping[str, Any], layout: LayoutTable, variant: Variant, sizes: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The settings of a layout's own network that differ from ``wanted``, with their values there: of that which
    differs least. One that a clip has in ``wanted`` may be any number."""
    available = layout_settings(layout, variant, sizes)
    row = layout.support_for(variant.name).one_number
    number = row.number_in(wanted, variant.table.given)
    if number is not None:
        available = [{**own, **dict.fromkeys(row.settings, number)} for own in available]
    return differing_settings(wanted, available)


def differing_settings(wanted: Mapping[str, Any], available: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that differ from ``wanted`` in the most similar of the ``available`` sets, with their values there.
    The batch-norm eps does not count, since a conversion shifts the variances."""
    differences = (
        {name: values[name] for name, value in wanted.items() if values[name] != value and name != BN_EPS}
        for values in available
    )
    return min(differences, key=len, default={})


def with_clips_of(info: NetworkInfo, layout: LayoutTable, match: Match) -> NetworkInfo:
    """The network with the number of frames that clips have in ``layout``: in its model with the most similar settings.
    Where it lists none, no number is known."""
    own = own_settings(layout, match.variant)
    rows = [
        row
        for row in layout.models
        if is_for(row.variants, match.variant.name)
        and all(match.sizes[size] in allowed for size, allowed in row.sizes.items())
    ]
    given = {
        name: value for name, value in info.input.items() if name not in ("clip", "counted_at", "again_every")
    }
    if not rows or "clip" not in info.input:
        return info.replace(input=given)
    row = min(rows, key=lambda row: len(differing_settings(info.settings, [_with_model(own, row)])))
    for name, sizes in (("clip", row.clip), ("counted_at", row.count or row.clip)):
        given[name] = [*_clip(sizes[:1], match, info.settings), *info.input[name][1:]]
    if row.again_every:
        given["again_every"] = row.again_every
    return info.replace(input=given)


def _clip(sizes: Sequence[int | str], match: Match, settings: Mapping[str, Any]) -> list[Any]:
    """A clip's sizes, each that is a word by the file's tensors or by the network's settings."""
    return [{**settings, **match.sizes}.get(str(size), size) for size in sizes]


def _of_model(match: Match, row: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A model's clip and crop."""
    described = {
        "clip": _clip(row.clip, match, settings),
        "counted_at": _clip(row.count or row.clip, match, settings),
        "counted_positions": row.count_positions,
        "frame_step": row.frame_step,
        "resize": row.resize,
    }
    return {**described, "again_every": row.again_every} if row.again_every else described


def _input(match: Match, rows: Sequence[Model], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Clip, crop and normalisation: those of the models ``rows`` where they agree, and the layout's statistics for the
    file's channels."""
    first, *others = [_of_model(match, row, settings) for row in rows] or [{}]
    described = {} if any(other != first for other in others) else first
    labels = match.layout.labels.get(str(match.sizes["classes"]))
    if labels is not None:
        described["labels"], described["labels_notice"] = load_labels(labels)
    for input_ in match.layout.preprocessing.values():
        if input_.channels == match.sizes.get("channels") and is_for(input_.variants, match.variant.name):
            return described | input_.as_data()
    return described
