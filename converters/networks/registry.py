"""The families of networks. Each is a module of `families` and is imported when it is asked for, not before."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from . import families

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layers import Network
    from .spec import ModuleShapes, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """How a family's networks are built, and what they take.

    ``inputs`` are the arguments of ``forward``, in order: ``"clip"``, [N, C, T, H, W], or ``"logmels"``,
    [N, 1, 100, 40]. Detectors take regions beside them. ``test_clip`` is a small clip of odd sizes that every network
    of the family takes; None where the input is no clip.
    """

    build: Callable[[ModuleShapes, Settings], Network]
    test_clip: tuple[int, ...] | None
    inputs: tuple[str, ...] = ("clip",)


def family_names() -> tuple[str, ...]:
    """Every family, in alphabetical order. Imports none of them."""
    return tuple(sorted(module.name for module in iter_modules(families.__path__)))


def network_record(family: str) -> NetworkRecord:
    """The record of one family. Imports its module, and torch. ValueError for a family that there is not."""
    if family not in family_names():
        raise ValueError(f"unknown network family {family!r}")
    record: NetworkRecord = import_module(f"{families.__name__}.{family}").NETWORK
    return record
