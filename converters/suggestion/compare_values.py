"""Doubt pairs whose values do not agree, element for element, where they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axes import AxisOrder
from .open_axes import pairs_with_open_axes
from .strong_evidence import settle_axes

if TYPE_CHECKING:
    from collections.abc import Callable

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
    weights a flattened axis cannot be sure."""
    if state.equal is None:
        return
    same_weights = _have_same_weights(state)
    similar = {} if same_weights else _similarities(state)
    mostly_similar = 2 * sum(found.alike or bool(found.other) for found in similar.values()) > len(similar)
    open_axes = pairs_with_open_axes(state)
    inputs = [_flattened_inputs(state, side) for side in (0, 1)]
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
        elif same_weights:
            new = _OTHERS_EQUAL
        elif i in similar and (other := similar[i].other):
            state.exact_axes[i] = other
            new = _OTHER_ORDER
        elif i in similar and mostly_similar and not similar[i].alike:
            new = _OTHERS_SIMILAR
        elif (inputs[0](left) or inputs[1](right)) and not _equal(state, i, j):
            new = _FLATTENED
        elif i in open_axes and not (i in similar and similar[i].alike) and not _equal(state, i, j):
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


def _have_same_weights(state: PairingState) -> bool:
    """Whether some kernel or matrix is the same in both files, or most tensors are."""
    equal = [
        i
        for i, partner in state.pairs.items()
        if state.equal_values(i, partner.place) and not _is_constant(state.sides[0][i])
    ]
    return 2 * len(equal) > len(state.pairs) or any(not state.sides[0][i].is_vector for i in equal)


def _is_constant(tensor: TensorFingerprint) -> bool:
    return tensor.values is not None and tensor.values.constant


def _equal(state: PairingState, i: int, j: int) -> bool:
    """Whether two tensors are equal as they are paired."""
    order = state.order(i, j)
    left, right = state.sides[0][i], state.sides[1][j]
    return bool(isinstance(order, AxisOrder) and state.equal and state.equal(left, right, order))


def _flattened_inputs(state: PairingState, side: int) -> Callable[[TensorFingerprint], bool]:
    """Whether a matrix has inputs that no other tensor of its file puts out: they may be a flattened volume. What is
    beside a square matrix may be its own bias, and the first of several square ones takes its inputs from elsewhere."""
    tensors = state.sides[side]
    vectors = {max(tensor.shape, default=1) for tensor in tensors if tensor.is_vector}
    shapes = [_plain(tensor.shape) for tensor in tensors if not tensor.is_vector]
    first = sum(shape[0] in vectors for shape in shapes) >= sum(shape[-1] in vectors for shape in shapes)
    not_square = {shape[0 if first else -1] for shape in shapes if len(shape) != 2 or shape[0] != shape[1]}
    outputs = vectors | {shape[0 if first else -1] for shape in shapes}

    def may_be_flattened(tensor: TensorFingerprint) -> bool:
        shape = _plain(tensor.shape)
        size = shape[-1 if first else 0]
        composite = any(size % factor == 0 for factor in range(2, int(size**0.5) + 1))
        square = len(shape) == 2 and shape[0] == shape[1]
        return len(shape) == 2 and composite and size not in (not_square if square else outputs)

    return may_be_flattened


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1) or (1,)
