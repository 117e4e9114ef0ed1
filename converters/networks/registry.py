"""The families of networks. Each is a module of `families` and is imported when it is asked for, not before."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from . import families

if TYPE_CHECKING:
    from .record import NetworkRecord


def family_names() -> tuple[str, ...]:
    """Every family, in alphabetical order. Imports none of them."""
    return tuple(sorted(module.name for module in iter_modules(families.__path__)))


def network_record(family: str) -> NetworkRecord:
    """The record of one family. Imports its module, and torch. ValueError for a family that there is not."""
    if family not in family_names():
        raise ValueError(f"unknown network family {family!r}")
    record: NetworkRecord = import_module(f"{families.__name__}.{family}").NETWORK
    return record
