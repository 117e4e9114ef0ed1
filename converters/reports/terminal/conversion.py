"""Describe a conversion in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.operations.base import Operation, Rearrangement
from converters.conversion.operations.inflation import Inflate, Spread
from converters.conversion.operations.values import (
    Cast,
    Divide,
    Multiply,
    Scale,
    ShiftVariance,
    ToInverseStd,
    ToVariance,
)
from converters.printable import shape_text
from converters.reports.folding import fold_names
from converters.reports.wording import classes_text, human_size, means_text, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.conversion.mean import Mean
    from converters.conversion.result import Result
    from converters.conversion.row import Row

MAX_NAMES = 10

COPIED = "copied bit for bit"

MADE_BY: dict[str, tuple[type[Operation], ...]] = {
    "inflated": (Inflate, Spread),
    "merged": (Divide, Multiply),
    "rescaled": (Scale, ShiftVariance, ToVariance, ToInverseStd),
    "cast": (Cast,),
    "transposed": (Rearrangement,),
}
"""How tensors are made that are not copied, by the operations that do it; the first that fits counts."""


def conversion_text(result: Result) -> str:
    """A conversion that was done or planned: the network, what became of its tensors, and the notes."""
    info = result.info
    network = f"{info.title} ({info.model or info.variant}), {classes_text(info)}: " if info else ""
    size = f"{len(result.rows)} tensors, {human_size(result.nbytes)}"
    lines = [f"{network}{size}, {result.layout} -> {result.target}"]
    lines.append(", ".join(_counts(result.rows)))
    if result.dropped:
        names = fold_names(result.dropped)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        lines.append(f"dropped by name: {', '.join(names[:MAX_NAMES])}{more}")
    lines += [f"note: {note}" for note in result.told]
    if result.output is None:
        lines.append("dry run: nothing written")
    else:
        seconds = sum(result.timings.values())
        checked = ", checked: every tensor was read back and compared" if result.checked else ""
        lines.append(f"wrote {result.output} in {seconds:.2f} s{checked}")
    return printable_lines(lines)


def _counts(rows: Sequence[Row]) -> Iterator[str]:
    """What became of the tensors: how many were copied, and in which ways the others were made."""
    made = [_made(row.operations) for row in rows if row.source is not None]
    yield f"{made.count(COPIED)} {COPIED}"
    yield from (f"{made.count(word)} {word}" for word in dict.fromkeys(made) if word != COPIED)
    if filled := [row for row in rows if row.source is None]:
        what = "constants" if any(row.shape for row in filled) else "batch counters"
        yield f"{len(filled)} {what} filled in"


def _made(operations: Sequence[Operation]) -> str:
    """In a word, how a tensor was made from the source's: by the operation that changes most."""
    changing = [operation for operation in operations if not operation.keeps_bytes]
    for word, kinds in MADE_BY.items():
        if any(isinstance(operation, kinds) for operation in changing):
            return word
    return "recalculated" if changing else COPIED


def mean_conversion_text(result: Mean) -> str:
    """A conversion of a mean file."""
    kind, axes = (
        ("mean cube", "channel, frame, y, x") if len(result.shape) > 3 else ("mean image", "channel, y, x")
    )
    return printable_lines(
        [
            f"{kind} {shape_text(result.shape)} ({axes}), float32, {means_text(result.means)}",
            f"wrote {result.output}",
        ]
    )
