"""Pairs that values, families of names or unique shapes decide, wherever the tensors are in their files."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING

from .axes import AxisOrder, every_order, order_for, vector_order
from .name_similarity import NUMBER, natural
from .nearest import NearNumbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.mapping.axis_change import AxisChange

    from .state import PairingState

    Families = list[list[int]]


ROUGHLY = 0.01
"""How far the extremes of vectors may be apart, relative to each other, that are compared value by value."""


def pair_by_values(state: PairingState) -> None:
    """Pair tensors with the same values, up to the order of axes. Tensors of one value everywhere prove nothing."""
    groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, tensors in enumerate(state.sides):
        for place, tensor in enumerate(tensors):
            if tensor.values and tensor.values.checksum in state.shared and not tensor.values.constant:
                groups[tensor.values.checksum][side].append(place)
    uses: Counter[AxisOrder] = Counter()
    for lefts, rights in groups.values():
        if len(lefts) != 1 or len(rights) != 1:
            continue
        (i,), (j,) = lefts, rights
        vectors = state.sides[0][i].is_vector and state.sides[1][j].is_vector
        if settle_axes(state, i, j):
            found = state.exact_axes[i]
            if not vectors:
                state.keys[0][i] = state.sides[1][j].shape
                uses.update([found] if isinstance(found, AxisOrder) else [])
            state.take(i, j, "values")
    if uses:
        settled = sorted(uses, key=lambda order: -uses[order])
        state.orders = list(dict.fromkeys((*settled, *state.orders)))
        state.notes = []


def pair_by_quotients(state: PairingState) -> None:
    """Pair vectors that are equal but for the rounding of a factor, each with the only one."""
    close: dict[int, list[int]] = defaultdict(list)
    partners: Counter[int] = Counter()
    for lefts, rights in state.by_key().values():
        near = NearNumbers((_minimum(state, 1, j), j) for j in rights)
        for i in state.of_kind(0, lefts, vectors=True):
            for j in near.around(_minimum(state, 0, i), ROUGHLY):
                if _may_be_close(state, i, j) and state.hints.close(state.sides[0][i], state.sides[1][j]):
                    close[i].append(j)
                    partners[j] += 1
    for i, found in close.items():
        if len(found) == 1 == partners[found[0]]:
            state.take(i, found[0], "values")


def _minimum(state: PairingState, side: int, place: int) -> float:
    values = state.sides[side][place].values
    return values.minimum if values else nan


def _may_be_close(state: PairingState, i: int, j: int) -> bool:
    left, right = state.sides[0][i].values, state.sides[1][j].values
    if not (left and right):
        return False
    pairs = ((left.minimum, right.minimum), (left.maximum, right.maximum))
    return not left.constant and all(abs(a - b) <= ROUGHLY * abs(b) for a, b in pairs)


def settle_axes(state: PairingState, i: int, j: int) -> bool:
    """Find the change of axes that makes two tensors with the same values equal, element for element."""
    left, right = state.sides[0][i], state.sides[1][j]
    if left.is_vector and right.is_vector:
        orders = [vector_order(left.shape, right.shape)]
    else:
        usual = order_for(state.orders, left.shape, right.shape)
        orders = [usual] if usual else []
    change: AxisOrder | AxisChange | None = None
    for order in dict.fromkeys((*orders, *every_order(left.shape, right.shape))):
        if state.equal and state.equal(left, right, order):
            change = order
            break
    else:
        change = state.hints.explain(left, right)
    if change is None:
        return False
    state.exact_axes[i] = change
    return True


def pair_by_families(state: PairingState) -> None:
    """Pair names that differ in their numbers only and run through the same shapes on both sides."""
    for vectors in (False, True):
        by_shapes: dict[tuple[object, ...], tuple[Families, Families]] = defaultdict(lambda: ([], []))
        families = [_families(state, side, vectors) for side in (0, 1)]
        for side in (0, 1):
            for members in families[side]:
                by_shapes[tuple(state.keys[side][place] for place in members)][side].append(members)
        for shapes, (lefts, rights) in by_shapes.items():
            if None in shapes:
                continue
            for left, right in _same_roles(state, lefts, rights) if vectors else _only(lefts, rights):
                if len(set(shapes)) < 2 and not (_rising(left) and _rising(right)):
                    continue  # the numbers may be in any order
                places = list(zip(left, right, strict=True))
                if all(state.possible(i, j) for i, j in places):
                    for i, j in places:
                        state.take(i, j, "names")


def _families(state: PairingState, side: int, vectors: bool) -> Families:
    tensors = state.sides[side]
    families: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in state.unpaired(side):
        if tensors[place].is_vector == vectors:
            families[tuple(NUMBER.split(tensors[place].name)[::2])].append(place)
    return [
        sorted(members, key=lambda place: natural(tensors[place].name))
        for members in families.values()
        if len(members) > 1
    ]


def _only(lefts: Families, rights: Families) -> Iterator[tuple[list[int], list[int]]]:
    if len(lefts) == len(rights) == 1:
        yield lefts[0], rights[0]


def _same_roles(
    state: PairingState, lefts: Families, rights: Families
) -> Iterator[tuple[list[int], list[int]]]:
    """Families of vectors whose names show the same role, where each role occurs once."""
    roles = [
        [state.role(side, members[0]) for members in families]
        for side, families in enumerate((lefts, rights))
    ]
    for name in dict.fromkeys(roles[0]):
        if name and roles[0].count(name) == roles[1].count(name) == 1:
            yield lefts[roles[0].index(name)], rights[roles[1].index(name)]


def _rising(places: Sequence[int]) -> bool:
    return all(place < following for place, following in pairwise(places))


def pair_by_shape(state: PairingState) -> None:
    """Pair tensors that are the only ones of their shape on both sides."""
    totals = [Counter(side) for side in state.keys]
    for key, (lefts, rights) in state.by_key().items():
        alone = len(lefts) == len(rights) == totals[0][key] == totals[1][key] == 1
        if alone and state.possible(lefts[0], rights[0]):
            state.take(lefts[0], rights[0], "shape")
