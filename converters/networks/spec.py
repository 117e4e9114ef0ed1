"""What a network is, as data: nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Meaning = TypeVar("Meaning")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network by the tensors it holds and by the few facts that no tensor can tell.

    ``family`` is one of ``resnet3d``, ``resnet2d_audio``, ``audiovisual``, ``c3d_bn``; ``variant`` is for
    messages only (``"ir-csn-152"``). ``shapes`` maps every canonical tensor name to its shape, without
    ``num_batches_tracked``: kernels, channels, groups, biases and the presence of an optional layer come from
    there. ``config`` holds the rest; each family's module says which keys it reads.
    """

    family: str
    variant: str
    shapes: Mapping[str, tuple[int, ...]]
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shapes:
    """The tensors under one module: a `NetworkSpec.shapes` seen from ``prefix``."""

    all: Mapping[str, tuple[int, ...]]
    prefix: str = ""

    def under(self, name: str) -> Shapes:
        """The tensors of the submodule ``name``."""
        return Shapes(self.all, f"{self.prefix}{name}.")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.all

    def __getitem__(self, name: str) -> tuple[int, ...]:
        """The shape of tensor ``name``; ValueError, with its full name, where the network has none."""
        try:
            return self.all[self.prefix + name]
        except KeyError:
            raise ValueError(f"no shape for tensor {self.prefix}{name}") from None


@dataclass(frozen=True, slots=True)
class Config:
    """`NetworkSpec.config` read with checks; every mistake is a ValueError that names the key."""

    values: Mapping[str, object]

    def integers(self, key: str, count: int) -> tuple[int, ...]:
        """A list of ``count`` positive integers."""
        value = self._get(key)
        if not isinstance(value, (list, tuple)) or len(value) != count:
            raise ValueError(f"config {key}: {count} integers expected, got {value!r}")
        if not all(type(item) is int and item > 0 for item in value):
            raise ValueError(f"config {key}: positive integers expected, got {value!r}")
        return tuple(value)

    def integer(self, key: str) -> int:
        """A positive integer."""
        value = self._get(key)
        if type(value) is not int or value < 1:
            raise ValueError(f"config {key}: a positive integer expected, got {value!r}")
        return value

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise ValueError(f"config {key}: true or false expected, got {value!r}")
        return value

    def fraction(self, key: str) -> float:
        """A number from 0 up to, but not, 1."""
        value = self._get(key)
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f"config {key}: a number from 0 to 1 expected, got {value!r}")
        return float(value)

    def choice(self, key: str, choices: Mapping[Any, Meaning]) -> Meaning:
        """What one of ``choices`` means."""
        value = self._get(key)
        if value not in choices:
            raise ValueError(f"config {key}: one of {', '.join(map(repr, choices))} expected, got {value!r}")
        return choices[value]

    def table(self, key: str) -> Config:
        """A nested table; what stands beside the tables counts in each of them, above its own."""
        value = self._get(key)
        if not isinstance(value, dict):
            raise ValueError(f"config {key}: a table expected, got {value!r}")
        beside = {name: one for name, one in self.values.items() if not isinstance(one, dict)}
        return Config({**value, **beside})

    def _get(self, key: str) -> object:
        try:
            return self.values[key]
        except KeyError:
            raise ValueError(f"config {key} is missing") from None
