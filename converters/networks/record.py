"""The record by which a family of networks is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layers import Network
    from .spec import ModuleShapes, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """How a family's networks are built, and what they take.

    ``inputs`` are the arguments of ``forward``, in order: ``"clip"``, [N, C, T, H, W], or ``"logmels"``,
    [N, 1, 100, 40]. Detectors take regions beside them. ``test_clip`` is a small clip of odd sizes that every network
    of the family takes, except those whose stem spans the whole clip; None where the input is not a clip.
    """

    build: Callable[[ModuleShapes, Settings], Network]
    test_clip: tuple[int, ...] | None
    inputs: tuple[str, ...] = ("clip",)
