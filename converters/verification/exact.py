"""Compare bytes: take the output back to the source's layout, and compare every tensor with the source's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.operations.values import Scale, ShiftVariance
from converters.conversion.plan import NOTHING, make_plan
from converters.conversion.provenance import describe_origin, info_after_undo, read_original, undo_operations
from converters.errors import Refused
from converters.printable import shape_text
from converters.tensor import filled, same_bytes

from .outcome import ChangedTensor, ExactResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified
    from converters.conversion.plan import Plan
    from converters.conversion.row import Row
    from converters.tensor import Tensor


def compare_bytes(source: Identified, output: Identified) -> ExactResult:
    """Whether the output gives the source's tensors back, with the source's names, shapes and dtypes.

    Of the output's record only what undoes a rounding is used. Where a layout rounds weights and there is no such
    record, the output must have what the source converts to, bit for bit.
    """
    plan = _plan_back(source, output)
    canonical = {source.match.file_name(slot): slot.canonical for slot in source.match.slots if slot.name}
    return ExactResult(
        tensors=len(canonical),
        changed=(
            *_changed_tensors(plan, source, output, canonical),
            *_wrong_constants(plan, output),
            *_unequal_copies(plan, output, canonical),
        ),
        dropped=source.match.dropped,
        record=tuple(_record_faults(source, output)),
    )


def _plan_back(source: Identified, output: Identified) -> Plan:
    """The conversion of the output into the source's layout."""
    undo = undo_operations(output.checkpoint.provenance, output.checkpoint.tensors)
    origin = describe_origin(source.match, source.checkpoint.tensors, NOTHING, source.info.bn_eps, {}, None)
    return make_plan(
        output.match,
        output.checkpoint.tensors,
        source.match.layout,
        info_after_undo(output.info, output.checkpoint.provenance, undo),
        eps=source.info.bn_eps,
        undo=undo,
        original=read_original({"origin": origin}, source.match.layout.name),
        path=output.checkpoint.path,
    )


def _changed_tensors(
    plan: Plan, source: Identified, output: Identified, canonical: Mapping[str, str]
) -> Iterator[ChangedTensor]:
    tensors = output.checkpoint.tensors
    forward = {} if output.checkpoint.provenance else _rows_forward(source, output)
    for row in plan.rows:
        expected = source.checkpoint.tensors[row.target]
        restored = row.tensor(tensors)
        if (restored.dtype, restored.shape) != (expected.dtype, expected.shape):
            why = f"{_kind(restored)} instead of {_kind(expected)}"
        elif same_bytes(restored, expected) or (
            row.source
            and row.target in forward
            and _rounds(row)
            and _equal(forward[row.target].tensor(source.checkpoint.tensors), tensors[row.source])
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


def _rows_forward(source: Identified, output: Identified) -> dict[str, Row]:
    """The rows of a conversion of the source into the output's layout, by the source's names; none where that layout
    does not take this network."""
    try:
        plan = make_plan(
            source.match,
            source.checkpoint.tensors,
            output.match.layout,
            source.info,
            eps=output.info.bn_eps,
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


def _unequal_copies(plan: Plan, output: Identified, canonical: Mapping[str, str]) -> Iterator[ChangedTensor]:
    """Tensors that the output stores twice, with different values."""
    tensors = output.checkpoint.tensors
    targets = {row.source: row.target for row in plan.rows}
    for name, copy in plan.equal:
        if not same_bytes(tensors[name], tensors[copy]):
            target = targets.get(name, name)
            why = f"the output stores it twice, and {copy} differs from {name}"
            yield ChangedTensor(target, canonical.get(target, target), why)


def _record_faults(source: Identified, output: Identified) -> Iterator[str]:
    """In words, what the output's record says of preprocessing and classes that contradicts the source."""
    network = (output.checkpoint.provenance or {}).get("network") or {}
    recorded, expected = network.get("input", {}), source.info.input
    for name in ("order", "range", "mean", "std", "mean_cube"):
        if name in expected and recorded.get(name, expected[name]) != expected[name]:
            yield f"{name} {_value_text(recorded[name])} instead of {_value_text(expected[name])}"
    labels = zip(recorded.get("labels", ()), expected.get("labels", ()), strict=False)
    if wrong := [number for number, (label, other) in enumerate(labels) if label != other]:
        yield f"{len(wrong)} wrong labels, the first of class {wrong[0]}"


def _value_text(value: Any) -> str:
    return " ".join(f"{item:g}" for item in value) if isinstance(value, (list, tuple)) else str(value)


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
