"""Compare bytes: take the output back to the source's layout, and compare every tensor with the source's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.operations.values import Cast, Scale, ShiftVariance
from converters.conversion.plan import NOTHING, make_plan
from converters.conversion.provenance import (
    describe_origin,
    info_after_undo,
    read_original,
    refuse_foreign_steps,
    undo_operations,
)
from converters.conversion.row import Undo
from converters.errors import Refused
from converters.mapping.names import BATCHES
from converters.printable import shape_text, short_name
from converters.tensor import filled, same_bytes

from .outcome import ROUNDED, ChangedTensor, ExactResult
from .recorded_facts import record_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from converters.conversion.identify import Identified
    from converters.conversion.plan import Plan
    from converters.conversion.row import Row
    from converters.tensor import Tensor


def compare_bytes(
    source: Identified, output: Identified, say: Callable[[str], None] = lambda _: None
) -> ExactResult:
    """Whether the output gives the source's tensors back, with the source's names, shapes and dtypes.

    Of the output's record only what undoes a rounding is used, and only if redoing it gives the output's own bits.
    Where a layout rounds weights and there is no such record, the output must have what the source converts to, bit
    for bit.
    ``say`` is told in words which tensor is compared.
    """
    plan, rounded = _plan_back(source, output), _rounded(source, output)
    canonical = {source.match.file_name(slot): slot.canonical for slot in source.match.slots if slot.name}
    return ExactResult(
        tensors=len(canonical),
        changed=(
            *_changed_tensors(_announced(plan, say), source, output, canonical, rounded),
            *_wrong_constants(plan, output),
            *_other_dtypes(plan, source, output, canonical),
            *_untrue_steps(plan, output, canonical),
            *_unequal_copies(plan, output, canonical),
        ),
        dropped=source.match.dropped,
        record=tuple(record_faults(source, output)),
        rounded=len(rounded),
    )


def _announced(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    """The rows of a plan, each announced before it is compared."""
    for number, row in enumerate(plan.rows, 1):
        say(f"tensor {number} of {len(plan.rows)}, {short_name(row.target)}")
        yield row


def _plan_back(source: Identified, output: Identified) -> Plan:
    """The conversion of the output into the source's layout, without batch counters that the source does not have."""
    refuse_foreign_steps(output.match, output.checkpoint.provenance)
    undo = undo_operations(output.checkpoint.provenance, output.checkpoint.tensors)
    origin = describe_origin(source.match, source.checkpoint.tensors, NOTHING, source.info.bn_eps, {}, None)
    plan = make_plan(
        output.match,
        output.checkpoint.tensors,
        source.match.layout,
        info_after_undo(output.info, output.checkpoint.provenance, undo),
        eps=source.info.bn_eps,
        undo=Undo(undo, output.info.settings, source.info.settings),
        original=read_original({"origin": origin}, source.match.layout.name),
        path=output.checkpoint.path,
    )
    stored = source.checkpoint.tensors
    rows = [row for row in plan.rows if row.target in stored or not row.target.endswith(f".{BATCHES}")]
    return plan.replace(rows=tuple(rows))


def _rounded(source: Identified, output: Identified) -> frozenset[str]:
    """The source's tensors that the output has rounded to another dtype, as its record says, and rounded right: bit
    for bit what the source converts to in that dtype."""
    restore = (output.checkpoint.provenance or {}).get("restore") or {}
    recorded, tensors = restore.get("dtypes", {}), output.checkpoint.tensors
    found = set()
    for dtype in ROUNDED:
        cast = {name for name in recorded if name in tensors and tensors[name].dtype == dtype}
        rows = _rows_forward(source, output, dtype).values() if cast else ()
        for row in rows:
            if row.source is None or row.target not in cast:
                continue
            original = source.checkpoint.tensors[row.source]
            made = row.tensor(source.checkpoint.tensors)
            if recorded[row.target] == original.dtype != dtype and _equal(made, tensors[row.target]):
                found.add(row.source)
    return frozenset(found)


def _changed_tensors(
    rows: Iterable[Row],
    source: Identified,
    output: Identified,
    canonical: Mapping[str, str],
    rounded: frozenset[str],
) -> Iterator[ChangedTensor]:
    tensors = output.checkpoint.tensors
    forward = {} if output.checkpoint.provenance else _rows_forward(source, output)
    for row in rows:
        expected = source.checkpoint.tensors[row.target]
        restored = row.tensor(tensors)
        if (restored.dtype, restored.shape) != (expected.dtype, expected.shape):
            why = f"{_kind(restored)} instead of {_kind(expected)}"
        elif (
            row.target in rounded
            or same_bytes(restored, expected)
            or (
                row.source
                and row.target in forward
                and _rounds(row)
                and _equal(forward[row.target].tensor(source.checkpoint.tensors), tensors[row.source])
            )
        ):
            continue
        else:
            why = _difference(restored, expected)
        yield ChangedTensor(row.target, canonical[row.target], why)


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {shape_text(tensor.shape)}"


def _equal(left: Tensor, right: Tensor) -> bool:
    return (left.dtype, left.shape) == (right.dtype, right.shape) and same_bytes(left, right)


