"""Plan a conversion: what becomes of every tensor. Names and shapes only; no tensor is read."""

from __future__ import annotations

from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.mapping.layout_tables import readable_layouts
from converters.mapping.match import tensors_that_must_be_zero
from converters.mapping.name_order import in_order
from converters.mapping.names import BATCHES, CannotHold, TensorSlot, families, tensor_slots
from converters.mapping.settings import follows, made_up_for
from converters.mapping.storage import DIVISOR
from converters.mapping.variants import BN_EPS
from converters.record import Record

from .exchanges import exchange_notes, exchanges
from .notes import (
    cast_note,
    channels_note,
    clip_notes,
    differences,
    fixed_settings,
    settings_apart,
    settings_note,
    value_notes,
)
from .operations.storage import Permute, Reshape, Reverse, Roll
from .operations.values import Cast, Divide, Multiply, Scale, ShiftVariance, ToInverseStd, ToVariance
from .original_file import wrong_record
from .row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.mapping.storage import StoredTensor
    from converters.tensor import Tensor

    from .exchanges import Exchanges
    from .operations.base import Operation
    from .operations.storage import Exchange
    from .original_file import OriginalFile
    from .row import Undo


class Plan(Record):
    """All rows, in the target's state-dict order, and the notes on the result.

    ``implied`` are tensors that the target does not store, with the value that each must have everywhere. ``equal`` are
    pairs of the file's tensors that must have the same values. ``settings`` are those that the output's weights need;
    ``moved`` has the source's values of those that changed, since the weights make up for it or the output takes other
    clips. ``inverse_std`` says
    that the target stores inverse standard deviations for variances.
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


NOTHING = Plan(rows=(), implied=(), dropped=(), notes=(), eps_shift=0.0)
"""A plan without rows."""


def make_plan(
    match: Match,
    tensors: Mapping[str, Tensor],
    target: LayoutTable,
    info: NetworkInfo,
    *,
    eps: float,
    dtype: str | None = None,
    undo: Undo | None = None,
    original: OriginalFile | None = None,
    origin_layout: LayoutTable | None = None,
    path: str = "",
) -> Plan:
    """Pair every tensor of a matched file with its name in ``target``.

    ``info.bn_eps`` is the eps that the file's variances go with, ``eps`` the one that the target's must go with.
    ``undo`` is what undoes an earlier conversion, and ``original`` the file before that, if this is the way back.
    ``origin_layout`` is the layout whose network the weights belong to, if not the file's. Raises `Refused` with the
    reason if the target cannot hold the network.
    """
    apart = (
        _made_up_again(match, info, undo.had) if undo and undo.had else settings_apart(match, target, info)
    )
    folded = {key: name for name in apart for key in match.variant.table.folded_settings.get(name, ())}
    planner = _Planner(
        match,
        tensors,
        info,
        eps=eps,
        dtype=dtype,
        undo=undo.operations if undo else {},
        original=original,
        folded=folded,
        exchanges=exchanges(
            match.variant.table, undo.settings if undo else info.settings, {**info.settings, **apart}
        ),
        scope=target.scope_for(match.sizes),
    )
    for slot in _wanted(match, target, info, original, path):
        planner.add(slot)
    if original and len({row.target for row in planner.rows}) < len(planner.rows):
        raise wrong_record()
    followed, own = _followed(match, info, apart)
    if fixed := fixed_settings(match, target, info, own):
        what = f"{target.title} cannot hold this {match.variant.title}: {fixed}"
        raise Refused(what, path=path, hint=_holders(match, info))
    notes = _layout_notes(origin_layout or match.layout, target, match, info, own)
    notes += clip_notes(match, target, info, followed)
    notes += value_notes(planner.rows, target, info, planner.shift)
    notes += exchange_notes(planner.rows, match, target, info, followed)
    if target.format != "pytorch" and match.counters and not original:
        counters = len(match.counters)
        notes.append(f"{counters} batch counters, which inference does not use, have no place in the target")
    if original and original.lossy:
        notes.append("an earlier conversion cast tensors: what it rounded cannot be restored")
    notes += [cast_note(planner.rows, tensors, dtype)] if dtype is not None else []
    return Plan(
        rows=tuple(planner.rows),
        implied=tuple(planner.implied),
        dropped=match.dropped,
        notes=tuple(notes),
        eps_shift=planner.shift,
        inverse_std=original is not None and original.inverse,
        equal=tuple(planner.equal),
        settings={**info.with_eps(eps).settings, **followed},
        moved={name: info.settings[name] for name in followed},
    )


def _followed(
    match: Match, info: NetworkInfo, apart: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that differ: those that the weights or the clips follow, and those that are the target's own."""
    own = dict(apart)
    followed = {
        name: own.pop(name)
        for name, value in apart.items()
        if follows(match.variant, name, info.settings[name], value)
    }
    return followed, own


