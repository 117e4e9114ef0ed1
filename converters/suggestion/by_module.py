"""Pair vectors: those of a module follow or precede its weight; roles, values and order distinguish them."""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from .alignment import align
from .by_order import CHAIN
from .name_similarity import likeness, words
from .nearest import around, beside
from .proposal import FilledTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .state import Key, PairingState

    Run = list[int]

MAX_SLOTS = 6
"""Vectors of one module whose every assignment is tried."""

BESIDE = 0.5
"""The share of a file's weights that must have vectors beside them for its order to tell modules, where the weights of
both files are in one order."""

_OPEN = "the order does not determine its module"


class _RunPair(NamedTuple):
    """The vectors of one module on both sides; ``doubt`` is the doubt that it is one module."""

    left: Run
    right: Run
    doubt: str


def pair_vectors(state: PairingState, left: list[int], right: list[int]) -> None:
    """Pair the vectors of modules, given the order of all tensors: runs beside paired weights, then runs in order."""
    runs = [_runs(state, 0, left), _runs(state, 1, right)]
    pairs = _pair_runs(state, (left, right), runs)
    lengths = [Counter(len(run) for run in side if len(run) > 1).most_common(1) for side in runs]
    usual = tuple(most[0][0] if most else 1 for most in lengths)
    groups: dict[tuple[int, int], list[_RunPair]] = defaultdict(list)
    for pair in pairs:
        groups[len(pair.left), len(pair.right)].append(pair)
    for group in groups.values():
        _assign(state, [pair for pair in group if not _pair_by_roles(state, pair)], usual)
    loose = [_sizes(state, side, state.unpaired(side)) for side in (0, 1)]
    for pair in pairs:
        _fill(state, pair, loose)


def _pair_runs(
    state: PairingState, orders: tuple[list[int], list[int]], runs: list[list[Run]]
) -> list[_RunPair]:
    beside = [_beside(state, side, orders[side], runs[side]) for side in (0, 1)]
    weights = [len(state.of_kind(side, orders[side], vectors=False)) for side in (0, 1)]
    share = BESIDE if state.in_order else CHAIN
    in_order = all(len(beside[side]) >= share * weights[side] for side in (0, 1))
    pairs: list[_RunPair] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for weight, number in beside[0].items():
        partner = state.pairs.get(weight)
        match = beside[1].get(partner.place, -1) if partner else -1
        if partner and match >= 0:
            left, right = runs[0][number], runs[1][match]
            if state.keys[0][left[0]] == state.keys[1][right[0]]:
                pairs.append(_RunPair(left, right, partner.doubt or ("" if in_order else _OPEN)))
                used[0].add(number)
                used[1].add(match)
    rest = [[run for number, run in enumerate(runs[side]) if number not in used[side]] for side in (0, 1)]
    sizes = [[state.keys[side][run[0]] for run in rest[side]] for side in (0, 1)]
    doubt = "" if sizes[0] == sizes[1] else _OPEN
    return pairs + [_RunPair(rest[0][a], rest[1][b], doubt) for a, b in _align_runs(state, rest, sizes)]


def _align_runs(
    state: PairingState, runs: Sequence[Sequence[Run]], sizes: Sequence[Sequence[Key | None]]
) -> tuple[tuple[int, int], ...]:
    """Pair runs of one size in order, best those whose members are paired already."""
    of_size: tuple[dict[Key | None, list[int]], ...] = (defaultdict(list), defaultdict(list))
    ranks: list[int] = []
    for side in (0, 1):
        for number, size in enumerate(sizes[side]):
            ranks += [len(of_size[0][size])] if side == 0 else []
            of_size[side][size].append(number)
    owner = {place: number for number, run in enumerate(runs[1]) for place in run}

    def scores(row: int) -> list[tuple[int, int]]:
        size = sizes[0][row]
        members = Counter(owner.get(state.pairs[i].place) for i in runs[0][row] if i in state.pairs)
        columns = beside(of_size[1][size], ranks[row], len(of_size[0][size]))
        return [(column, 1000 + 100 * members[column]) for column in columns]

    return align(len(runs[0]), len(runs[1]), scores).pairs