def _rounds(row: Row) -> bool:
    """Whether an operation changes a tensor's values, not only their order."""
    return any(isinstance(op, (ShiftVariance, Scale)) for op in row.operations)


def _rows_forward(source: Identified, output: Identified, dtype: str | None = None) -> dict[str, Row]:
    """The rows of a conversion of the source into the output's layout, cast to ``dtype``, by the source's names; none
    where that layout does not take this network."""
    try:
        plan = make_plan(
            source.match,
            source.checkpoint.tensors,
            output.match.layout,
            source.info,
            eps=output.info.bn_eps,
            dtype=dtype,
            path=source.checkpoint.path,
        )
    except Refused:
        return {}
    return {row.source: row for row in plan.rows if row.source is not None}


def _wrong_constants(plan: Plan, output: Identified) -> Iterator[ChangedTensor]:
    """The output's tensors that do not have the one value that the source implies for them."""
    for name, value in plan.implied:
        tensor = output.checkpoint.tensors[name]
        if tensor.tobytes() != filled(name, tensor.dtype, tensor.shape, value).tobytes():
            yield ChangedTensor(name, name, f"the source implies {value:g} everywhere")


def _other_dtypes(
    plan: Plan, source: Identified, output: Identified, canonical: Mapping[str, str]
) -> Iterator[ChangedTensor]:
    """The output's tensors whose dtype is neither the source's nor cast from it by its own record."""
    restore = (output.checkpoint.provenance or {}).get("restore") or {}
    recorded = restore.get("dtypes", {})
    for row in plan.rows:
        if row.source is None:
            continue
        tensor, expected = output.checkpoint.tensors[row.source], source.checkpoint.tensors[row.target]
        if tensor.dtype == expected.dtype:
            continue
        if recorded.get(row.source) != expected.dtype:
            why = f"stored as {tensor.dtype}, not {expected.dtype}"
        elif not _equal(Cast(dtype=tensor.dtype).apply(Cast(dtype=expected.dtype).apply(tensor)), tensor):
            why = f"its record says that it was cast from {expected.dtype}, but its values were not"
        else:
            continue
        yield ChangedTensor(row.target, canonical.get(row.target, row.target), why)
    for slot in output.match.slots:
        if slot.leaf == "running_var" and slot.name and output.match.layout.format == "pytorch":
            name = output.match.file_name(slot).removesuffix("running_var") + BATCHES
            counter = output.checkpoint.tensors.get(name)
            if counter is not None and (counter.dtype, counter.shape) != ("int64", ()):
                yield ChangedTensor(name, name, f"a batch counter stored as {_kind(counter)}")


def _untrue_steps(plan: Plan, output: Identified, canonical: Mapping[str, str]) -> Iterator[ChangedTensor]:
    """Tensors whose recorded steps no rounding made: redoing what they undo does not give the output's own bits."""
    undo = undo_operations(output.checkpoint.provenance, output.checkpoint.tensors)
    for row in plan.rows:
        undoing = [op for op in row.operations if isinstance(op, (ShiftVariance, Scale)) and op.undoing]
        if row.source is None or not undoing:
            continue
        stored = output.checkpoint.tensors[row.source]
        kept = (
            (output.checkpoint.provenance or {})["restore"].get("dtypes", {}).get(stored.name, stored.dtype)
        )
        undone = stored
        for operation in undo[row.source]:
            undone = operation.apply(undone)
        redone = Cast(dtype=stored.dtype).apply(undoing[0].inverse().apply(Cast(dtype=kept).apply(undone)))
        if not same_bytes(redone, stored):
            why = "its record undoes more than rounding"
            yield ChangedTensor(row.target, canonical.get(row.target, row.target), why)


def _unequal_copies(plan: Plan, output: Identified, canonical: Mapping[str, str]) -> Iterator[ChangedTensor]:
    """Tensors that the output stores twice, with different values."""
    tensors = output.checkpoint.tensors
    targets = {row.source: row.target for row in plan.rows}
    for name, copy in plan.equal:
        if not same_bytes(tensors[name], tensors[copy]):
            target = targets.get(name, name)
            why = f"the output stores it twice, and {copy} differs from {name}"
            yield ChangedTensor(target, canonical.get(target, target), why)


def _difference(left: Tensor, right: Tensor) -> str:
    """How far apart two tensors of one dtype and shape are, in words. Holds both in memory."""
    import numpy

    from converters.conversion.arrays import arrays

    # A chunk may reuse the memory of the one before, so each is copied.
    a, b = (
        numpy.concatenate([values.copy() for values in arrays(tensor.data, tensor.dtype)])
        for tensor in (left, right)
    )
    bits = f"u{a.itemsize}"
    differing = int((a.view(bits) != b.view(bits)).sum())
    with numpy.errstate(invalid="ignore"):
        largest = numpy.abs(a.astype("f8") - b.astype("f8")).max()
    off = f"by up to {largest:.2e}" if numpy.isfinite(largest) else "with NaN or Inf among them"
    return f"{differing:,} of {a.size:,} values differ, {off}"
