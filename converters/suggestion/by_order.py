"""Pair tensors by their order in the two files, and list those that no order pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from .alignment import align
from .nearest import beside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .alignment import Alignment
    from .state import Kind, PairingState

CHAIN = 0.9
"""The share of the shorter file's weights that must be in one order on both sides for the order to be believed."""


def pair_weights_in_order(state: PairingState) -> tuple[list[int], list[int]]:
    """Pair weights by their place in the files' order, or in the order of their names where that fits better. Returns
    the order of all tensors of both sides."""
    best: tuple[Alignment, list[int], list[int]] | None = None
    for left in state.sequences(0):
        for right in state.sequences(1):
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
    of_kind: dict[Kind, list[int]] = defaultdict(list)
    for place in rights:
        if place not in state.partners:
            of_kind[state.kind(1, place)].append(place)
    ranks, counts = _ranks(state, [place for place in lefts if place not in state.pairs])

    def scores(row: int) -> list[tuple[int, int]]:
        i = lefts[row]
        if i in state.pairs:
            j = state.pairs[i].place
            return [(columns[j], 5000)] if j in columns else []
        kind = state.kind(0, i)
        found = beside(of_kind.get(kind, ()), ranks[i], counts[kind])
        return [(columns[j], 1000 + int(10 * state.alike(i, j))) for j in found]

    return align(len(lefts), len(rights), scores)


def _ranks(state: PairingState, lefts: Sequence[int]) -> tuple[dict[int, int], Counter[Kind]]:
    """The number of each left place among those of its kind, and how many there are of each kind."""
    counts: Counter[Kind] = Counter()
    ranks = {}
    for place in lefts:
        kind = state.kind(0, place)
        ranks[place] = counts[kind]
        counts[kind] += 1
    return ranks, counts


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
    for places in state.by_key().values():
        if vectors != (bool(places[0]) and state.sides[0][places[0][0]].is_vector):
            continue
        lefts, rights = (sorted(side, key=rank.__getitem__) for side, rank in zip(places, ranks, strict=True))
        only = len(lefts) == len(rights) == 1
        for i, j in _likely(state, lefts, rights):
            if not state.free(i, j):
                continue
            values = state.sides[0][i].values
            equal = state.equal_values(i, j) and values is not None and not values.constant
            doubt = ""
            if not (equal and only):
                doubt = f"it is at a different place in the order{state.alternatives(i, j)}"
            state.take(i, j, "values" if equal else "what is left", doubt)


def _likely(state: PairingState, lefts: list[int], rights: list[int]) -> Iterator[tuple[int, int]]:
    """Possible pairs of tensors of one shape, given in the files' orders: those with the most similar names first,
    then those at the most similar places; and last, in order, what is left of more than are compared."""
    kinds: dict[Kind, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, places in enumerate((lefts, rights)):
        for number, place in enumerate(places):
            kinds[state.kind(side, place)][side].append(number)
    candidates = [
        (-round(state.alike(lefts[a], rights[b]), 6), abs(a - b), a, b)
        for ours, theirs in kinds.values()
        for rank, a in enumerate(ours)
        for b in beside(theirs, rank, len(ours))
    ]
    for *_, a, b in sorted(candidates):
        yield lefts[a], rights[b]
    for ours, theirs in kinds.values():
        left = [lefts[a] for a in ours if lefts[a] not in state.pairs]
        right = [rights[b] for b in theirs if rights[b] not in state.partners]
        yield from zip(left, right, strict=False)
