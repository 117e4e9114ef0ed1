"""Compare two checkpoints tensor by tensor, whatever their formats and layouts, without holding a whole tensor."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.arrays import arrays
from converters.conversion.identify import declared_settings
from converters.conversion.plan import make_plan
from converters.conversion.provenance import info_after_undo, undo_operations
from converters.conversion.recognize import recognize
from converters.conversion.row import Undo
from converters.errors import ConverterError
from converters.formats.open import open_checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.network_info import network_info
from converters.mapping.settings import settings_text
from converters.mapping.variants import BN_EPS
from converters.printable import printable
from converters.shown import Shown
from converters.tensor import ITEMSIZE, same_bytes

from .other_differences import (
    FORM,
    RECORD,
    OtherComparison,
    Others,
    equal_others,
    have_one_format,
    others_inside,
    others_of,
    same_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.tensor import Tensor

KINDS = ("only in A", "only in B", "shape", "dtype", "values", "equal")
"""How a tensor compares: it is in one file only; the shapes differ; the dtypes differ but not the values; the values
differ, whatever the dtypes; it is equal, bit for bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorComparison:
    """One name in two files. ``kind`` is one of `KINDS`; ``a`` and ``b`` are dtype and shape in each file, None where
    the name is missing.

    Where values were compared, ``largest`` is the largest absolute difference (infinite where one of two values
    is not finite), ``cosine`` the cosine of the angle between the two as vectors, NaN where there is none, and
    ``unequal`` counts elements. ``other_bits`` counts those of equal values but other bits: signs of zeros, payloads of
    NaN.
    """

    name: str
    kind: str
    a: tuple[str, tuple[int, ...]] | None
    b: tuple[str, tuple[int, ...]] | None
    largest: float = 0.0
    cosine: float = 1.0
    unequal: int = 0
    other_bits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFile:
    """One of the two files; ``layout`` and ``network`` are empty where it is not recognised."""

    path: str
    container: str
    size: int
    layout: str
    network: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Difference(Shown):
    """What two files differ in. ``canonical`` says that names and shapes are canonical, not the files' own.

    ``rows`` are in the order of A; those of B alone come last. ``others`` are what was compared beside the tensors:
    values that are not converted, metadata, the record. ``not_compared`` names what each side holds beside a network
    that two layouts store, or that the other side's format has no place for.
    """

    a: ComparedFile
    b: ComparedFile
    canonical: bool
    rows: tuple[TensorComparison, ...]
    others: tuple[OtherComparison, ...]
    not_compared: tuple[tuple[str, ...], tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all that was compared is in both files, bit for bit."""
        kinds = {row.kind for row in self.rows} | {other.kind for other in self.others}
        return kinds <= {"equal"}

    def __bool__(self) -> bool:
        raise TypeError("a Difference is neither true nor false: use .same")

    def lines(self) -> tuple[str, ...]:
        """Whether the files are the same, and in what they differ."""
        kinds = [row.kind for row in self.rows]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
        others = [other for other in self.others if other.kind != "equal"]
        return (
            f"{self.a.path} and {self.b.path} {'are the same' if self.same else 'differ'}",
            f"tensors: {counts or 'none'}",
            *([f"beside them: {len(others)} differ"] if others else []),
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``; a number that is not finite is None."""
        return {
            "same": self.same,
            "a": asdict(self.a),
            "b": asdict(self.b),
            "canonical": self.canonical,
            "rows": [
                {
                    **asdict(row),
                    "largest": row.largest if isfinite(row.largest) else None,
                    "cosine": row.cosine if isfinite(row.cosine) else None,
                }
                for row in self.rows
            ],
            "others": [asdict(other) for other in self.others],
            "not_compared": {"a": list(self.not_compared[0]), "b": list(self.not_compared[1])},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identified:
    """An open file of a known network. ``own`` is the info that its tensors have once ``undo`` has been applied."""

    checkpoint: Checkpoint
    match: Match
    info: NetworkInfo
    own: NetworkInfo
    undo: Undo


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    layout_a: str | None = None,
    layout_b: str | None = None,
    entry_a: str | None = None,
    entry_b: str | None = None,
) -> Difference:
    """Compare two checkpoints of any supported format.

    Two files of one format are equal if all that they hold is: tensors, values that are not converted, metadata, the
    record. How they are written is not compared, and is named where bytes differ. Files with the same bytes are equal.
    Two layouts of one network are compared under canonical names, with PyTorch's axes and with variances converted to
    the smaller batch norm eps; what either holds beside the network's tensors is then named and not compared. So are
    values that only one of two formats can hold. Files of unknown networks are compared as they are. ``layout_a`` and
    ``layout_b`` decide where names fit several layouts.

    ``entry_a`` and ``entry_b`` name a state dict in a PyTorch file, or averages in a TensorFlow or Flax file. With
    either one, what the files hold beside the entries is not compared.

    Raises `BadInput` where a file cannot be read, `Refused` where it does not have the layout asked for, `UsageError`
    where it does not have the entry.
    """
    with (
        open_checkpoint(os.fspath(a), entry=entry_a) as file_a,
        open_checkpoint(os.fspath(b), entry=entry_b) as file_b,
    ):
        left, right = _identify_both((file_a, layout_a), (file_b, layout_b))
        notes: tuple[str, ...] = ()
        canonical = left is not None and right is not None and _needs_translation(left, right)
        if left and right:
            notes = tuple(_notes(left, right, canonical=canonical))
        identical = False
        if left and right and canonical:
            # Variances grow towards a smaller eps, so none can become negative.
            eps = min(left.own.bn_eps, right.own.bn_eps)
            rows = _compare_all(_canonical_tensors(left, eps), _canonical_tensors(right, eps))
            others = Others((), (_beside(left), _beside(right)))
        elif entry_a is not None or entry_b is not None:
            rows, others = _compare_all(file_a.tensors, file_b.tensors), others_inside(file_a, file_b)
        elif identical := same_files(file_a, file_b):
            rows, others = _equal_tensors(file_a), equal_others(file_a)
        elif left and right and left.match.prefix != right.match.prefix and _is_one_network(left, right):
            rows = _compare_all(_without_prefix(left), _without_prefix(right))
            others = others_of(file_a, file_b)
        else:
            rows, others = _compare_all(file_a.tensors, file_b.tensors), others_of(file_a, file_b)
        found = Difference(
            a=_described(file_a, left),
            b=_described(file_b, right),
            canonical=canonical,
            rows=tuple(rows),
            others=others.compared,
            not_compared=others.not_compared,
            notes=notes,
        )
        written_apart = not (canonical or identical) and have_one_format(file_a, file_b)
        return _with_form(found) if written_apart and found.same else found


def _with_form(difference: Difference) -> Difference:
    """The same of two files whose bytes differ although nothing that was compared does."""
    of_a, of_b = difference.not_compared
    return replace(difference, not_compared=((*of_a, FORM), (*of_b, FORM)))


def _beside(side: _Identified) -> tuple[str, ...]:
    """What a file holds beside the tensors of its network."""
    checkpoint, match = side.checkpoint, side.match
    names = (*match.dropped, *match.counters, *checkpoint.other_values, *checkpoint.metadata)
    return (*dict.fromkeys(names), *((RECORD,) if checkpoint.provenance else ()))


def _equal_tensors(checkpoint: Checkpoint) -> Iterator[TensorComparison]:
    for name, tensor in checkpoint.tensors.items():
        described = (tensor.dtype, tensor.shape)
        yield TensorComparison(name=name, kind="equal", a=described, b=described)


def _identify_both(*files: tuple[Checkpoint, str | None]) -> tuple[_Identified | None, _Identified | None]:
    """Both files; one whose names and shapes fit several networks is taken for that of the other file."""
    left, right = (_identify(*file) for file in files)
    if left and right and not _is_one_network(left, right):
        if right.match.variant.name in (*left.match.choices, *left.match.also):
            left = _identify(*files[0], right.match.variant.name)
        elif left.match.variant.name in (*right.match.choices, *right.match.also):
            right = _identify(*files[1], left.match.variant.name)
    return left, right


def _identify(checkpoint: Checkpoint, layout: str | None, variant: str | None = None) -> _Identified | None:
    try:
        match = recognize(checkpoint, layout, variant=variant, ask=False)
    except ConverterError:
        if layout is not None:
            raise
        return None
    info = network_info(match, checkpoint.provenance, declared=declared_settings(checkpoint))
    undo = undo_operations(checkpoint.provenance, checkpoint.tensors)
    own = info_after_undo(info, checkpoint.provenance, undo)
    return _Identified(checkpoint=checkpoint, match=match, info=info, own=own, undo=Undo(undo, info.settings))


def _is_one_network(left: _Identified, right: _Identified) -> bool:
    return left.match.variant.family == right.match.variant.family


def _needs_translation(left: _Identified, right: _Identified) -> bool:
    """Whether the files hold networks of one family with different names or axes; different sizes do not matter."""
    if not _is_one_network(left, right):
        return False
    if left.match.layout.name != right.match.layout.name or left.match.names != right.match.names:
        return True
    ranks = [
        {
            slot.name: len(side.checkpoint.tensors[side.match.file_name(slot)].shape)
            for slot in side.match.slots
            if slot.name
        }
        for side in (left, right)
    ]
    return ranks[0] != ranks[1]


def _without_prefix(side: _Identified) -> dict[str, Tensor]:
    """All tensors of a file, by their names without the prefix that those of the network have."""
    prefix = side.match.prefix
    return {name.removeprefix(prefix): tensor for name, tensor in side.checkpoint.tensors.items()}


def _canonical_tensors(side: _Identified, eps: float) -> dict[str, Tensor]:
    """The tensors by canonical names; one that is stored twice with other values by its further name too."""
    checkpoint = side.checkpoint
    native = load_layout("native")
    plan = make_plan(
        side.match, checkpoint.tensors, native, side.own, eps=eps, undo=side.undo, path=checkpoint.path
    )
    rows = [row for row in plan.rows if not row.target.endswith(f".{BATCHES}")]
    copies = {
        copy: checkpoint.tensors[copy]
        for name, copy in plan.equal
        if not same_bytes(checkpoint.tensors[name], checkpoint.tensors[copy])
    }
    return {row.target: row.tensor(checkpoint.tensors) for row in rows} | copies


def _notes(left: _Identified, right: _Identified, *, canonical: bool) -> Iterator[str]:
    variants = left.match.variant, right.match.variant
    if variants[0].name != variants[1].name:
        titles = [f"{variant.title} ({variant.name})" for variant in variants]
        yield f"A is {titles[0]}, B is {titles[1]}"
    if canonical:
        if left.own.bn_eps != right.own.bn_eps:
            eps = min(left.own.bn_eps, right.own.bn_eps)
            yield (
                f"A's variances are for batch norm eps {left.own.bn_eps:g}, B's for {right.own.bn_eps:g}: "
                f"compared at {eps:g}"
            )
    elif left.info.bn_eps != right.info.bn_eps:
        yield f"A's batch norm eps is {left.info.bn_eps:g}, B's {right.info.bn_eps:g}"
    prefixes = left.match.prefix, right.match.prefix
    if not canonical and prefixes[0] != prefixes[1] and _is_one_network(left, right):
        words = [f"the prefix {printable(prefix)!r}" if prefix else "no prefix" for prefix in prefixes]
        yield f"A's names have {words[0]}, B's {words[1]}: compared without"
    of_a, of_b = ((side.own if canonical else side.info).settings for side in (left, right))
    if apart := [name for name in of_a if name in of_b and name != BN_EPS and of_a[name] != of_b[name]]:
        yield f"A has {settings_text(of_a, apart)}, B {settings_text(of_b, apart)}"


def _described(checkpoint: Checkpoint, side: _Identified | None) -> ComparedFile:
    return ComparedFile(
        path=checkpoint.path,
        container=checkpoint.container,
        size=checkpoint.size,
        layout=side.match.layout.name if side else "",
        network=side.match.variant.name if side else "",
    )


def _compare_all(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Iterator[TensorComparison]:
    for name, tensor in a.items():
        if name in b:
            yield _compare(name, tensor, b[name])
        else:
            yield TensorComparison(name=name, kind="only in A", a=(tensor.dtype, tensor.shape), b=None)
    for name, tensor in b.items():
        if name not in a:
            yield TensorComparison(name=name, kind="only in B", a=None, b=(tensor.dtype, tensor.shape))


def _compare(name: str, left: Tensor, right: Tensor) -> TensorComparison:
    a, b = (left.dtype, left.shape), (right.dtype, right.shape)
    if left.shape != right.shape:
        return TensorComparison(name=name, kind="shape", a=a, b=b)
    if left.dtype == right.dtype and same_bytes(left, right):
        return TensorComparison(name=name, kind="equal", a=a, b=b)
    distance = _distance(left, right)
    kind = "dtype" if left.dtype != right.dtype and not distance.unequal else "values"
    return TensorComparison(name=name, kind=kind, a=a, b=b, **distance._asdict())


class _Distance(NamedTuple):
    """What `TensorComparison` says of two tensors' values."""

    largest: float
    cosine: float
    unequal: int
    other_bits: int


def _distance(left: Tensor, right: Tensor) -> _Distance:
    """How far two tensors of one shape are apart; two NaN are equal.

    The cosine is over the elements that are finite in both: NaN if one of them is zero there, or both are and others
    differ.
    """
    import numpy

    largest, unequal, other_bits = 0.0, 0, 0
    bits = f"u{ITEMSIZE[left.dtype]}" if left.dtype != "bfloat16" else "u4"  # as numpy has it
    product = left_square = right_square = 0.0
    whole = left.dtype == right.dtype and "float" not in left.dtype
    with numpy.errstate(all="ignore"):
        for raw_x, raw_y in _aligned(arrays(left.data, left.dtype), arrays(right.data, right.dtype)):
            x, y = raw_x.astype("float64"), raw_y.astype("float64")
            same = raw_x == raw_y if left.dtype == right.dtype else x == y
            same |= numpy.isnan(x) & numpy.isnan(y)
            unequal += int((~same).sum())
            if left.dtype == right.dtype:
                other_bits += int((same & (raw_x.view(bits) != raw_y.view(bits))).sum())
            finite = numpy.isfinite(x) & numpy.isfinite(y)
            if not (finite | same).all():
                largest = float("inf")
            x, y = x[finite], y[finite]
            largest = max(
                largest, _farthest(raw_x, raw_y) if whole else float(numpy.abs(x - y).max(initial=0.0))
            )
            # Not x @ y: on a busy machine BLAS waits longer for its threads than all else takes.
            product += float(numpy.einsum("i,i", x, y))
            left_square += float(numpy.einsum("i,i", x, x))
            right_square += float(numpy.einsum("i,i", y, y))
    if left_square == right_square == 0:
        return _Distance(largest, 1.0 if isfinite(largest) else nan, unequal, other_bits)
    norm = sqrt(left_square) * sqrt(right_square)
    return _Distance(largest, product / norm if norm else nan, unequal, other_bits)


def _farthest(x: Any, y: Any) -> float:
    """The largest difference of integers, which float64 may not tell apart."""
    import numpy

    apart = numpy.where(x > y, x.astype("u8") - y.astype("u8"), y.astype("u8") - x.astype("u8"))
    return float(apart.max(initial=0))


def _aligned(left: Iterator[Any], right: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """The values of two tensors of one size, in pieces of equal length."""
    x = y = None
    while True:
        x = next(left, None) if x is None or not len(x) else x
        y = next(right, None) if y is None or not len(y) else y
        if x is None or y is None:
            return
        size = min(len(x), len(y))
        yield x[:size], y[:size]
        x, y = x[size:], y[size:]