def _runs(state: PairingState, side: int, places: Sequence[int]) -> list[Run]:
    """Vectors of one size that follow each other, cut where a role occurs again, and to the length of the shortest run
    where all lengths are multiples of it."""
    tensors = state.sides[side]
    runs: list[Run] = []
    last: Key | None = None
    seen: set[str] = set()
    vectors = state.of_kind(side, places, vectors=True)
    with_role = sum(bool(state.role(side, place)) for place in vectors)
    use_roles = with_role >= CHAIN * len(vectors)
    for place in places:
        key = state.keys[side][place] if tensors[place].is_vector else None
        name = state.role(side, place) if use_roles else ""
        if key is not None and key == last and name not in seen:
            runs[-1].append(place)
        elif key is not None:
            runs.append([place])
            seen = set()
        seen |= {name} - {""}
        last = key
    shortest = min((len(run) for run in runs if len(run) > 1), default=1)
    if all(len(run) % shortest == 0 for run in runs if len(run) > 1):
        runs = [run[at : at + shortest] for run in runs for at in range(0, len(run), shortest)]
    return runs


def _beside(state: PairingState, side: int, places: Sequence[int], runs: list[Run]) -> dict[int, int]:
    """The number of the run beside each weight: after it, or before it where that fits more weights of the file."""
    tensors = state.sides[side]
    positions = {place: position for position, place in enumerate(places)}
    choices: list[dict[int, int]] = []
    for before in (False, True):
        choice: dict[int, int] = {}
        for number, run in enumerate(runs):
            position = positions[run[-1]] + 1 if before else positions[run[0]] - 1
            if not 0 <= position < len(places):
                continue
            weight = places[position]
            key, size = state.keys[side][weight], state.keys[side][run[0]]
            if not tensors[weight].is_vector and key is not None and size is not None and key[0] == size[0]:
                choice[weight] = number
        choices.append(choice)
    return max(choices, key=len)


def _pair_by_roles(state: PairingState, pair: _RunPair) -> bool:
    """Pair the vectors of one module by their roles, if every name on both sides shows a different one."""
    roles = [{state.role(side, place): place for place in run} for side, run in enumerate(pair[:2])]
    if any("" in side or len(side) != len(run) for side, run in zip(roles, pair[:2], strict=True)):
        return False
    for name, i in roles[0].items():
        j = roles[1].get(name, -1)
        if j >= 0 and state.free(i, j) and state.possible(i, j):
            state.take(i, j, "names", pair.doubt)
    return True


def _assign(state: PairingState, group: list[_RunPair], usual: tuple[int, ...]) -> None:
    """Decide which vector of a module is which, for all modules with as many vectors together. ``usual`` is how many
    vectors most modules of each side have."""
    if not group:
        return
    turned = len(group[0].left) > len(group[0].right)
    few, many = sorted((len(group[0].left), len(group[0].right)))
    evidence = _evidence(state, group, few, many, turned=turned)
    # Where nothing else decides, the order does; and what is left out is what comes first, a batch norm's scale.
    rising = _rising_pairs if len(evidence) > 1 else len
    best = max(evidence, key=lambda choice: (evidence[choice], rising(choice), choice))
    near = [choice for choice in evidence if evidence[best] - evidence[choice] < 5 * len(group)]
    for pair in group:
        lengths = zip((len(pair.left), len(pair.right)), usual, strict=True)
        doubt = pair.doubt
        if not doubt and any(size not in (1, most) for size, most in lengths):
            doubt = "its module has other vectors than most"
        if not doubt and many > MAX_SLOTS:
            doubt = "its module has more vectors than can be told apart"
        for a, b in enumerate(best):
            i, j = (pair.left[b], pair.right[a]) if turned else (pair.left[a], pair.right[b])
            if state.free(i, j) and state.possible(i, j):
                rivals = sorted({choice[a] for choice in near} - {b})
                state.take(i, j, "module", doubt or _rivals_text(state, pair, rivals, turned=turned))


def _rivals_text(state: PairingState, pair: _RunPair, rivals: list[int], *, turned: bool) -> str:
    if not rivals:
        return ""
    side, run = (0, pair.left) if turned else (1, pair.right)
    names = ", ".join(repr(state.sides[side][run[slot]].name) for slot in rivals)
    return f"only the order within the module distinguishes it from {names}"


