"""A proposal: which tensor of one file corresponds to which of the other, why, and which others come close."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.mapping.axis_change import AxisChange

    from .fingerprints import TensorFingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedPair:
    """``axes`` is None where they stay as they are. ``why`` is the evidence in a word; ``doubt`` says what else it
    could be, and is empty where the pair is sure. ``over`` and ``times`` name factors, as mapping files do."""

    left: TensorFingerprint
    right: TensorFingerprint
    axes: AxisChange | None
    why: str
    doubt: str = ""
    over: str = ""
    times: str = ""


class FilledTensor(NamedTuple):
    """A tensor that only one side stores, with its one value; ``like`` names a tensor of that side with its shape."""

    tensor: TensorFingerprint
    value: float
    like: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """All pairs in the right file's order, what is left over on both sides, and notes."""

    pairs: tuple[ProposedPair, ...]
    left_filled: tuple[FilledTensor, ...]
    right_filled: tuple[FilledTensor, ...]
    left_over: tuple[TensorFingerprint, ...]
    right_over: tuple[TensorFingerprint, ...]
    notes: tuple[str, ...]


def reasons_text(reasons: Iterable[str]) -> str:
    """How often each reason occurs, the most frequent first: ``189 by names, 30 by shape``."""
    counts = sorted(Counter(reasons).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} by {reason}" for reason, number in counts)
