"""Find factors that a file keeps apart from the values: the third blob of Caffe's BatchNorm.

Caffe stores sums of means and of variances, and the number that both are to be divided by.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.arrays import arrays
from converters.conversion.operations.values import Divide
from converters.record import Record
from converters.tensor import FLOATS

from .axes import change_of, vector_order
from .name_similarity import role
from .nearest import NearNumbers
from .proposal import ProposedPair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .fingerprints import TensorFingerprint

_NAME = re.compile(r"(?:(.*)[/.])?([^/.]+)")
MAX_VECTORS = 6
"""Vectors of one module, among which two may have a factor."""
MAX_UNDERSCORES = 8
"""Of a tensor's own name, each of which may end its module's; of more these are the last."""
CLOSE = {"float64": 4e-7, "float32": 4e-7, "float16": 1e-3, "bfloat16": 8e-3}
"""How far a quotient may be from another program's, relative to it: some units in the last place of a dtype."""


class Factors(Record):
    """The factors of a file. ``of`` names the factor of each tensor that has one, ``possible`` that of each which may
    have one. ``roles`` say what the tensors are, and ``tensors`` are all tensors of the file, those with a factor
    already divided by it."""

    of: Mapping[str, str]
    possible: Mapping[str, str]
    roles: Mapping[str, str]
    tensors: Mapping[str, Tensor]

    @property
    def names(self) -> frozenset[str]:
        """The names of the factors."""
        return frozenset(self.of.values())


def find_factors(checkpoint: Checkpoint, weights: Iterable[str], other: Checkpoint | None) -> Factors:
    """The factors among a file's weights. In a Caffe model its layers show them; in other files only the values do,
    where ``other`` is given, which has the quotients."""
    tensors = dict(checkpoint.tensors)
    of: dict[str, str] = {}
    possible: dict[str, str] = {}
    roles: dict[str, str] = {}
    taken: set[str] = set()
    elsewhere = _Vectors(other) if other is not None else None
    kinds = {row["name"]: row["kind"] for row in checkpoint.details.get("layers", ())}
    for module, members in _modules(checkpoint, weights).items():
        group = _vectors_and_a_number(members, checkpoint.tensors)
        if group is None or group.factor in taken:
            continue
        if checkpoint.format == "caffe":
            named = "BatchNorm" in str(kinds.get(module) or "BatchNorm") and group.factor == f"{module}/2"
            vectors = group.vectors if named and not _is_copied_alone(group, elsewhere) else ()
        else:
            vectors = _divided_elsewhere(group, elsewhere) if elsewhere is not None else ()
            possible |= {} if vectors else dict.fromkeys(group.vectors, group.factor)
        divide = Divide(by=checkpoint.tensors[group.factor])
        of |= dict.fromkeys(vectors, group.factor)
        taken |= {group.factor} if vectors else set()
        tensors |= {name: divide.apply(checkpoint.tensors[name]) for name in vectors}
        if len(vectors) == 2 and group.factor.endswith("2"):
            roles |= dict(zip(vectors, ("mean", "variance"), strict=True))
    possible = {name: factor for name, factor in possible.items() if name not in of}
    for layer, kind in kinds.items():
        if kind == "Scale":
            roles |= {f"{layer}/0": "scale", f"{layer}/1": "shift"}
    return Factors(of=of, possible=possible, roles=roles, tensors=tensors)


def close(left: Tensor, right: Tensor) -> bool:
    """Whether two vectors are equal but for the rounding of a division."""
    one, other = _values(left), _values(right)
    slack = max(CLOSE[left.dtype], CLOSE[right.dtype])
    return len(one) == len(other) and bool((abs(one - other) <= slack * abs(other)).all())


def with_factors(
    pairs: Sequence[ProposedPair],
    left: Factors,
    right: Factors,
    fingerprint: Callable[[int, str], TensorFingerprint],
) -> Iterator[ProposedPair]:
    """The pairs, each with its factor. Where both files have one, it is copied with the values; ``fingerprint`` gives
    that of a tensor on side 0 or 1."""
    from dataclasses import replace

    copied: set[str] = set()
    for pair in pairs:
        over, times = left.of.get(pair.left.name, ""), right.of.get(pair.right.name, "")
        if not (over and times):
            doubts = (pair.doubt, _possible_factor(pair, left, right))
            yield replace(pair, over=over, times=times, doubt="; ".join(filter(None, doubts)))
            continue
        yield pair
        if over not in copied:
            copied.add(over)
            factors = fingerprint(0, over), fingerprint(1, times)
            axes = change_of(vector_order(factors[0].shape, factors[1].shape))
            yield ProposedPair(left=factors[0], right=factors[1], axes=axes, why="module", doubt=pair.doubt)