def _evidence(
    state: PairingState, group: list[_RunPair], few: int, many: int, *, turned: bool
) -> dict[tuple[int, ...], int]:
    """How much supports each assignment of ``many`` vectors of one side to the ``few`` of the other."""
    if many > MAX_SLOTS or few == many == 1:
        return {tuple(range(few)): 0}  # there is one choice
    roles = (
        [
            _common_role(state.role(0, pair.left[slot]) for pair in group)
            for slot in range(len(group[0].left))
        ],
        [
            _common_role(state.role(1, pair.right[slot]) for pair in group)
            for slot in range(len(group[0].right))
        ],
    )
    scores = [[0] * many for _ in range(few)]
    for a in range(few):
        for b in range(many):
            x, y = (b, a) if turned else (a, b)
            scores[a][b] = sum(_score(state, pair.left[x], pair.right[y]) for pair in group)
            if roles[0][x] and roles[1][y]:
                scores[a][b] += len(group) * (100 if roles[0][x] == roles[1][y] else -100)
    choices = permutations(range(many), few)
    return {choice: sum(scores[a][b] for a, b in enumerate(choice)) for choice in choices}


def _rising_pairs(choice: tuple[int, ...]) -> int:
    return sum(x < y for k, x in enumerate(choice) for y in choice[k + 1 :])


def _score(state: PairingState, i: int, j: int) -> int:
    """What supports a pair of vectors of one module, or speaks against it."""
    if not state.free(i, j):
        return 1000 if i in state.pairs and state.pairs[i].place == j else -1000
    if not state.possible(i, j):
        return -1000
    left, right = state.sides[0][i].values, state.sides[1][j].values
    if left and right:
        return 10 if (left.minimum > 0) == (right.minimum > 0) else -10
    return 0


def _common_role(roles: Iterable[str]) -> str:
    """The role that nearly all of some tensors have; one name may show it by chance."""
    ((first, times),) = Counter(roles := list(roles)).most_common(1)
    return first if times >= CHAIN * len(roles) else ""


def _sizes(state: PairingState, side: int, places: Iterable[int]) -> Counter[Key | None]:
    """How many vectors there are of each size."""
    return Counter(state.keys[side][place] for place in state.of_kind(side, places, vectors=True))


def _fill(state: PairingState, pair: _RunPair, loose: Sequence[Counter[Key | None]]) -> None:
    """Vectors of a module that the other side lacks are filled in there, if they have one value. It does not lack them
    where it has vectors of their size without partners, which ``loose`` counts."""
    taken: tuple[Mapping[int, object], Mapping[int, object]] = (state.pairs, state.partners)
    for side, run in enumerate(pair[:2]):
        tensors = state.sides[side]
        paired = [place for place in run if place in taken[side]]
        size = state.keys[side][run[0]]
        if loose[1 - side][size]:
            continue
        for place in run:
            if place in taken[side] or not paired:
                continue
            tensor, like = tensors[place], tensors[paired[0]].name
            if tensor.values and tensor.values.constant:
                value = tensor.values.minimum
            elif not tensor.values and state.role(side, place) == "scale":
                value = 1.0
            else:
                continue
            state.filled[side].append(FilledTensor(tensor, value, like))
            loose[side][size] -= 1


def fill_rest(state: PairingState, side: int) -> None:
    """Where all tensors left on one side are vectors of one constant value, the other side does not store them."""
    tensors = state.sides[side]
    taken: Mapping[int, object] = state.partners if side else state.pairs
    left = [tensors[place] for place in state.unpaired(side)]
    values = {
        tensor.values.minimum if tensor.values and tensor.values.constant and tensor.is_vector else None
        for tensor in left
    }
    if len(values) != 1 or None in values:
        return
    of_shape: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for place in taken:
        of_shape[tensors[place].shape].append(tensors[place].name)
    for names in of_shape.values():
        names.sort()
    for tensor in left:
        names = of_shape.get(tensor.shape, [])
        if names and tensor.values:
            own = words(tensor.name)
            near = around(names, bisect(names, tensor.name))
            like = max(near, key=lambda name: (likeness(own, words(name)), name))
            state.filled[side].append(FilledTensor(tensor, tensor.values.minimum, like))
