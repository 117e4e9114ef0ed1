"""Find factors that a file keeps apart from the values: the third blob of Caffe's BatchNorm.

Caffe stores sums of means and of variances, and the number that both are to be divided by.
"""

from __future__ import annotations

import re
from collections import defaultdict
from math import prod
from typing import TYPE_CHECKING, Any

from converters.conversion.arrays import arrays
from converters.conversion.operations.values import Divide
from converters.record import Record
from converters.tensor import FLOATS

from .axes import change_of, vector_order
from .proposal import ProposedPair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .fingerprints import TensorFingerprint

_MODULE = re.compile(r"(.*)[/._]([^/._]+)")
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
    kinds = {row["name"]: row["kind"] for row in checkpoint.details.get("layers", ())}
    for module, members in _modules(checkpoint, weights).items():
        trio = _two_vectors_and_a_number(members, tensors)
        if trio is None:
            continue
        *vectors, factor = trio
        if checkpoint.format == "caffe":
            found = "BatchNorm" in str(kinds.get(module) or "BatchNorm") and factor == f"{module}/2"
        else:
            found = other is not None and _has_quotients(tensors, trio, other)
            possible |= {} if found else dict.fromkeys(vectors, factor)
        if found:
            divide = Divide(by=tensors[factor])
            of |= dict.fromkeys(vectors, factor)
            tensors |= {name: divide.apply(tensors[name]) for name in vectors}
        if found and factor.endswith("2"):
            roles |= dict(zip(vectors, ("mean", "variance"), strict=True))
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


def _modules(checkpoint: Checkpoint, weights: Iterable[str]) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = defaultdict(list)
    for name in weights:
        found = _MODULE.fullmatch(name)
        if found and checkpoint.tensors[name].dtype in FLOATS:
            modules[found[1]].append(name)
    return modules


def _two_vectors_and_a_number(
    members: Sequence[str], tensors: Mapping[str, Tensor]
) -> tuple[str, str, str] | None:
    """A module's tensors, if they are two vectors of one size and one number, which comes last here."""
    if len(members) != 3 or any(sum(size != 1 for size in tensors[name].shape) > 1 for name in members):
        return None
    # Of three numbers the last one is the factor.
    one, other, factor = sorted(members, key=lambda name: -max(tensors[name].shape, default=1))
    same = max(tensors[one].shape, default=1) == max(tensors[other].shape, default=1)
    return (one, other, factor) if same and all(size == 1 for size in tensors[factor].shape) else None


def _has_quotients(tensors: Mapping[str, Tensor], trio: tuple[str, str, str], other: Checkpoint) -> bool:
    """Whether another file has two vectors over a number that says something."""
    *vectors, factor = trio
    size = max(tensors[vectors[0]].shape, default=1)
    (number,) = _values(tensors[factor])
    if size == 1 or (number == 1 and not factor.endswith("2")):
        return False
    candidates = [
        tensor
        for tensor in other.tensors.values()
        if tensor.dtype in FLOATS and prod(tensor.shape) == max(tensor.shape, default=1) == size
    ]
    divide = Divide(by=tensors[factor])
    return all(
        any(close(divide.apply(tensors[name]), candidate) for candidate in candidates) for name in vectors
    )


def _values(tensor: Tensor) -> Any:
    import numpy

    return numpy.concatenate([piece.astype("<f8") for piece in arrays(tensor.data, tensor.dtype)])
