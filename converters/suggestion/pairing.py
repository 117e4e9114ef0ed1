"""Pair the tensors of two files. Each pair says why, and whether it is sure.

Evidence from strong to weak: equal values; families of names that differ in numbers only and have the same sequence of
shapes; a shape that only one tensor on each side has; the place in both files' order; and for the vectors of one module
their roles and values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .by_module import fill_rest, pair_vectors
from .by_order import pair_rest, pair_weights_in_order
from .compare_values import compare_values
from .gates import doubt_gates
from .module_names import doubt_split_modules
from .rescaled import doubt_rescaled
from .state import Hints, PairingState
from .strong_evidence import pair_by_families, pair_by_quotients, pair_by_shape, pair_by_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fingerprints import TensorFingerprint
    from .proposal import Proposal
    from .state import Equal


def propose(
    left: Sequence[TensorFingerprint],
    right: Sequence[TensorFingerprint],
    equal: Equal | None,
    hints: Hints = Hints(),  # noqa: B008  # frozen
) -> Proposal:
    """Pair the floating tensors of two files. ``equal`` compares values; it is None where they are not to be read."""
    state = PairingState(left, right, equal, hints)
    pair_by_values(state)
    pair_by_quotients(state)
    pair_by_families(state)
    pair_by_shape(state)
    orders = pair_weights_in_order(state)
    pair_rest(state, orders, vectors=False)
    pair_vectors(state, *orders)
    pair_by_shape(state)
    pair_rest(state, orders, vectors=True)
    for side in (0, 1):
        fill_rest(state, side)
    doubt_split_modules(state)
    compare_values(state)
    doubt_rescaled(state)
    doubt_gates(state)
    return state.proposal()
