"""The state of a pairing: which tensors are paired so far, and which may still be paired with which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from .axes import AxisOrder, change_of, order_for, orders_between, vector_order
from .name_similarity import likeness, natural, role, words
from .proposal import FilledTensor, Proposal, ProposedPair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from converters.mapping.axis_change import AxisChange

    from .fingerprints import TensorFingerprint
    from .similarity import Similarity

    Equal = Callable[[TensorFingerprint, TensorFingerprint, AxisOrder], bool]
    Key = tuple[int, ...]
    Kind = tuple[Key | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a pairing may ask beside the fingerprints.

    ``explain`` finds the change of axes between two tensors with the same values, if any; ``close`` says whether two
    tensors are equal but for the rounding of a factor; ``similar`` says how similar they are in an order of axes and in
    others; ``roles`` are those of vectors that the files' formats show;
    ``exchanged`` says that one format has channels last.
    """

    explain: Callable[[TensorFingerprint, TensorFingerprint], AxisChange | None] = lambda _, __: None
    close: Callable[[TensorFingerprint, TensorFingerprint], bool] = lambda _, __: False
    similar: Callable[[TensorFingerprint, TensorFingerprint, AxisOrder], Similarity | None] = (
        lambda _, __, ___: None
    )
    roles: tuple[Mapping[str, str], Mapping[str, str]] = (MappingProxyType({}), MappingProxyType({}))
    exchanged: bool = False


class Partner(NamedTuple):
    """The right tensor that a left one is paired with, by its place, and why; ``doubt`` is empty where it is sure."""

    place: int
    why: str
    doubt: str


