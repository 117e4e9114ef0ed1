"""Pair the tensors of two files: by values, then names, then shapes and order. Each pair says why, and if it is sure.

Evidence from strong to weak: equal values; families of names that differ in numbers only and have the same
sequence of shapes; a shape that only one tensor on each side has; the place in both files' order; and for the
vectors of one module what they are called and which values they have.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice, pairwise, permutations
from typing import TYPE_CHECKING, NamedTuple

from .alignment import align
from .axes import every_order, order_for, orders_between, vector_order
from .name_similarity import NUMBER, likeness, natural, role, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .alignment import Alignment
    from .fingerprints import Item, Order

    Equal = Callable[[Item, Item, Order], bool]
    Key = tuple[int, ...]

MOST_SLOTS = 6
"""Vectors of one module whose every assignment is tried."""

MOST_ALIKE = 300
"""Tensors of one shape whose names are compared, each with each."""

MOST_ORDERED = 1500
"""Tensors of files that are held against each other in the order of their names too, not in the file's alone."""

CHAIN = 0.9
"""The share of the shorter file's weights that must be in one order on both sides for the order to be believed."""


class Found(NamedTuple):
    """A pair. ``why`` is the evidence in a word; ``doubt`` says what else it could be, empty where it is sure."""

    left: Item
    right: Item
    order: Order
    why: str
    doubt: str = ""


class Filled(NamedTuple):
    """A tensor that only one side stores, with the one value it has, and the tensor of its side that is as large."""

    item: Item
    value: float
    like: str


class Proposal(NamedTuple):
    """All pairs in the right file's order, what is left on both sides, and notes."""

    found: tuple[Found, ...]
    left_filled: tuple[Filled, ...]
    right_filled: tuple[Filled, ...]
    left_over: tuple[Item, ...]
    right_over: tuple[Item, ...]
    notes: tuple[str, ...]


def propose(left: Sequence[Item], right: Sequence[Item], equal: Equal | None) -> Proposal:
    """Pair the floating tensors of two files. ``equal`` compares values, None where none are to be read."""
    return _Matcher(left, right, equal).run()


