"""Compare two checkpoints tensor by tensor, whatever their formats and layouts. No tensor is held whole."""

from __future__ import annotations

import os
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.operations import arrays
from converters.conversion.plan import make_plan
from converters.conversion.provenance import before, undoing
from converters.conversion.recognize import recognize
from converters.errors import ConverterError
from converters.formats.checkpoint import open_checkpoint
from converters.mapping.catalog import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.network_info import network_info
from converters.tensor import same_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.operations import Op
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.tensor import Tensor

KINDS = ("only in A", "only in B", "shape", "dtype", "values", "equal")
"""What can be said of a name: it is in one file only; its shapes differ; its dtypes differ and its values do not;
its values differ, whatever the dtypes; nothing differs, bit for bit."""


class Pair(NamedTuple):
    """One name in two files. ``a`` and ``b`` are dtype and shape there, None where the name is missing.

    Where values were compared, ``largest`` is the largest absolute difference (infinite where one of two values
    is not finite), ``cosine`` that of the angle between both as vectors, NaN where there is none, and ``unequal``
    counts elements.
    """

    name: str
    kind: str
    a: tuple[str, tuple[int, ...]] | None
    b: tuple[str, tuple[int, ...]] | None
    largest: float = 0.0
    cosine: float = 1.0
    unequal: int = 0


class Side(NamedTuple):
    """One of two compared files; ``layout`` and ``network`` are empty where it is not recognised."""

    path: str
    container: str
    size: int
    layout: str
    network: str