class PairingState:
    """Tensors are known by their places in the two files; side 0 is the left file, side 1 the right one.

    ``pairs`` leads from left places to right ones, ``partners`` back. ``keys`` are the shapes by which tensors are
    looked for: those of the right file, None where no order of axes leads to one.
    """

    def __init__(
        self,
        left: Sequence[TensorFingerprint],
        right: Sequence[TensorFingerprint],
        equal: Equal | None,
        hints: Hints = Hints(),  # frozen
    ) -> None:
        self.sides = (left, right)
        self.equal = equal
        self.hints = hints
        self.pairs: dict[int, Partner] = {}
        self.partners: dict[int, int] = {}
        self.filled: tuple[list[FilledTensor], list[FilledTensor]] = ([], [])
        self.notes: list[str] = []
        self.in_order = True
        """Whether the weights of both files are in one order."""
        self._words = [[words(tensor.name) for tensor in side] for side in self.sides]
        checksums = [{_checksum(tensor) for tensor in side} - {None} for side in self.sides]
        self.shared = checksums[0] & checksums[1]
        """Checksums of values that both files have."""
        # Which values a tensor has, where the other file has them too.
        self._values = [
            [
                tensor.values.checksum if tensor.values and tensor.values.checksum in self.shared else 0
                for tensor in side
            ]
            for side in self.sides
        ]
        self.exact_axes: dict[int, AxisOrder | AxisChange] = {}
        """Of left tensors whose equal values show how their axes change."""
        shapes = [[tensor.shape for tensor in side if not tensor.is_vector] for side in self.sides]
        self.orders, notes = orders_between(shapes[0], shapes[1], exchanged=hints.exchanged)
        self.notes += notes
        targets = set(shapes[1])
        self.keys: tuple[list[Key | None], list[Key | None]] = (
            [self._left_key(tensor, targets) for tensor in left],
            [_vector_key(tensor) if tensor.is_vector else tensor.shape for tensor in right],
        )
        self._free: dict[Kind, dict[int, None]] = defaultdict(dict)
        """The right places without partners by their kinds, in order."""
        for place in range(len(right)):
            self._free[self.kind(1, place)][place] = None

    def _left_key(self, tensor: TensorFingerprint, shapes: set[tuple[int, ...]]) -> Key | None:
        if tensor.is_vector:
            return _vector_key(tensor)
        targets = (order.apply(tensor.shape) for order in self.orders)
        return next((target for target in targets if target in shapes), None)

    def unpaired(self, side: int) -> list[int]:
        """The places of a side that are neither paired nor filled in."""
        taken: Mapping[int, object] = self.partners if side else self.pairs
        filled = {entry.tensor.name for entry in self.filled[side]}
        return [
            place
            for place, tensor in enumerate(self.sides[side])
            if place not in taken and tensor.name not in filled
        ]

    def take(self, i: int, j: int, why: str, doubt: str = "") -> None:
        """Pair two tensors."""
        self.pairs[i] = Partner(j, why, doubt)
        self.partners[j] = i
        self._free[self.kind(1, j)].pop(j, None)

    def kind(self, side: int, place: int) -> Kind:
        """What two tensors must have in common to be paired: a shape, and values if both files have them."""
        return self.keys[side][place], self._values[side][place]

    def possible(self, i: int, j: int) -> bool:
        """Whether nothing rules a pair out: neither shapes, nor values that both files have elsewhere."""
        return self.keys[0][i] is not None and self.kind(0, i) == self.kind(1, j)

    def free(self, i: int, j: int) -> bool:
        """Whether neither tensor is paired yet."""
        return i not in self.pairs and j not in self.partners

    def alike(self, i: int, j: int) -> float:
        """How much two names have in common, from 0 to 1."""
        return likeness(self._words[0][i], self._words[1][j])

    def equal_values(self, i: int, j: int) -> bool:
        """Whether two tensors have the same values in some order."""
        left, right = self.sides[0][i].values, self.sides[1][j].values
        return bool(left and right and left.checksum == right.checksum)

    def alternatives(self, i: int, j: int) -> str:
        """In words, what else a tensor could be paired with; empty if nothing."""
        free = self._free[self.kind(0, i)] if self.keys[0][i] is not None else {}
        names = [self.sides[1][place].name for place in islice(free, 5) if place != j][:4]
        if not names:
            return ""
        return f": it could be {', '.join(map(repr, names[:3]))}{' or others' if len(names) > 3 else ''}"

    def by_key(self) -> dict[Key, tuple[list[int], list[int]]]:
        """The unpaired tensors of both sides by their keys."""
        groups: dict[Key, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side in (0, 1):
            for place in self.unpaired(side):
                key = self.keys[side][place]
                if key is not None:
                    groups[key][side].append(place)
        return groups

    def of_kind(self, side: int, places: Iterable[int], *, vectors: bool) -> list[int]:
        """Those of some places that are vectors, or those that are not."""
        return [place for place in places if self.sides[side][place].is_vector == vectors]

    def sequences(self, side: int) -> list[list[int]]:
        """A side's places in the file's order and, if it differs, in the order of their names."""
        tensors = self.sides[side]
        in_file = list(range(len(tensors)))
        by_name = sorted(in_file, key=lambda place: natural(tensors[place].name))
        return [in_file] if by_name == in_file else [in_file, by_name]

    def role(self, side: int, place: int) -> str:
        """What a vector is in its module, by its format or its name: scale, shift, mean or variance; else empty."""
        name = self.sides[side][place].name
        return self.hints.roles[side].get(name) or role(name)

    def order(self, i: int, j: int) -> AxisOrder | AxisChange:
        """How the axes of a pair's left tensor become those of its right one."""
        left, right = self.sides[0][i], self.sides[1][j]
        if i in self.exact_axes:
            return self.exact_axes[i]
        if left.is_vector:
            return vector_order(left.shape, right.shape)
        order = order_for(self.orders, left.shape, right.shape)
        assert order is not None  # their keys are equal
        return order

    def _change(self, i: int, j: int) -> AxisChange | None:
        order = self.order(i, j)
        return change_of(order) if isinstance(order, AxisOrder) else order

    def proposal(self) -> Proposal:
        """The outcome."""
        pairs = []
        for i, (j, why, doubt) in sorted(self.pairs.items(), key=lambda pair: pair[1].place):
            left, right = self.sides[0][i], self.sides[1][j]
            pairs.append(ProposedPair(left=left, right=right, axes=self._change(i, j), why=why, doubt=doubt))
        return Proposal(
            pairs=tuple(pairs),
            left_filled=tuple(self.filled[0]),
            right_filled=tuple(self.filled[1]),
            left_over=tuple(self.sides[0][place] for place in self.unpaired(0)),
            right_over=tuple(self.sides[1][place] for place in self.unpaired(1)),
            notes=tuple(dict.fromkeys(self.notes)),
        )


def _vector_key(tensor: TensorFingerprint) -> Key:
    return (max(tensor.shape, default=1),)


def _checksum(tensor: TensorFingerprint) -> int | None:
    """Of a tensor's values, None where they were not read or are all the same."""
    return tensor.values.checksum if tensor.values and not tensor.values.constant else None