class _Matcher:
    def __init__(self, left: Sequence[Item], right: Sequence[Item], equal: Equal | None) -> None:
        self._left, self._right, self._equal = left, right, equal
        self._pairs: dict[int, tuple[int, str, str]] = {}
        self._back: dict[int, int] = {}
        self._exact: dict[int, Order] = {}
        self._notes: list[str] = []
        self._fills: tuple[list[Filled], list[Filled]] = ([], [])
        self._orders: list[Order] = []
        self._keys: tuple[list[Key | None], list[Key | None]] = ([], [])
        self._words = ([words(one.name) for one in left], [words(one.name) for one in right])
        looks = [
            {one.look.mixed for one in side if one.look and not one.look.constant} for side in (left, right)
        ]
        self._shared = looks[0] & looks[1]
        self._told = [
            [one.look.mixed if one.look and one.look.mixed in self._shared else 0 for one in side]
            for side in (left, right)
        ]

    def run(self) -> Proposal:
        self._find_orders()
        self._by_values()
        self._by_families()
        self._by_shape()
        orders = self._weights_in_order()
        self._rest(orders, "weight")
        self._vectors(*orders)
        self._by_shape()
        self._rest(orders, "vector")
        for side in (0, 1):
            self._fill_rest(side)
        most_equal = 2 * sum(why == "values" for _, why, _ in self._pairs.values()) > len(self._pairs)
        found = [
            Found(
                self._left[i],
                self._right[j],
                self._order(i, j),
                why,
                doubt or (self._other_values(i, j) if most_equal else ""),
            )
            for i, (j, why, doubt) in sorted(self._pairs.items(), key=lambda pair: pair[1][0])
        ]
        filled = [{one.item.name for one in side} for side in self._fills]
        return Proposal(
            tuple(found),
            tuple(self._fills[0]),
            tuple(self._fills[1]),
            tuple(
                one for i, one in enumerate(self._left) if i not in self._pairs and one.name not in filled[0]
            ),
            tuple(
                one for j, one in enumerate(self._right) if j not in self._back and one.name not in filled[1]
            ),
            tuple(dict.fromkeys(self._notes)),
        )

    # What may go with what

    def _find_orders(self) -> None:
        """The orders of axes, and for every tensor the shape by which it is looked for: the right file's."""
        weights = [[one.shape for one in side if not one.is_vector] for side in (self._left, self._right)]
        self._orders, notes = orders_between(*weights)
        self._notes += notes
        there = set(weights[1])
        self._keys = (
            [
                (max(one.shape, default=1),)
                if one.is_vector
                else next((to for order in self._orders if (to := order.apply(one.shape)) in there), None)
                for one in self._left
            ],
            [(max(one.shape, default=1),) if one.is_vector else one.shape for one in self._right],
        )

    def _order(self, i: int, j: int) -> Order:
        one, other = self._left[i], self._right[j]
        if i in self._exact:
            return self._exact[i]
        if one.is_vector:
            return vector_order(one.shape, other.shape)
        order = order_for(self._orders, one.shape, other.shape)
        assert order is not None  # their keys are equal
        return order

    def _go_together(self, i: int, j: int) -> bool:
        """Whether nothing speaks against a pair: neither shapes, nor values that are elsewhere too."""
        if self._keys[0][i] is None or self._keys[0][i] != self._keys[1][j]:
            return False
        here, there = self._told[0][i], self._told[1][j]
        return here == there or not (here or there)

    def _open(self, side: int) -> list[int]:
        taken: Mapping[int, object] = self._back if side else self._pairs
        filled = {one.item.name for one in self._fills[side]}
        items = (self._left, self._right)[side]
        return [place for place, one in enumerate(items) if place not in taken and one.name not in filled]

    def _take(self, i: int, j: int, why: str, doubt: str = "") -> None:
        self._pairs[i] = (j, why, doubt)
        self._back[j] = i

    # Steps

    def _by_values(self) -> None:
        """Tensors with the same values, up to the order of axes; those of one value everywhere say nothing."""
        groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, items in enumerate((self._left, self._right)):
            for place, item in enumerate(items):
                if item.look and item.look.mixed in self._shared and not item.look.constant:
                    groups[item.look.mixed][side].append(place)
        told: dict[Order, int] = defaultdict(int)
        for here, there in groups.values():
            if len(here) != 1 or len(there) != 1:
                continue
            (i,), (j,) = here, there
            one, other = self._left[i], self._right[j]
            if one.is_vector and other.is_vector:
                if self._keys[0][i] == self._keys[1][j]:
                    self._take(i, j, "values")
                continue
            first = order_for(self._orders, one.shape, other.shape)
            for order in dict.fromkeys((*([first] if first else ()), *every_order(one.shape, other.shape))):
                if one.dtype != other.dtype or (self._equal and self._equal(one, other, order)):
                    self._exact[i] = order
                    self._keys[0][i] = other.shape
                    told[order] += 1
                    self._take(i, j, "values")
                    break
        if told:
            settled = sorted(told, key=lambda order: -told[order])
            self._orders = list(dict.fromkeys((*settled, *self._orders)))
            self._notes = []

    def _by_families(self) -> None:
        """Names that differ in their numbers only and run through the same shapes on both sides."""
        for vectors in (False, True):
            families = [self._families(side, vectors) for side in (0, 1)]
            by_shapes: dict[tuple[object, ...], tuple[list[list[int]], list[list[int]]]] = defaultdict(
                lambda: ([], [])
            )
            for side in (0, 1):
                for members in families[side]:
                    by_shapes[tuple(self._keys[side][place] for place in members)][side].append(members)
            for shapes, (here, there) in by_shapes.items():
                if None in shapes:
                    continue
                for one, other in self._same_roles(here, there) if vectors else self._only(here, there):
                    if len(set(shapes)) < 2 and not (_rising(one) and _rising(other)):
                        continue  # the numbers may be in any order
                    if all(self._go_together(i, j) for i, j in zip(one, other, strict=True)):
                        for i, j in zip(one, other, strict=True):
                            self._take(i, j, "names")

    def _families(self, side: int, vectors: bool) -> list[list[int]]:
        items = (self._left, self._right)[side]
        found: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place in self._open(side):
            if items[place].is_vector == vectors:
                found[tuple(NUMBER.split(items[place].name)[::2])].append(place)
        return [
            sorted(members, key=lambda place: natural(items[place].name))
            for members in found.values()
            if len(members) > 1
        ]

    @staticmethod
    def _only(here: list[list[int]], there: list[list[int]]) -> list[tuple[list[int], list[int]]]:
        return [(here[0], there[0])] if len(here) == len(there) == 1 else []

    def _same_roles(self, here: list[list[int]], there: list[list[int]]) -> list[tuple[list[int], list[int]]]:
        """Families of vectors that are called by the same role, each role once."""
        roles = [
            [role(items[members[0]].name) for members in families]
            for items, families in ((self._left, here), (self._right, there))
        ]
        return [
            (here[roles[0].index(one)], there[roles[1].index(one)])
            for one in dict.fromkeys(roles[0])
            if one and roles[0].count(one) == roles[1].count(one) == 1
        ]

    def _by_shape(self) -> None:
        """What is the only one of its shape on both sides."""
        classes = self._classes()
        for key, (here, there) in classes.items():
            whole = [sum(one == key for one in side) for side in self._keys]
            if len(here) == len(there) == 1 and whole == [1, 1] and self._go_together(here[0], there[0]):
                self._take(here[0], there[0], "shape")

    def _classes(self) -> dict[Key, tuple[list[int], list[int]]]:
        classes: dict[Key, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side in (0, 1):
            for place in self._open(side):
                key = self._keys[side][place]
                if key is not None:
                    classes[key][side].append(place)
        return classes

    def _weights_in_order(self) -> tuple[list[int], list[int]]:
        """Weights by their place in the files' order, or in the order of their names where that goes together
        better. Returns the orders of all tensors."""
        best: tuple[Alignment, list[int], list[int]] | None = None
        few = max(len(self._left), len(self._right)) <= MOST_ORDERED
        for here in self._sequences(0)[: None if few else 1]:
            for there in self._sequences(1)[: None if few else 1]:
                found = self._aligned(here, there, vectors=False)
                if best is None or found.score > best[0].score:
                    best = (found, here, there)
        assert best is not None
        alignment, here, there = best
        lefts, rights = self._kind(0, here, vectors=False), self._kind(1, there, vectors=False)
        believed = len(alignment.pairs) >= CHAIN * min(len(lefts), len(rights))
        for a, b in alignment.pairs:
            i, j = lefts[a], rights[b]
            if i in self._pairs or j in self._back:
                continue
            doubt = ""
            if not believed:
                doubt = "the two files have different orders"
            elif (a, b) not in alignment.certain:
                doubt = "the order leaves it open" + self._others(i, j)
            else:
                doubt = self._neighbour(lefts, rights, a, b)
            self._take(i, j, "order", doubt)
        return here, there

    def _sequences(self, side: int) -> list[list[int]]:
        items = (self._left, self._right)[side]
        file = list(range(len(items)))
        by_name = sorted(file, key=lambda place: natural(items[place].name))
        return [file] if by_name == file else [file, by_name]

    def _kind(self, side: int, places: Iterable[int], *, vectors: bool) -> list[int]:
        items = (self._left, self._right)[side]
        return [place for place in places if items[place].is_vector == vectors]

    def _aligned(self, here: list[int], there: list[int], *, vectors: bool) -> Alignment:
        lefts, rights = self._kind(0, here, vectors=vectors), self._kind(1, there, vectors=vectors)
        at = {place: column for column, place in enumerate(rights)}
        of_key: dict[Key | None, list[int]] = defaultdict(list)
        for place in rights:
            of_key[self._keys[1][place]].append(place)

        def scores(row: int) -> list[tuple[int, int]]:
            i = lefts[row]
            if i in self._pairs:
                j = self._pairs[i][0]
                return [(at[j], 5000)] if j in at else []
            alike = of_key[self._keys[0][i]]
            few = len(alike) <= MOST_ALIKE
            return [
                (at[j], 1000 + (int(10 * self._alike(i, j)) if few else 0))
                for j in alike
                if j not in self._back and self._go_together(i, j)
            ]

        return align(len(lefts), len(rights), scores)

    def _neighbour(self, lefts: list[int], rights: list[int], a: int, b: int) -> str:
        """The doubt of a pair whose neighbour has the same shape: another order would fit as well."""
        i, j = lefts[a], rights[b]
        for step in (-1, 1):
            if not (0 <= a + step < len(lefts) and 0 <= b + step < len(rights)):
                continue
            near, far = lefts[a + step], rights[b + step]
            if self._keys[0][near] != self._keys[0][i] or self._keys[1][far] != self._keys[1][j]:
                continue
            if near in self._pairs and not self._pairs[near][2] and self._pairs[near][1] != "order":
                continue
            straight = self._alike(i, j) + self._alike(near, far)
            if straight <= self._alike(i, far) + self._alike(near, j):
                return (
                    f"only the order tells it from its neighbour {self._right[far].name!r} of the same shape"
                )
        return ""

    def _alike(self, i: int, j: int) -> float:
        return likeness(self._words[0][i], self._words[1][j])

    def _others(self, i: int, j: int) -> str:
        others = (
            one.name
            for k, one in enumerate(self._right)
            if k != j and k not in self._back and self._go_together(i, k)
        )
        names = list(islice(others, 4))
        return (
            f": it could be {', '.join(map(repr, names[:3]))}{' or others' if len(names) > 3 else ''}"
            if names
            else ""
        )

    def _rest(self, orders: tuple[list[int], list[int]], what: str) -> None:
        """What no order placed: within one shape by likeness of names, then by order. Never sure."""
        rank = [{place: number for number, place in enumerate(order)} for order in orders]
        for here, there in self._classes().values():
            if (what == "vector") != (bool(here) and self._left[here[0]].is_vector):
                continue
            far = [
                (-round(self._alike(i, j), 6), abs(a - b), rank[0][i], rank[1][j], i, j)
                for a, i in enumerate(sorted(here, key=rank[0].__getitem__))
                for b, j in enumerate(sorted(there, key=rank[1].__getitem__))
                if self._go_together(i, j)
            ]
            only = len(here) == len(there) == 1
            for *_, i, j in sorted(far):
                if i in self._pairs or j in self._back:
                    continue
                told = self._values_tell(i, j)
                doubt = (
                    "" if told and only else f"it stands at another place in the order{self._others(i, j)}"
                )
                self._take(i, j, "values" if told else "what is left", doubt)

    def _values_tell(self, i: int, j: int) -> bool:
        one, other = self._left[i].look, self._right[j].look
        return bool(one and other and one.mixed == other.mixed and not one.constant)

    def _other_values(self, i: int, j: int) -> str:
        one, other = self._left[i].look, self._right[j].look
        return (
            ""
            if one and other and one.mixed == other.mixed
            else "its values differ, those of most others are equal"
        )

    # Vectors of modules

    def _vectors(self, here: list[int], there: list[int]) -> None:
        """Vectors stand in runs beside a weight; runs of paired weights are paired, then runs in order."""
        runs = [self._runs(0, here), self._runs(1, there)]
        beside = [self._beside(side, (here, there)[side], runs[side]) for side in (0, 1)]
        pairs: list[tuple[list[int], list[int], str]] = []
        used: tuple[set[int], set[int]] = (set(), set())
        for weight, run in beside[0].items():
            partner, _, doubt = self._pairs.get(weight, (-1, "", ""))
            match = beside[1].get(partner, -1)
            if match >= 0 and self._keys[0][runs[0][run][0]] == self._keys[1][runs[1][match][0]]:
                pairs.append((runs[0][run], runs[1][match], doubt))
                used[0].add(run)
                used[1].add(match)
        rest = [[run for number, run in enumerate(runs[side]) if number not in used[side]] for side in (0, 1)]
        found = align(
            len(rest[0]),
            len(rest[1]),
            lambda row: [
                (column, 1000 + self._votes(rest[0][row], run))
                for column, run in enumerate(rest[1])
                if self._keys[0][rest[0][row][0]] == self._keys[1][run[0]]
            ],
        )
        sizes = [[self._keys[side][run[0]] for run in rest[side]] for side in (0, 1)]
        for a, b in found.pairs:
            doubt = "" if sizes[0] == sizes[1] else "the order leaves its module open"
            pairs.append((rest[0][a], rest[1][b], doubt))
        lengths = [Counter(len(run) for run in side if len(run) > 1).most_common(1) for side in runs]
        usual = tuple(most[0][0] if most else 1 for most in lengths)
        alike: dict[tuple[int, int], list[tuple[list[int], list[int], str]]] = defaultdict(list)
        for one, other, doubt in pairs:
            alike[len(one), len(other)].append((one, other, doubt))
        for group in alike.values():
            self._slots([pair for pair in group if not self._by_roles(*pair)], usual)
            for one, other, _ in group:
                self._fill(one, other)

    def _by_roles(self, one: list[int], other: list[int], doubt: str) -> bool:
        """Pair the vectors of one module by what they are called, if every name on both sides tells another role."""
        roles = [
            {role(items[place].name): place for place in run}
            for items, run in ((self._left, one), (self._right, other))
        ]
        if "" in roles[0] or "" in roles[1] or len(roles[0]) != len(one) or len(roles[1]) != len(other):
            return False
        for called, i in roles[0].items():
            j = roles[1].get(called, -1)
            if j >= 0 and i not in self._pairs and j not in self._back and self._go_together(i, j):
                self._take(i, j, "names", doubt)
        return True

    def _votes(self, one: list[int], other: list[int]) -> int:
        return sum(100 for i in one if i in self._pairs and self._pairs[i][0] in other)

    def _runs(self, side: int, places: Sequence[int]) -> list[list[int]]:
        """Vectors of one size that follow each other: cut where a role comes again, and to the shortest where all
        are multiples of it."""
        items = (self._left, self._right)[side]
        runs: list[list[int]] = []
        last: Key | None = None
        seen: set[str] = set()
        vectors = self._kind(side, places, vectors=True)
        told = sum(bool(role(items[place].name)) for place in vectors) >= CHAIN * len(vectors)
        for place in places:
            key = self._keys[side][place] if items[place].is_vector else None
            called = role(items[place].name) if told else ""
            if key is not None and key == last and called not in seen:
                runs[-1].append(place)
            elif key is not None:
                runs.append([place])
                seen = set()
            seen |= {called} - {""}
            last = key
        shortest = min((len(run) for run in runs if len(run) > 1), default=1)
        if all(len(run) % shortest == 0 for run in runs if len(run) > 1):
            runs = [run[at : at + shortest] for run in runs for at in range(0, len(run), shortest)]
        return runs

    def _beside(self, side: int, places: Sequence[int], runs: list[list[int]]) -> dict[int, int]:
        """The run beside each weight: behind it, or in front of it, where that fits more weights of the file."""
        items = (self._left, self._right)[side]
        at = {place: number for number, place in enumerate(places)}
        choices: list[dict[int, int]] = []
        for ahead in (False, True):
            found: dict[int, int] = {}
            for number, run in enumerate(runs):
                place = at[run[-1]] + 1 if ahead else at[run[0]] - 1
                if not 0 <= place < len(places):
                    continue
                weight = places[place]
                key = self._keys[side][weight]
                if not items[weight].is_vector and key is not None and key[0] == self._keys[side][run[0]][0]:  # type: ignore[index]
                    found[weight] = number
            choices.append(found)
        return max(choices, key=len)

    def _slots(self, group: list[tuple[list[int], list[int], str]], usual: tuple[int, ...]) -> None:
        """Which vector of a module is which, for all modules with as many vectors together. ``usual`` is how many
        vectors most modules of each side have."""
        if not group:
            return
        few, many = len(group[0][0]), len(group[0][1])
        turned = few > many
        if turned:
            few, many = many, few
        if few == many == 1:
            choices: list[tuple[int, ...]] = [(0,)]
        elif many <= MOST_SLOTS:
            choices = list(permutations(range(many), few))
        else:
            choices = [tuple(range(few))]
        called = (
            [_role(self._left[one[a]].name for one, _, _ in group) for a in range(len(group[0][0]))],
            [_role(self._right[other[b]].name for _, other, _ in group) for b in range(len(group[0][1]))],
        )
        table = [[0] * many for _ in range(few)]
        for a in range(few):
            for b in range(many):
                x, y = (b, a) if turned else (a, b)
                table[a][b] = sum(self._slot(one[x], other[y]) for one, other, _ in group)
                if called[0][x] and called[1][y]:
                    table[a][b] += len(group) * (100 if called[0][x] == called[1][y] else -100)
        evidence = {choice: sum(table[a][b] for a, b in enumerate(choice)) for choice in choices}
        rising = {
            choice: sum(x < y for k, x in enumerate(choice) for y in choice[k + 1 :]) for choice in choices
        }
        # Where nothing else tells, the order does; and what is left out is what comes first, a batch norm's scale.
        best = max(choices, key=lambda choice: (evidence[choice], rising[choice], choice))
        near = [choice for choice in choices if evidence[best] - evidence[choice] < 5 * len(group)]
        for one, other, doubt in group:
            for a, b in enumerate(best):
                i, j = (one[b], other[a]) if turned else (one[a], other[b])
                if i in self._pairs or j in self._back or not self._go_together(i, j):
                    continue
                open_to = sorted({choice[a] for choice in near} - {b})
                text = doubt
                if any(
                    size not in (1, most) for size, most in zip((len(one), len(other)), usual, strict=True)
                ):
                    text = text or "its module has other vectors than most"
                if many > MOST_SLOTS and not text:
                    text = "its module has more vectors than can be told apart"
                if open_to and not text:
                    names = [
                        self._left[one[c]].name if turned else self._right[other[c]].name for c in open_to
                    ]
                    text = f"only the order within the module tells it from {', '.join(map(repr, names))}"
                self._take(i, j, "module", text)

    def _slot(self, i: int, j: int) -> int:
        """What speaks for a pair of vectors of one module, and against it."""
        if i in self._pairs or j in self._back:
            return 1000 if self._pairs.get(i, (-1,))[0] == j else -1000
        if not self._go_together(i, j):
            return -1000
        here, there = self._left[i].look, self._right[j].look
        if here and there:
            return 10 if (here.minimum > 0) == (there.minimum > 0) else -10
        return 0

    def _fill(self, one: list[int], other: list[int]) -> None:
        """Vectors of a module that the other side has not: stored there as one value, if that is what they hold."""
        for side, run, taken in ((0, one, self._pairs), (1, other, self._back)):
            items = (self._left, self._right)[side]
            held = [place for place in run if place in taken]
            for place in run:
                if place in taken or not held:
                    continue
                item = items[place]
                if item.look and item.look.constant:
                    self._fills[side].append(Filled(item, item.look.minimum, items[held[0]].name))
                elif not item.look and role(item.name) == "scale":
                    self._fills[side].append(Filled(item, 1.0, items[held[0]].name))

    def _fill_rest(self, side: int) -> None:
        """If all that a side has left are vectors of one same value, they are what the other side does not store."""
        items = (self._left, self._right)[side]
        taken = self._back if side else self._pairs
        left = [items[place] for place in self._open(side)]
        looks = {
            one.look.minimum if one.look and one.look.constant and one.is_vector else None for one in left
        }
        if len(looks) != 1 or None in looks:
            return
        for one in left:
            alike = [items[place] for place in taken if items[place].shape == one.shape]
            if alike and one.look:
                like = max(
                    alike, key=lambda other: (likeness(words(one.name), words(other.name)), other.name)
                )
                self._fills[side].append(Filled(one, one.look.minimum, like.name))


def _role(names: Iterable[str]) -> str:
    """The role that nearly all of some names tell; one name may be called so by chance."""
    (first, times), *_ = Counter(map(role, names := list(names))).most_common(1)
    return first if times >= CHAIN * len(names) else ""


def _rising(places: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(places))
