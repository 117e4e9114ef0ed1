"""The record by which a project's networks in their own framework are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .net import Shape, SourceNet


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """The networks of one project in its own framework.

    ``recognise`` takes the shapes of a file's tensors by name, and settings; it returns the network, None where the
    names are not this project's, and raises `Refused` where the names are its own but do not make a network. Of all
    records at most one takes a file. ``layouts`` are those whose files it takes.

    ``test_clips`` are small clips [N, C, T, H, W] of odd sizes, by family, where this project's networks need larger
    ones than the reference network does.
    """

    layouts: tuple[str, ...]
    recognise: Callable[[Mapping[str, Shape], Mapping[str, Any]], SourceNet | None]
    test_clips: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
