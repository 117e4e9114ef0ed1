"""The settings of a network: what no tensor shows, as the network's table declares it, and the values it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import UsageError
from converters.spelling import did_you_mean, did_you_mean_or_list

from .readable_networks import readable_variants
from .table_files import network_names
from .variants import BN_EPS, declaring_tables, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .schema import NetworkTable
    from .variants import Variant

LARGEST = 64
"""The largest whole number that a setting may be: as many frames as the longest clips have."""

_WORDS = {"on": True, "off": False, "true": True, "false": False}


class Setting(NamedTuple):
    """A setting as declared: the kind of its ``default`` is that of its values. ``least`` is the smallest whole number,
    ``choices`` are the words that it may be."""

    name: str
    default: bool | int | float | str
    least: int = 0
    choices: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        """The possible values in words."""
        if self.choices:
            return " or ".join(self.choices)
        if isinstance(self.default, bool):
            return "on or off"
        if isinstance(self.default, float):
            return "a number between 0 and 1"
        return f"a whole number from {self.least} to {LARGEST}"

    def parse(self, value: object) -> Any:
        """The setting's value, from itself or from a text. Raises `ValueError` if the setting cannot have it."""
        if isinstance(self.default, str):
            if value in self.choices:
                return value
        elif isinstance(self.default, bool):
            truth = _WORDS.get(value.lower()) if isinstance(value, str) else value
            if isinstance(truth, bool):
                return truth
        elif not isinstance(value, bool) and isinstance(value, (int, float, str)):
            if isinstance(self.default, float):
                number = float(value)
                if 0 < number < 1:
                    return number
            elif not isinstance(value, float) and self.least <= int(value) <= LARGEST:
                return int(value)
        raise ValueError(f"must be {self.values}")

    def takes(self, value: object) -> bool:
        """Whether the setting may have this value."""
        try:
            self.parse(value)
        except ValueError:
            return False
        return True


def declared(variant: Variant) -> dict[str, Setting]:
    """A variant's settings by name."""
    own = settings(variant)
    by_name = {}
    for table in declaring_tables(variant):
        divisors, groups = set(_divisors(table)), {row.parts for row in table.exchanged_settings.values()}
        for name in table.settings:
            if name in own:
                least = 2 if name in groups else 1 if name in divisors else 0
                by_name[name] = Setting(name, own[name], least, table.choices.get(name, ()))
    return by_name


def _divisors(table: NetworkTable) -> Iterator[str]:
    """The settings that divide an input's axes: strides."""
    yield from table.strides
    for templates in table.modules.values():
        for template in templates:
            yield from (size for size in template.grid if isinstance(size, str))


def parse_settings(variant: Variant, asked: Mapping[str, object]) -> dict[str, Any]:
    """The values that a user asks for, by name; texts are parsed. Raises `UsageError` for a setting that the variant
    does not have, and for a value that the setting cannot have."""
    if not asked:
        return {}
    known = declared(variant)
    parsed = {}
    for name, value in asked.items():
        if name not in known:
            raise UsageError(
                f"{variant.title} has no setting {name!r}", hint=did_you_mean_or_list(name, known)
            )
        try:
            parsed[name] = known[name].parse(value)
        except ValueError:
            raise _wrong_value(known[name], value) from None
    return parsed


def check_settings(asked: Mapping[str, object]) -> None:
    """Check settings before any network is known. Raises `UsageError` for what no variant of any family takes."""
    known: dict[str, list[Setting]] = {}
    for variant in readable_variants(network_names()):
        for name, setting in declared(variant).items():
            known.setdefault(name, []).append(setting)
    for name, value in asked.items():
        if name not in known:
            raise UsageError(f"no network has a setting {name!r}", hint=did_you_mean_or_list(name, known))
        if not any(setting.takes(value) for setting in known[name]):
            raise _wrong_value(known[name][0], value)


def _wrong_value(setting: Setting, value: object) -> UsageError:
    return UsageError(
        f"{setting.name} must be {setting.values}, not {value!r}",
        hint=did_you_mean(str(value), setting.choices),
    )


def setting_text(value: object) -> str:
    """A value as a user writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_text(values: Mapping[str, object], names: Iterable[str] | None = None) -> str:
    """Settings with their values, ``pool1 = on, stem_stride = 2``: all, or those named."""
    return ", ".join(
        f"{name} = {setting_text(values[name])}" for name in (values if names is None else names)
    )


def made_up_for(variant: Variant) -> set[str]:
    """The settings that weights make up for, where a network with another value takes them."""
    return {BN_EPS, *variant.table.folded_settings, *variant.table.exchanged_settings}


def follows(variant: Variant, name: str, before: object, after: object) -> bool:
    """Whether a setting becomes that of the output's layout: weights make up for it, or a clip has what it chooses."""
    return name in made_up_for(variant) or not {before, after}.isdisjoint(variant.table.given.get(name, ()))
