"""Doubt pairs whose values do not agree, element for element, where they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axes import AxisOrder
from .flattened_axes import FlattenedAxes
from .open_axes import pairs_with_open_axes
from .rescaled import channels
from .strong_evidence import settle_axes

if TYPE_CHECKING:
    from .fingerprints import TensorFingerprint
    from .similarity import Similarity
    from .state import PairingState

_REORDERED = "both have the same values, but no order of axes explains how they are arranged"
_OTHERS_EQUAL = "its values differ, those of others are equal"
_OTHERS_SIMILAR = "its values differ, those of most others are similar"
_OTHER_ORDER = "its values differ, but are similar in this order of axes, which is not the usual one"
_FLATTENED = "its values differ, and its axis may be flattened in another order"
_OPEN_AXES = "its values differ, and its axes of equal size may be in another order"


def compare_values(state: PairingState) -> None:
    """Compare all pairs whose values were read. What is sure of the same weights is equal in every element; of other
    weights no axis can be sure that may be flattened, or could be another of its size. Where a vector is
    equal, so should be the kernels of as many channels."""
    if state.equal is None:
        return
    equal = _equal_places(state)
    same_weights = _have_same_weights(state, equal)
    equal_sizes = {size for i in equal if state.sides[0][i].is_vector for size in channels(state.sides[0][i])}
    similar = {} if same_weights else _similarities(state)
    mostly_similar = 2 * sum(found.alike or bool(found.other) for found in similar.values()) > len(similar)
    open_axes = pairs_with_open_axes(state)
    flattened = [FlattenedAxes(side) for side in state.sides]
    for i, (j, why, doubt) in list(state.pairs.items()):
        left, right = state.sides[0][i], state.sides[1][j]
        if left.values is None or right.values is None:
            continue
        new = ""
        if state.equal_values(i, j):
            arranged = left.values.constant or i in state.exact_axes or settle_axes(state, i, j)
            new = "" if arranged else _REORDERED
        elif state.hints.close(left, right):
            pass
        elif same_weights or (not left.is_vector and channels(left) & equal_sizes):
            new = _OTHERS_EQUAL
        elif i in similar and (other := similar[i].other):
            state.exact_axes[i] = other
            new = _OTHER_ORDER
        elif i in similar and mostly_similar and not similar[i].alike:
            new = _OTHERS_SIMILAR
        elif (flattened[0].may_be(left) or flattened[1].may_be(right)) and not _equal(state, i, j):
            new = _FLATTENED
        elif (i in open_axes or (i in similar and similar[i].open)) and not _equal(state, i, j):
            new = _OPEN_AXES
        if new and not doubt:
            state.take(i, j, why, new)


def _similarities(state: PairingState) -> dict[int, Similarity]:
    """How similar the kernels and matrices of each pair are, by their left places."""
    found = {}
    for i, partner in state.pairs.items():
        order, left = state.order(i, partner.place), state.sides[0][i]
        if left.values and not left.is_vector and isinstance(order, AxisOrder):
            similar = state.hints.similar(left, state.sides[1][partner.place], order)
            if similar:
                found[i] = similar
    return found


def _equal_places(state: PairingState) -> list[int]:
    """The left places of the pairs that have the same values."""
    return [
        i
        for i, partner in state.pairs.items()
        if state.equal_values(i, partner.place) and not _is_constant(state.sides[0][i])
    ]


def _have_same_weights(state: PairingState, equal: list[int]) -> bool:
    """Whether some kernel or matrix is the same in both files, or most tensors are."""
    return 2 * len(equal) > len(state.pairs) or any(not state.sides[0][i].is_vector for i in equal)


def _is_constant(tensor: TensorFingerprint) -> bool:
    return tensor.values is not None and tensor.values.constant


def _equal(state: PairingState, i: int, j: int) -> bool:
    """Whether two tensors are equal as they are paired."""
    order = state.order(i, j)
    left, right = state.sides[0][i], state.sides[1][j]
    return bool(isinstance(order, AxisOrder) and state.equal and state.equal(left, right, order))
