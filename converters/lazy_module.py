"""Modules that annotations name and that are imported only if somebody asks what an annotation means."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """A module by name, imported when an attribute of it is asked for, as `typing.get_type_hints` does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"LazyModule({self._name!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
