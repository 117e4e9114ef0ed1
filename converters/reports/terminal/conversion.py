"""Describe a conversion in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.printable import shape_text
from converters.reports.folding import fold_names
from converters.reports.wording import classes_text, human_size, means_text, printable_lines

if TYPE_CHECKING:
    from converters.conversion.mean import Mean
    from converters.conversion.result import Result

MAX_NAMES = 10


def conversion_text(result: Result) -> str:
    """A conversion that was done or planned: the network, what became of its tensors, and the notes."""
    info = result.info
    network = f"{info.title} ({info.model or info.variant}), {classes_text(info)}: " if info else ""
    size = f"{len(result.rows)} tensors, {human_size(result.nbytes)}"
    lines = [f"{network}{size}, {result.layout} -> {result.target}"]
    changed = sum(1 for row in result.rows if row.source and any(not op.keeps_bytes for op in row.operations))
    filled = sum(1 for row in result.rows if row.source is None)
    copied = len(result.rows) - changed - filled
    what = "constants" if any(row.source is None and row.shape for row in result.rows) else "batch counters"
    lines.append(f"{copied} copied bit for bit, {changed} computed, {filled} {what} filled in")
    if result.dropped:
        names = fold_names(result.dropped)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        lines.append(f"dropped by name: {', '.join(names[:MAX_NAMES])}{more}")
    lines += [f"note: {note}" for note in result.notes]
    if result.output is None:
        lines.append("dry run: nothing written")
    else:
        seconds = sum(result.timings.values())
        checked = ", every tensor read back and compared" if result.checked else ""
        lines.append(f"wrote {result.output} in {seconds:.2f} s{checked}")
    return printable_lines(lines)


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