def _possible_factor(pair: ProposedPair, left: Factors, right: Factors) -> str:
    """The doubt about a pair of other values, beside one of which stands a number."""
    name = left.possible.get(pair.left.name) or right.possible.get(pair.right.name)
    equal = pair.left.values and pair.right.values and pair.left.values.checksum == pair.right.values.checksum
    return f"{name!r} may be a factor of its values" if name and not equal else ""


class _Group(NamedTuple):
    """Vectors of one size and the number that may be their factor, in ``tensors``."""

    vectors: tuple[str, ...]
    factor: str
    tensors: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        return max(self.tensors[self.vectors[0]].shape, default=1)

    @property
    def number(self) -> float:
        (number,) = _values(self.tensors[self.factor])
        return float(number)


def _modules(checkpoint: Checkpoint, weights: Iterable[str]) -> dict[str, list[str]]:
    """The tensors of each module, the innermost modules first. An underscore may be part of a tensor's own name, as in
    ``scale_factor``, or end its module's, so that each is tried."""
    modules: dict[str, list[str]] = defaultdict(list)
    for name in weights:
        found = _NAME.fullmatch(name)
        if not found or checkpoint.tensors[name].dtype not in FLOATS:
            continue
        start = found.start(2)
        underscores = (at for at in range(len(name) - 1, start, -1) if name[at] == "_")
        ends = [*islice(underscores, MAX_UNDERSCORES)]
        for end in [*ends, *([start - 1] if start else [])]:
            modules[name[:end]].append(name)
    return dict(sorted(modules.items(), key=lambda item: -len(item[0])))


def _vectors_and_a_number(members: Sequence[str], tensors: Mapping[str, Tensor]) -> _Group | None:
    """A module's means and variances, or else all of its vectors, beside the only number in it."""
    sizes = {name: max(tensors[name].shape, default=1) for name in members}
    vectors = [name for name in members if prod(tensors[name].shape) == sizes[name] > 1]
    numbers = [name for name in members if sizes[name] == 1]
    if len(members) == len(numbers) == 3:
        *vectors, numbers[0] = numbers  # of three numbers the last one is the factor
    elif len(numbers) != 1 or len({sizes[name] for name in vectors}) != 1:
        return None
    named = [name for name in vectors if role(name) in ("mean", "variance")]
    vectors = named if len(named) == 2 else vectors
    return _Group(tuple(vectors), numbers[0], tensors) if 2 <= len(vectors) <= MAX_VECTORS else None


def _divided_elsewhere(group: _Group, other: _Vectors) -> tuple[str, ...]:
    """The vectors of which another file has the quotients, over a number that says something; or all where the other
    file is a Caffe model with the same vectors and number, which is known to divide."""
    if other.is_caffe and _copies(group.vectors, group, other) and _has_factor(group, other):
        return group.vectors
    if group.size == 1 or (group.number == 1 and not group.factor.endswith("2")):
        return ()
    divide = Divide(by=group.tensors[group.factor])
    names = tuple(name for name in group.vectors if other.have(divide.apply(group.tensors[name])))
    return names if len(names) > 1 else ()


def _is_copied_alone(group: _Group, other: _Vectors | None) -> bool:
    """Whether another file has the vectors as they are, and no factor of theirs. By 0 is divided whatever is there."""
    if other is None or group.size == 1 or group.number in (0, 1):
        return False
    return _copies(group.vectors, group, other) and not _has_factor(group, other)


def _copies(names: Iterable[str], group: _Group, other: _Vectors) -> bool:
    return all(other.have(group.tensors[name]) for name in names)


def _has_factor(group: _Group, other: _Vectors) -> bool:
    return _copies([group.factor], group, other)


class _Vectors:
    """The vectors of a file, which are looked for by their sizes and first values."""

    def __init__(self, file: Checkpoint) -> None:
        self.is_caffe = file.format == "caffe"
        self._of_size: dict[int, list[Tensor]] = defaultdict(list)
        self._sorted: dict[int, NearNumbers[Tensor]] = {}
        for tensor in file.tensors.values():
            size = max(tensor.shape, default=1)
            if tensor.dtype in FLOATS and prod(tensor.shape) == size:
                self._of_size[size].append(tensor)

    def have(self, tensor: Tensor) -> bool:
        """Whether one of the vectors is close to another file's. It may not be seen among many with one first value."""
        size = max(tensor.shape, default=1)
        if size not in self._of_size:
            return False
        if size not in self._sorted:
            self._sorted[size] = NearNumbers((_first(one), one) for one in self._of_size[size])
        candidates = self._sorted[size].around(_first(tensor), max(CLOSE.values()))
        return any(close(tensor, candidate) for candidate in candidates)


def _first(tensor: Tensor) -> float:
    return next((float(piece[0]) for piece in arrays(tensor.data, tensor.dtype) if len(piece)), 0.0)


def _values(tensor: Tensor) -> Any:
    import numpy

    return numpy.concatenate([piece.astype("<f8") for piece in arrays(tensor.data, tensor.dtype)])