class Difference(NamedTuple):
    """What two files differ in. ``canonical`` tells that names and shapes are the networks' own, not the files'.

    ``rows`` are in the order of A, then those of B alone.
    """

    a: Side
    b: Side
    canonical: bool
    rows: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every tensor is in both files, bit for bit."""
        return all(row.kind == "equal" for row in self.rows)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``; a number that is not finite is None."""
        return {
            "same": self.same,
            "a": self.a._asdict(),
            "b": self.b._asdict(),
            "canonical": self.canonical,
            "rows": [
                {
                    **row._asdict(),
                    "largest": row.largest if isfinite(row.largest) else None,
                    "cosine": row.cosine if isfinite(row.cosine) else None,
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }


class _Known(NamedTuple):
    """An open file whose network is known. ``own`` is what its tensors go with once ``undo`` has been done."""

    checkpoint: Checkpoint
    fitted: Match
    info: NetworkInfo
    own: NetworkInfo
    undo: Mapping[str, tuple[Op, ...]]


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    layout_a: str | None = None,
    layout_b: str | None = None,
) -> Difference:
    """Compare two checkpoints of any supported format.

    Two files of one layout are compared as they are, with all else that they hold. Two layouts of one network
    are compared under canonical names, in PyTorch's order of axes, with variances moved to the smaller of both
    batch-norm eps; solver state and batch counters are left out then. Files whose network is not known are
    compared as they are. ``layout_a`` and ``layout_b`` decide where names fit several layouts.

    Raises `BadInput` where a file cannot be read, `Refused` where it is not of the layout that is asked for.
    """
    with open_checkpoint(os.fspath(a)) as one, open_checkpoint(os.fspath(b)) as other:
        left, right = _known(one, layout_a), _known(other, layout_b)
        notes: list[str] = []
        canonical = left is not None and right is not None and _translate(left, right)
        tensors = (one.tensors, other.tensors)
        if left and right:
            if canonical:
                tensors = _canonical(left, right)
            notes += _notes(left, right, canonical=canonical)
        return Difference(
            _side(one, left), _side(other, right), canonical, tuple(_compare(*tensors)), tuple(notes)
        )


def _known(checkpoint: Checkpoint, layout: str | None) -> _Known | None:
    try:
        fitted = recognize(checkpoint, layout, ask=False)
    except ConverterError:
        if layout is not None:
            raise
        return None
    info = network_info(fitted, checkpoint.provenance, told=checkpoint.told)
    undo = undoing(checkpoint.provenance, checkpoint.tensors)
    return _Known(checkpoint, fitted, info, before(info, checkpoint.provenance, undo), undo)


def _translate(left: _Known, right: _Known) -> bool:
    """Whether the files hold one family's networks in other names or axes: sizes alone are no reason."""
    if left.fitted.variant.family != right.fitted.variant.family:
        return False
    if left.fitted.layout.name != right.fitted.layout.name:
        return True
    ranks = [
        {
            name: len(one.checkpoint.tensors[name].shape)
            for entry in one.fitted.slots
            if entry.name and (name := one.fitted.prefix + entry.name)
        }
        for one in (left, right)
    ]
    return ranks[0] != ranks[1]


def _canonical(left: _Known, right: _Known) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    # To a smaller eps variances grow, so none can become negative.
    eps = min(left.own.bn_eps, right.own.bn_eps)
    return _canonical_tensors(left, eps), _canonical_tensors(right, eps)


def _canonical_tensors(one: _Known, eps: float) -> dict[str, Tensor]:
    checkpoint = one.checkpoint
    native = load_layout("native")
    plan = make_plan(
        one.fitted, checkpoint.tensors, native, one.own, eps=eps, undo=one.undo, path=checkpoint.path
    )
    rows = [row for row in plan.rows if not row.target.endswith(f".{BATCHES}")]
    return {row.target: row.tensor(checkpoint.tensors) for row in rows}


def _notes(left: _Known, right: _Known, *, canonical: bool) -> Iterator[str]:
    one, other = left.fitted.variant, right.fitted.variant
    if one.name != other.name:
        yield f"A is {one.title} ({one.name}), B {other.title} ({other.name})"
    if canonical:
        for name, side in (("A", left), ("B", right)):
            if side.fitted.dropped:
                yield f"{len(side.fitted.dropped)} values of {name} that are no weights are left out"
        if left.own.bn_eps != right.own.bn_eps:
            eps = min(left.own.bn_eps, right.own.bn_eps)
            yield (
                f"A's variances go with batch-norm eps {left.own.bn_eps:g}, B's with {right.own.bn_eps:g}: "
                f"compared at {eps:g}"
            )
    elif left.info.bn_eps != right.info.bn_eps:
        yield f"A's batch-norm eps is {left.info.bn_eps:g}, B's {right.info.bn_eps:g}"
    if left.info.pool1 != right.info.pool1:
        yield f"{'A' if left.info.pool1 else 'B'} alone has a max pool behind the stem"
    if left.info.stem_stride != right.info.stem_stride:
        yield f"A's stem stride is {left.info.stem_stride}, B's {right.info.stem_stride}"


def _side(checkpoint: Checkpoint, known: _Known | None) -> Side:
    layout, network = (known.fitted.layout.name, known.fitted.variant.name) if known else ("", "")
    return Side(checkpoint.path, checkpoint.container, checkpoint.size, layout, network)


def _compare(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Iterator[Pair]:
    for name, tensor in a.items():
        if name in b:
            yield _pair(name, tensor, b[name])
        else:
            yield Pair(name, "only in A", (tensor.dtype, tensor.shape), None)
    for name, tensor in b.items():
        if name not in a:
            yield Pair(name, "only in B", None, (tensor.dtype, tensor.shape))


def _pair(name: str, one: Tensor, other: Tensor) -> Pair:
    told = (one.dtype, one.shape), (other.dtype, other.shape)
    if one.shape != other.shape:
        return Pair(name, "shape", *told)
    if one.dtype == other.dtype and same_bytes(one, other):
        return Pair(name, "equal", *told)
    largest, cosine, unequal = _distance(one, other)
    kind = "dtype" if one.dtype != other.dtype and not unequal else "values"
    return Pair(name, kind, *told, largest, cosine, unequal)


def _distance(one: Tensor, other: Tensor) -> tuple[float, float, int]:
    """The largest absolute difference, the cosine, and how many values are unequal; two NaN are equal.

    The cosine is over the places where both are finite: 1 if both are zero there, NaN if one of them is.
    """
    import numpy

    largest, unequal = 0.0, 0
    product = left_square = right_square = 0.0
    with numpy.errstate(all="ignore"):
        for raw_x, raw_y in _aligned(arrays(one.data, one.dtype), arrays(other.data, other.dtype)):
            x, y = raw_x.astype("float64"), raw_y.astype("float64")
            same = raw_x == raw_y if one.dtype == other.dtype else x == y
            same |= numpy.isnan(x) & numpy.isnan(y)
            unequal += int((~same).sum())
            finite = numpy.isfinite(x) & numpy.isfinite(y)
            if not (finite | same).all():
                largest = float("inf")
            x, y = x[finite], y[finite]
            largest = max(largest, float(numpy.abs(x - y).max(initial=0.0)))
            # Not x @ y: on a busy machine BLAS waits longer for its threads than all else takes.
            product += float(numpy.einsum("i,i", x, y))
            left_square += float(numpy.einsum("i,i", x, x))
            right_square += float(numpy.einsum("i,i", y, y))
    if left_square == right_square == 0:
        return largest, 1.0, unequal
    norm = sqrt(left_square) * sqrt(right_square)
    return largest, product / norm if norm else float("nan"), unequal


def _aligned(ones: Iterator[Any], others: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Two runs of as many values, in pieces of equal length."""
    x = y = None
    while True:
        x = next(ones, None) if x is None or not len(x) else x
        y = next(others, None) if y is None or not len(y) else y
        if x is None or y is None:
            return
        size = min(len(x), len(y))
        yield x[:size], y[:size]
        x, y = x[size:], y[size:]
