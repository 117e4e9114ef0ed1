"""From a file that fits to rows that say, tensor by tensor, what becomes what. Names and shapes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import Refused
from .mapping.layout import BATCHES, CannotHold, entries, families
from .ops import Cast, Reshape, ShiftVariance, zeros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .facts import Facts
    from .mapping.fit import Fit
    from .mapping.tables import LayoutTable
    from .ops import Op
    from .tensor import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor's way. ``source`` is None for a tensor that is filled with zeros, not read."""

    source: str | None
    target: str
    dtype: str
    shape: tuple[int, ...]
    ops: tuple[Op, ...]

    def tensor(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The target's tensor, still lazy."""
        if self.source is None:
            return zeros(self.target, self.dtype, self.shape)
        tensor = tensors[self.source]
        for op in self.ops:
            tensor = op.apply(tensor)
        return type(tensor)(self.target, tensor.dtype, tensor.shape, tensor.data)


@dataclass(frozen=True, slots=True)
class Former:
    """What a file's tensors were before a conversion that is now undone: the prefix of their names, and the
    shapes and dtypes of those that had others, by their names now."""

    scope: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All rows, in the target's state-dict order, and what must be said about the result."""

    rows: tuple[Row, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    eps_shift: float


def make_plan(
    fit: Fit,
    tensors: Mapping[str, Tensor],
    target: LayoutTable,
    facts: Facts,
    *,
    eps: float,
    dtype: str | None = None,
    undo: Mapping[str, tuple[Op, ...]] | None = None,
    former: Former | None = None,
    path: str = "",
) -> Plan:
    """Pair every tensor of a fitted file with its name in ``target``.

    ``facts.bn_eps`` is what the file's variances go with, ``eps`` what the target's must go with; ``undo`` are
    operations that a former conversion's provenance asks for, by the tensor's name in the file, and ``former``
    what the file had been before it, if this is the way back. Raises `Refused` with the reason where the
    target cannot hold the network.
    """
    holding = target.holding(fit.variant.name)
    if holding.refuse:
        raise Refused(f"{target.title} cannot hold {fit.variant.title}: {holding.refuse}", path=path,
                      hint="`convert models` shows which layouts can")
    try:
        wanted = _expand(fit, target)
    except CannotHold as error:
        raise Refused(f"{target.title} has no name for {fit.variant.title}'s module {error}", path=path,
                      hint="`convert models` shows which layouts can") from None
    former = former or Former("", {}, {})
    shift = facts.bn_eps - eps
    names = {entry.canonical: fit.scope + entry.name for entry in fit.entries}
    rows: list[Row] = []
    for canonical, name, shape, leaf in wanted:
        if leaf == BATCHES:
            rows.append(Row(None, name, "int64", (), ()))
            continue
        tensor = tensors[names[canonical]]
        shape = former.shapes.get(tensor.name, shape)
        wanted_dtype = dtype or former.dtypes.get(tensor.name, tensor.dtype)
        ops: list[Op] = list((undo or {}).get(tensor.name, ()))
        if tensor.shape != shape:
            ops.append(Reshape(shape))
        if leaf == "running_var" and shift:
            ops.append(ShiftVariance(shift))
        if wanted_dtype != tensor.dtype:
            ops.append(Cast(wanted_dtype))
        rows.append(Row(tensor.name, former.scope + name, wanted_dtype, shape, tuple(ops)))
    notes = [holding.note] if holding.note else []
    if shift:
        notes.append(
            f"{target.title} networks have batch-norm eps {eps:g}, these weights {facts.bn_eps:g}: "
            f"the difference, {shift:+.3g}, went into every running_var, so the function stays the same"
        )
    return Plan(tuple(rows), fit.dropped, tuple(notes), shift)


def _expand(fit: Fit, target: LayoutTable) -> list[tuple[str, str, tuple[int, ...], str]]:
    """(canonical name, target name, shape, leaf) of every tensor, batch counters included."""
    if fit.variant.family not in families(target):
        raise CannotHold(fit.variant.title)
    out: list[tuple[str, str, tuple[int, ...], str]] = []
    bound: Mapping[str, Any] = fit.bound
    counted = target.format == "pytorch"
    for entry in entries(target, fit.variant, bound, fit.present):
        shape = tuple(size if isinstance(size, int) else bound[size] for size in entry.shape)
        out.append((entry.canonical, entry.name, shape, entry.leaf))
        if counted and entry.leaf == "running_var":
            stem = entry.name.removesuffix(target.leaves["bn"]["running_var"])
            out.append(("", f"{stem}.{BATCHES}", (), BATCHES))
    return out
