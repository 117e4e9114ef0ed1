"""From a file that fits to rows that say, tensor by tensor, what becomes what. Names and shapes only."""

from __future__ import annotations

from functools import partial
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput, Refused
from converters.mapping.match import zeros_of
from converters.mapping.names import BATCHES, CannotHold, TensorSlot, families, tensor_slots
from converters.mapping.network_info import differing_settings, layout_settings
from converters.mapping.settings import made_up_for, settings_text
from converters.mapping.storage import DIVISOR
from converters.mapping.variants import BN_EPS
from converters.tensor import ITEMSIZE

from .operations import (
    AddUlps,
    Cast,
    Divide,
    InverseStd,
    Permute,
    Reshape,
    Reverse,
    Roll,
    Scale,
    ShiftVariance,
    filled,
    is_exact,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable, Support
    from converters.mapping.storage import StoredTensor
    from converters.tensor import Tensor

    from .operations import Op


class Row(NamedTuple):
    """One tensor's way. ``source`` is None for a tensor that is not read but filled with ``fill``."""

    source: str | None
    target: str
    dtype: str
    shape: tuple[int, ...]
    ops: tuple[Op, ...]
    fill: float = 0.0

    def tensor(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The target's tensor, still lazy."""
        tensor = tensors[self.source] if self.source is not None else self._filled()
        for op in self.ops:
            tensor = op.apply(tensor)
        return tensor._replace(name=self.target)

    def _filled(self) -> Tensor:
        return filled(self.target, self.dtype, self.shape, self.fill)

    @property
    def divisor(self) -> Tensor | None:
        """The tensor of the file, beside the source, that the source's values are divided by."""
        return next((op.by for op in self.ops if isinstance(op, Divide) and not op.back), None)


class OriginalFile(NamedTuple):
    """What the file that a chain of conversions began with was like, now that they are undone: the prefix of its
    names, and by canonical names the shapes that were not the layout's own and the dtypes that were not
    ``dtype``. ``lossy`` tells that something was rounded since.
    ``names`` are those of modules that may have several, by their keys in the table. ``steps``, packed, lead
    from what the tables alone would write to what the file had, by canonical names (`AddUlps`). ``inverse`` tells
    that it had inverse standard deviations, ``absent`` that its names lacked the backbone's prefix, and ``head`` is
    the head's name where it was not the layout's."""

    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str
    dtypes: Mapping[str, str]
    lossy: bool
    names: Mapping[str, str] = MappingProxyType({})
    steps: Mapping[str, str] = MappingProxyType({})
    inverse: bool = False
    absent: bool = False
    head: str = ""


def differences(had: Support, has: Support) -> list[str]:
    """What must be said of weights that go from a network of one layout to that of another."""
    said = [has.note]
    if had.config != has.config:
        said += [had.differs or (had.note if had.config else ""), has.differs]
    return [text for text in dict.fromkeys(said) if text]


class Plan(NamedTuple):
    """All rows, in the target's state-dict order, and what must be said about the result.

    ``implied`` are tensors that the target does not store, with the value each must have everywhere; ``equal`` pairs
    of tensors of the file that must have the same values. ``settings`` are those that the output's weights go with,
    ``moved`` what those of them were that weights make up for.
    ``inverse_std`` tells that the target's have inverse standard deviations for variances.
    """

    rows: tuple[Row, ...]
    implied: tuple[tuple[str, float], ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    eps_shift: float
    inverse_std: bool = False
    equal: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    moved: Mapping[str, Any] = MappingProxyType({})


NOTHING = Plan((), (), (), (), 0.0)
"""A plan without rows."""


def make_plan(
    match: Match,
    tensors: Mapping[str, Tensor],
    target: LayoutTable,
    info: NetworkInfo,
    *,
    eps: float,
    dtype: str | None = None,
    undo: Mapping[str, tuple[Op, ...]] | None = None,
    former: OriginalFile | None = None,
    home: LayoutTable | None = None,
    path: str = "",
) -> Plan:
    """Pair every tensor of a fitted file with its name in ``target``.

    ``info.bn_eps`` is what the file's variances go with, ``eps`` what the target's must go with; ``undo`` are
    operations that a former conversion's provenance asks for, by the tensor's name in the file, and ``former``
    what the file had been before it, if this is the way back. ``home`` is the layout whose network the weights
    are of, if not the file's. Raises `Refused` with the reason where the
    target cannot hold the network.
    """
    support_for = target.support_for(match.variant.name)
    if support_for.unsupported:
        raise Refused(
            f"{target.title} cannot hold {match.variant.title}: {support_for.unsupported}",
            path=path,
            hint="`convert models` shows which layouts can",
        )
    if former and former.absent:
        target = target.without_backbone()
    if former and former.head:
        target = target.with_head(former.head)
    target = target.choose(partial(_former_name, former.names if former else {}))
    if former and former.inverse:
        target = target.inverted()
    try:
        wanted = _expand(match, target)
    except CannotHold as error:
        raise Refused(
            f"{target.title} has no name for {match.variant.title}'s module {error}",
            path=path,
            hint="`convert models` shows which layouts can",
        ) from None
    prefix = former.prefix if former else ""
    shift = info.bn_eps - eps if BN_EPS in info.settings else 0.0
    sources: dict[str, TensorSlot] = {}
    equal: list[tuple[str, str]] = []
    for entry in match.slots:
        first = sources.setdefault(entry.canonical, entry)
        if first is not entry:
            equal.append((match.prefix + first.name, match.prefix + entry.name))
    other = settings_apart(match, target, info)
    moved = {key: name for name in other for key in match.variant.table.folded_settings.get(name, ())}
    rows: list[Row] = []
    implied: list[tuple[str, float]] = []
    implied += [(name, 0.0) for name in zeros_of(match)]
    divisors: dict[str, Tensor] = {}
    turned: list[str] = []
    if match.partial:
        wanted = [entry for entry in wanted if entry.canonical in sources]
    for entry in wanted:
        shape = tuple([size if isinstance(size, int) else match.sizes[size] for size in entry.shape])
        if entry.leaf == BATCHES:
            counter = _counter(match, tensors, sources[entry.canonical])
            rows.append(Row(counter, prefix + entry.name, "int64", (), ()))
            continue
        if entry.leaf == DIVISOR and entry.canonical not in sources:
            row = _divisor(entry, former, prefix + entry.name, dtype)
            rows.append(row)
            if row.ops:
                divisors[entry.canonical] = row.tensor({})
            continue
        source = sources[entry.canonical]
        if entry.stored.constant is not None:
            if source.stored.constant is None:
                implied.append((match.prefix + source.name, entry.stored.constant))
            continue
        if source.stored.constant is not None:
            fill = source.stored.constant + (shift if entry.leaf == "running_var" else 0)
            rows.append(Row(None, prefix + entry.name, dtype or "float32", shape, (), fill))
            continue
        tensor = tensors[match.prefix + source.name]
        kept = former.dtypes.get(entry.canonical, former.dtype) if former else tensor.dtype
        wanted_dtype = dtype or kept
        ops: list[Op] = []
        if source.stored.over and not entry.stored.over:
            ops.append(Divide(tensors[match.prefix + sources[_beside(entry)].name]))
        if source.stored.inverse and not entry.stored.inverse:
            ops.append(InverseStd(info.bn_eps))
        ops += (undo or {}).get(tensor.name, ())
        had = former.shapes.get(entry.canonical) if former else None
        rows_of = shape[0] if shape else 1
        shape = reorder(ops, tensor.shape, shape, source.stored, entry.stored, had)
        if roll := entry.stored.rotated_columns - source.stored.rotated_columns:
            ops.append(Roll(roll))
        if entry.stored.bgr != source.stored.bgr:
            ops.append(Reverse())
            turned.append(tensor.name)
        if source.key in moved or entry.key in moved:
            ops.append(Scale(rows_of, down=bool(info.settings[moved[source.key or entry.key]])))
        if entry.leaf == "running_var" and shift:
            ops.append(ShiftVariance(shift))
        if wanted_dtype != tensor.dtype:
            ops.append(Cast(wanted_dtype))
        over = bool(entry.stored.over) and not source.stored.over
        inverse = entry.stored.inverse and not source.stored.inverse
        if over and _beside(entry) in divisors:
            ops.append(Divide(divisors[_beside(entry)], back=True))
        if inverse:
            ops.append(InverseStd(eps, back=True))
        if (over or inverse) and former and wanted_dtype == kept and not former.lossy:
            ops += _steps(former, entry, wanted_dtype, shape)
        rows.append(Row(tensor.name, prefix + entry.name, wanted_dtype, shape, tuple(ops)))
    made_up = made_up_for(match.variant)
    kept_apart = {name: value for name, value in other.items() if name not in made_up}
    notes = []
    if not target.identity:
        notes += differences((home or match.layout).support_for(match.variant.name), support_for)
        notes += _said(match, target, info, kept_apart, path)
    if turned:
        notes.append(f"the input channels of {', '.join(turned)} were turned round, between BGR and RGB")
    if shift:
        notes.append(
            f"{target.title} networks have batch-norm eps {eps:g}, these weights {info.bn_eps:g}: "
            f"the difference, {shift:+.3g}, went into every running_var, so the function stays the same"
        )
    if target.format != "pytorch" and match.counters and not former:
        notes.append(
            f"{len(match.counters)} batch counters, which inference does not use, have no place in the target"
        )
    if former and former.lossy:
        notes.append("something was cast on the way here: what that rounded cannot come back")
    if dtype is not None:
        exact = all(is_exact(tensors[row.source].dtype, row.dtype) for row in rows if row.source is not None)
        count = sum(1 for row in rows if any(isinstance(op, Cast) for op in row.ops))
        notes.append(
            f"{count} tensors were cast to {dtype}{'' if exact else ', which rounds: there is no exact way back'}"
        )
    inverse = former is not None and former.inverse
    followed = {name: value for name, value in other.items() if name not in kept_apart}
    return Plan(
        tuple(rows),
        tuple(implied),
        match.dropped,
        tuple(notes),
        shift,
        inverse,
        tuple(equal),
        {**info.with_eps(eps).settings, **followed},
        {name: info.settings[name] for name in followed},
    )


def _beside(entry: TensorSlot) -> str:
    """The canonical name of the divisor that stands beside a tensor."""
    return entry.canonical.removesuffix(entry.leaf) + DIVISOR


def _divisor(entry: TensorSlot, former: OriginalFile | None, name: str, dtype: str | None) -> Row:
    """A divisor that the source lacks: 1, or what the first file of the chain had, unless all is cast."""
    kept = former.dtypes.get(entry.canonical, former.dtype) if former else "float32"
    shape = former.shapes.get(entry.canonical, (1,)) if former else (1,)
    ops = _steps(former, entry, kept, shape) if former and dtype in (None, kept) else ()
    return Row(None, name, dtype or kept, shape, tuple(ops), 1.0)


def _steps(former: OriginalFile, entry: TensorSlot, dtype: str, shape: tuple[int, ...]) -> Iterator[AddUlps]:
    text = former.steps.get(entry.canonical)
    if text is not None:
        try:
            yield AddUlps(unpack(text, prod(shape) * ITEMSIZE[dtype]))
        except ValueError:
            raise BadInput(
                "its provenance record does not go with its tensors", hint="convert the source again"
            ) from None


def _counter(match: Match, tensors: Mapping[str, Tensor], variance: TensorSlot) -> str | None:
    """The batch counter that a file has beside a batch norm's variance; None where it has none, as files of before
    PyTorch 0.4.1."""
    name = match.prefix + variance.name.removesuffix("running_var") + BATCHES
    tensor = tensors.get(name) if match.layout.format == "pytorch" else None
    return name if tensor is not None and (tensor.dtype, tensor.shape) == ("int64", ()) else None


def settings_apart(match: Match, target: LayoutTable, info: NetworkInfo) -> dict[str, Any]:
    """The settings of the target's own network that are not those of the file's."""
    if target.identity:
        return {}
    return differing_settings(info.settings, layout_settings(target, match.variant, match.sizes))


def _said(
    match: Match, target: LayoutTable, info: NetworkInfo, own: Mapping[str, Any], path: str
) -> Iterator[str]:
    """What a user must know of settings that differ and that no weight makes up for. Raises `Refused` for what the
    target cannot be told to do."""
    fixed = [name for name in own if name in target.support_for(match.variant.name).fixed]
    if fixed:
        raise Refused(
            f"{target.title} cannot hold this {match.variant.title}: its network has "
            f"{settings_text(own, fixed)} where these weights need {settings_text(info.settings, fixed)}",
            path=path,
            hint="`convert models` shows which layouts can",
        )
    if own:
        yield settings_note(target, own, info)


def settings_note(target: LayoutTable, apart: Mapping[str, Any], info: NetworkInfo) -> str:
    """What must be said of settings that no weight makes up for, with the target's own values."""
    return (
        f"{target.title}'s own network has {settings_text(apart)}, and these weights need "
        f"{settings_text(info.settings, apart)}: no weight shows it, so change it there, or the outputs differ"
    )


def _former_name(names: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    return names[key] if names.get(key) in choices else choices[0]


def reorder(
    ops: list[Op],
    shape: tuple[int, ...],
    canonical: tuple[int, ...],
    source: StoredTensor,
    target: StoredTensor,
    former: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Add the operations that lead from one layout's shape and axes to another's; returns the shape there."""
    plain = source.plain(shape, len(canonical))
    if plain is not None and plain != shape:
        ops.append(Reshape(plain))
    if source.axes or target.axes:
        same = tuple(range(len(canonical)))
        here, there = source.axes or same, target.axes or same
        axes = tuple(here[there.index(axis)] for axis in same)
        if axes != same:
            ops.append(Permute(axes))
    bare = target.bare(canonical)
    out = target.full(bare) if former is None else former
    if prod(out) != prod(bare):
        raise BadInput("its provenance record does not go with its tensors", hint="convert the source again")
    if out != bare:
        ops.append(Reshape(out))
    return out


def _expand(match: Match, target: LayoutTable) -> list[TensorSlot]:
    """Every tensor as the target has it, batch counters included."""
    if match.variant.family not in families(target):
        raise CannotHold(match.variant.title)
    out: list[TensorSlot] = []
    counted = target.format == "pytorch"
    for entry in tensor_slots(target, match.variant, match.sizes, match.present):
        out.append(entry)
        if counted and entry.leaf == "running_var" and entry.name:
            counter = entry.name.removesuffix("running_var") + BATCHES
            out.append(TensorSlot(entry.canonical, counter, (), "bn", BATCHES, entry.stored))
    return out
