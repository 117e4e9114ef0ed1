"""Pair tensors by their order in the two files, and list those that no order pairs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from .alignment import align

if TYPE_CHECKING:
    from .alignment import Alignment
    from .state import Key, PairingState

MAX_ALIKE = 300
"""Tensors of one shape whose names are compared, each with each."""

MAX_SORTED = 1500
"""Tensors of files that are also aligned in the order of their names, not only in the file's."""

CHAIN = 0.9
"""The share of the shorter file's weights that must be in one order on both sides for the order to be believed."""


def pair_weights_in_order(state: PairingState) -> tuple[list[int], list[int]]:
    """Pair weights by their place in the files' order, or in the order of their names where that fits better. Returns
    the order of all tensors of both sides."""
    best: tuple[Alignment, list[int], list[int]] | None = None
    tries = None if max(map(len, state.sides)) <= MAX_SORTED else 1
    for left in state.sequences(0)[:tries]:
        for right in state.sequences(1)[:tries]:
            alignment = _align_weights(state, left, right)
            if best is None or alignment.score > best[0].score:
                best = (alignment, left, right)
    assert best is not None
    alignment, left, right = best
    lefts, rights = state.of_kind(0, left, vectors=False), state.of_kind(1, right, vectors=False)
    state.in_order = len(alignment.pairs) >= CHAIN * min(len(lefts), len(rights))
    for a, b in alignment.pairs:
        i, j = lefts[a], rights[b]
        if not state.free(i, j):
            continue
        if not state.in_order:
            doubt = "the two files have different orders"
        elif (a, b) not in alignment.certain:
            doubt = "the order leaves it open" + state.alternatives(i, j)
        else:
            doubt = _neighbour(state, lefts, rights, a, b)
        state.take(i, j, "order", doubt)
    return left, right


def _align_weights(state: PairingState, left: list[int], right: list[int]) -> Alignment:
    lefts, rights = state.of_kind(0, left, vectors=False), state.of_kind(1, right, vectors=False)
    columns = {place: column for column, place in enumerate(rights)}
    by_key: dict[Key | None, list[int]] = defaultdict(list)
    for place in rights:
        by_key[state.keys[1][place]].append(place)

    def scores(row: int) -> list[tuple[int, int]]:
        i = lefts[row]
        if i in state.pairs:
            j = state.pairs[i].place
            return [(columns[j], 5000)] if j in columns else []
        alike = by_key[state.keys[0][i]]
        few = len(alike) <= MAX_ALIKE
        return [
            (columns[j], 1000 + (int(10 * state.alike(i, j)) if few else 0))
            for j in alike
            if j not in state.partners and state.possible(i, j)
        ]

    return align(len(lefts), len(rights), scores)


def _neighbour(state: PairingState, lefts: list[int], rights: list[int], a: int, b: int) -> str:
    """The doubt about a pair whose neighbour has the same shape: they could be exchanged."""
    i, j = lefts[a], rights[b]
    for step in (-1, 1):
        if not (0 <= a + step < len(lefts) and 0 <= b + step < len(rights)):
            continue
        left, right = lefts[a + step], rights[b + step]
        if state.keys[0][left] != state.keys[0][i] or state.keys[1][right] != state.keys[1][j]:
            continue
        if left in state.pairs and not state.pairs[left].doubt and state.pairs[left].why != "order":
            continue
        straight = state.alike(i, j) + state.alike(left, right)
        if straight <= state.alike(i, right) + state.alike(left, j):
            name = state.sides[1][right].name
            return f"only the order distinguishes it from its neighbour {name!r} of the same shape"
    return ""


def pair_rest(state: PairingState, orders: tuple[list[int], list[int]], *, vectors: bool) -> None:
    """Pair what no order placed: within one shape by the likeness of names, then by order. Sure only where values are
    equal and nothing else is left."""
    ranks = [{place: number for number, place in enumerate(order)} for order in orders]
    for lefts, rights in state.by_key().values():
        if vectors != (bool(lefts) and state.sides[0][lefts[0]].is_vector):
            continue
        candidates = [
            (-round(state.alike(i, j), 6), abs(a - b), ranks[0][i], ranks[1][j], i, j)
            for a, i in enumerate(sorted(lefts, key=ranks[0].__getitem__))
            for b, j in enumerate(sorted(rights, key=ranks[1].__getitem__))
            if state.possible(i, j)
        ]
        only = len(lefts) == len(rights) == 1
        for *_, i, j in sorted(candidates):
            if not state.free(i, j):
                continue
            values = state.sides[0][i].values
            equal = state.equal_values(i, j) and values is not None and not values.constant
            doubt = ""
            if not (equal and only):
                doubt = f"it is at a different place in the order{state.alternatives(i, j)}"
            state.take(i, j, "values" if equal else "what is left", doubt)