def _made_up_again(match: Match, info: NetworkInfo, had: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the file to come back to that differ, and that weights make up for."""
    names = made_up_for(match.variant) - {BN_EPS}
    return {name: had[name] for name in sorted(names) if name in had and had[name] != info.settings.get(name)}


def _layout_notes(
    source: LayoutTable, target: LayoutTable, match: Match, info: NetworkInfo, own: Mapping[str, Any]
) -> list[str]:
    """How the networks of two layouts differ, and in which settings the target's own network does."""
    if target.identity:
        return []
    variant = match.variant.name
    notes = [*differences(source.support_for(variant), target.support_for(variant))]
    notes += channels_note(match, target)
    return [*notes, settings_note(target, own, info)] if own else notes


class _Planner:
    """Makes the rows, one slot of the target after the other.

    ``folded`` has, for each line of the network's table whose weights make up for a setting, that setting's name.
    ``scope`` stands before all names where there is no original file.
    """

    def __init__(
        self,
        match: Match,
        tensors: Mapping[str, Tensor],
        info: NetworkInfo,
        *,
        eps: float,
        dtype: str | None,
        undo: Mapping[str, tuple[Operation, ...]],
        original: OriginalFile | None,
        folded: Mapping[str, str],
        exchanges: Exchanges,
        scope: str,
    ) -> None:
        self.match, self.tensors, self.info, self.eps, self.dtype = match, tensors, info, eps, dtype
        self.undo, self.original, self.folded, self.scope = undo, original, folded, scope
        self.exchanges = exchanges
        self.shift = info.bn_eps - eps if BN_EPS in info.settings else 0.0
        self.rows: list[Row] = []
        self.implied: list[tuple[str, float]] = [(name, 0.0) for name in tensors_that_must_be_zero(match)]
        self.equal: list[tuple[str, str]] = []
        self._divisors: dict[str, Tensor] = {}
        self._sources: dict[str, TensorSlot] = {}
        for slot in match.slots:
            first = self._sources.setdefault(slot.canonical, slot)
            if first is not slot:
                self.equal.append((match.file_name(first), match.file_name(slot)))

    def add(self, slot: TensorSlot) -> None:
        """Plan one tensor of the target, or note the value that it implies."""
        source = self._sources.get(slot.canonical)
        if source is None:
            if slot.leaf == DIVISOR:
                self._add_divisor(slot)
            elif not self.match.partial:
                raise KeyError(slot.canonical)
            return
        name = self._name(slot)
        if slot.leaf == BATCHES:
            self.rows.append(Row(self._counter(source), name, "int64", (), ()))
        elif slot.stored.constant is not None:
            if source.stored.constant is None:
                self.implied.append((self.match.file_name(source), slot.stored.constant))
        elif source.stored.constant is not None:
            fill = source.stored.constant + (self.shift if slot.leaf == "running_var" else 0)
            self.rows.append(Row(None, name, self.dtype or "float32", self._shape(slot), (), fill))
        else:
            self.rows.append(self._row(slot, source, name))

    def _name(self, slot: TensorSlot) -> str:
        """A target's tensor in the output; on the way back as in the original file."""
        return self.original.file_name(slot.name) if self.original else self.scope + slot.name

    def _row(self, slot: TensorSlot, source: TensorSlot, name: str) -> Row:
        """The row of a tensor that both sides store."""
        tensor = self.tensors[self.match.file_name(source)]
        kept = self.original.dtype_of(slot.canonical) if self.original else tensor.dtype
        dtype = self.dtype or kept
        ops = [*self._to_plain(slot, source), *self.undo.get(tensor.name, ())]
        canonical = self._shape(slot)
        original_shape = self.original.shapes.get(slot.canonical) if self.original else None
        exchanged = self.exchanges.of(source, canonical)
        shape = reorder(
            ops, tensor.shape, canonical, source.stored, slot.stored, original_shape, exchanged=exchanged
        )
        ops += self._values(slot, source, canonical)
        if dtype != tensor.dtype:
            ops.append(Cast(dtype=dtype))
        ops += self._to_stored(slot, source)
        rounded = _is_derived(slot, source)
        if rounded and self.original and dtype == kept and not self.original.lossy:
            ops += self.original.rounding(slot.canonical, dtype, shape)
        return Row(tensor.name, name, dtype, shape, tuple(ops))

    def _to_plain(self, slot: TensorSlot, source: TensorSlot) -> Iterator[Operation]:
        """From the source's own storage of a value to the value itself."""
        if source.stored.over and not slot.stored.over:
            divisor = self._sources[_beside(slot)]
            yield Divide(by=self.tensors[self.match.file_name(divisor)])
        if source.stored.inverse and not slot.stored.inverse:
            yield ToVariance(eps=self.info.bn_eps)

    def _values(
        self, slot: TensorSlot, source: TensorSlot, canonical: tuple[int, ...]
    ) -> Iterator[Operation]:
        """The operations for what differs between the target's network and the source's, along the target's axes."""
        inputs = slot.stored.leading + (slot.stored.axes[1] if slot.stored.axes else 1)
        if roll := slot.stored.rotated_columns - source.stored.rotated_columns:
            yield Roll(by=roll, axis=inputs)
        if slot.stored.bgr != source.stored.bgr:
            yield Reverse(axis=inputs)
        setting = self.folded.get(source.key) or self.folded.get(slot.key)
        if setting is not None:
            yield Scale(rows=canonical[0] if canonical else 1, down=bool(self.info.settings[setting]))
        if slot.leaf == "running_var" and self.shift:
            yield ShiftVariance(amount=self.shift)

    def _to_stored(self, slot: TensorSlot, source: TensorSlot) -> Iterator[Operation]:
        """From a value to the target's own storage of it."""
        if slot.stored.over and not source.stored.over and _beside(slot) in self._divisors:
            yield Multiply(by=self._divisors[_beside(slot)])
        if slot.stored.inverse and not source.stored.inverse:
            yield ToInverseStd(eps=self.eps)

    def _add_divisor(self, slot: TensorSlot) -> None:
        """A divisor that the source lacks: 1, or the original file's own, unless everything is cast."""
        original = self.original
        kept = original.dtype_of(slot.canonical) if original else "float32"
        shape = original.shapes.get(slot.canonical, (1,)) if original else (1,)
        steps = (
            original.rounding(slot.canonical, kept, shape) if original and self.dtype in (None, kept) else ()
        )
        row = Row(None, self._name(slot), self.dtype or kept, shape, tuple(steps), 1.0)
        self.rows.append(row)
        if row.operations:
            self._divisors[slot.canonical] = row.tensor({})

    def _counter(self, variance: TensorSlot) -> str | None:
        """The batch counter beside a batch norm's variance; None in files from before PyTorch 0.4.1."""
        name = self.match.file_name(variance).removesuffix("running_var") + BATCHES
        tensor = self.tensors.get(name) if self.match.layout.format == "pytorch" else None
        return name if tensor is not None and (tensor.dtype, tensor.shape) == ("int64", ()) else None

    def _shape(self, slot: TensorSlot) -> tuple[int, ...]:
        """The canonical shape, with the file's sizes filled in."""
        sizes = self.match.sizes
        return tuple([size if isinstance(size, int) else sizes[size] for size in slot.shape])


def _is_derived(slot: TensorSlot, source: TensorSlot) -> bool:
    """Whether the target's values are computed from the source's, so that they may be rounded."""
    quotient = bool(slot.stored.over) and not source.stored.over
    return quotient or (slot.stored.inverse and not source.stored.inverse)


def _beside(slot: TensorSlot) -> str:
    """The canonical name of the divisor that stands beside a tensor."""
    return slot.canonical.removesuffix(slot.leaf) + DIVISOR


def reorder(
    ops: list[Operation],
    shape: tuple[int, ...],
    canonical: tuple[int, ...],
    source: StoredTensor,
    target: StoredTensor,
    original_shape: tuple[int, ...] | None,
    *,
    exchanged: Iterable[Exchange] = (),
) -> tuple[int, ...]:
    """Add the operations that lead from one layout's shape and axes to another's; returns the shape there. On the way
    groups of channels are ``exchanged``, along canonical axes."""
    now = source.plain(shape, len(canonical)) or source.bare(canonical)
    if source.lacks and target.axes:
        now = canonical
    if now != shape:
        ops.append(Reshape(shape=now))
    ops += [op.replace(axis=source.axes[op.axis]) if source.axes else op for op in exchanged]
    if source.axes or target.axes:
        same = tuple(range(len(canonical)))
        here, there = source.axes or same, target.axes or same
        axes = tuple(here[there.index(axis)] for axis in same)
        if axes != same:
            ops.append(Permute(axes=axes))
            now = tuple(now[axis] for axis in axes)
    bare = target.bare(canonical)
    out = target.full(bare) if original_shape is None else original_shape
    if prod(out) != prod(bare):
        raise wrong_record()
    if out != now:
        ops.append(Reshape(shape=out))
    return out


def _wanted(
    match: Match, target: LayoutTable, info: NetworkInfo, original: OriginalFile | None, path: str
) -> Iterator[TensorSlot]:
    """Every tensor as the target has it, batch counters included. Raises `Refused` for a network it cannot hold."""
    support = target.support_for(match.variant.name)
    if support.unsupported:
        what = f"{target.title} cannot hold {match.variant.title}: {support.unsupported}"
        raise Refused(what, path=path, hint=_holders(match, info))
    table = original.layout(target) if original else target.choose(lambda _, names: names[0])
    try:
        if match.variant.family not in families(table):
            raise Refused(
                f"{target.title} has no {match.variant.title}", path=path, hint=_holders(match, info)
            )
        slots = tensor_slots(table, match.variant, match.sizes, match.present)
        words = table.naming.order.get(match.variant.family)
        if original:
            slots = original.written(slots)
        elif words is not None:
            slots = iter(in_order(slots, words))
        for slot in slots:
            yield slot
            if table.format == "pytorch" and slot.leaf == "running_var" and slot.name:
                counter = slot.name.removesuffix("running_var") + BATCHES
                yield TensorSlot(slot.canonical, counter, (), "bn", BATCHES, slot.stored)
    except CannotHold as error:
        what = f"{target.title} has no name for {match.variant.title}'s module {error}"
        raise Refused(what, path=path, hint=_holders(match, info)) from None


def _holders(match: Match, info: NetworkInfo) -> str:
    """Which layouts can hold a network, for the user who asked for another."""
    holders = [
        table.name
        for table in readable_layouts()
        if match.variant.family in families(table)
        and not table.support_for(match.variant.name).unsupported
        and table.name != match.layout.name
        and not fixed_settings(
            match, table, info, _followed(match, info, settings_apart(match, table, info))[1]
        )
    ]
    return (
        f"layouts that can hold it (--to): {', '.join(holders)}" if holders else "no other layout can hold it"
    )
