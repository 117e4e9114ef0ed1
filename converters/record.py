"""Frozen records with named fields: what `dataclasses` makes, without its import.

A conversion of a small file takes some 60 ms; `dataclasses` pulls in `inspect` and compiles code for every class,
which costs 12 ms of these for the records of the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """A base class: the annotated names of a subclass are its fields, what they are set to there their defaults.

    Built by keyword. Two records are equal if they are of one class and all their fields are.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """The names of a class's fields, in order."""

    def __init_subclass__(cls) -> None:
        cls.fields = (*cls.fields, *cls.__dict__.get("__annotations__", ()))  # noqa: RUF063  # inspect is slow to import

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)
        if len(values) != len(self.fields) or not self.__dict__.keys() >= {*self.fields}:
            self._complete(values)

    def _complete(self, values: dict[str, Any]) -> None:
        """Raise `TypeError` for fields that are missing or unknown."""
        for name in self.fields:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} lacks {name!r}")
        for name in values:
            if name not in self.fields:
                raise TypeError(f"{type(self).__name__} has no {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]  # fields are mappings

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in self.fields}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The record of those of some values that are its fields."""
        return cls(**{name: values[name] for name in cls.fields if name in values})

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for some fields."""
        return type(self)(**{**self.as_dict(), **changes})
