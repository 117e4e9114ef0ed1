"""What a network is, as data: nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Meaning = TypeVar("Meaning")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network by the shapes of its tensors and by its settings, which no tensor shows.

    ``family`` is the name of a module of `converters.networks.families`; ``variant`` is for messages only
    (``"ir-csn-152"``). ``shapes`` maps every canonical tensor name to its shape, without ``num_batches_tracked``:
    kernels, channels, groups, biases and the presence of an optional layer come from there. ``settings`` hold the
    rest: ``bn_eps``, of every batch norm, and what the family's module says that it reads.
    """

    family: str
    variant: str
    shapes: Mapping[str, tuple[int, ...]]
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModuleShapes:
    """The shapes of the tensors in one module: a `NetworkSpec.shapes` seen from ``prefix``."""

    all: Mapping[str, tuple[int, ...]]
    prefix: str = ""

    def under(self, name: str) -> ModuleShapes:
        """Those of the submodule ``name``."""
        return ModuleShapes(self.all, f"{self.prefix}{name}.")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.all

    def __getitem__(self, name: str) -> tuple[int, ...]:
        """The shape of tensor ``name``; ValueError, with its full name, where the network has none."""
        try:
            return self.all[self.prefix + name]
        except KeyError:
            raise ValueError(f"no shape for tensor {self.prefix}{name}") from None


@dataclass(frozen=True, slots=True)
class Settings:
    """`NetworkSpec.settings` read with checks; every mistake is a ValueError that names the setting."""

    values: Mapping[str, object]

    @property
    def bn_eps(self) -> float:
        """The eps of every batch norm."""
        return self.fraction("bn_eps")

    def or_else(self, **defaults: object) -> Settings:
        """The same with ``defaults`` for what is not set."""
        return Settings({**defaults, **self.values})

    def integers(self, name: str, count: int) -> tuple[int, ...]:
        """A list of ``count`` positive integers."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)) or len(value) != count:
            raise ValueError(f"setting {name}: expected {count} integers, got {value!r}")
        if not all(type(item) is int and item > 0 for item in value):
            raise ValueError(f"setting {name}: expected positive integers, got {value!r}")
        return tuple(value)

    def integer(self, name: str) -> int:
        """A positive integer."""
        value = self._get(name)
        if type(value) is not int or value < 1:
            raise ValueError(f"setting {name}: expected a positive integer, got {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise ValueError(f"setting {name}: expected true or false, got {value!r}")
        return value

    def fraction(self, name: str) -> float:
        """A number from 0 up to, but not including, 1."""
        value = self._get(name)
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f"setting {name}: expected a number from 0 to 1, got {value!r}")
        return float(value)

    def choice(self, name: str, choices: Mapping[Any, Meaning]) -> Meaning:
        """What the value, one of ``choices``, means."""
        value = self._get(name)
        if value not in choices:
            raise ValueError(
                f"setting {name}: expected one of {', '.join(map(repr, choices))}, got {value!r}"
            )
        return choices[value]

    def table(self, name: str, *inherited: str) -> Settings:
        """A nested table of settings, to which those called ``inherited`` are passed on."""
        value = self._get(name)
        if not isinstance(value, dict):
            raise ValueError(f"setting {name}: expected a table, got {value!r}")
        return Settings({key: self.values[key] for key in inherited if key in self.values} | value)

    def _get(self, name: str) -> object:
        try:
            return self.values[name]
        except KeyError:
            raise ValueError(f"setting {name} is missing") from None
