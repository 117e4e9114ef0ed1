"""Describe a suggested mapping in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.reports.folding import fold_names
from converters.reports.wording import printable_lines
from converters.suggestion.proposal import reasons_text

if TYPE_CHECKING:
    from converters.suggestion.suggest import Suggestion


def suggestion_text(suggestion: Suggestion) -> str:
    """What the mapping is based on, and what is left open in it."""
    reasons = reasons_text(row["why"] for row in suggestion.rows)
    lines = [f"{len(suggestion.rows)} tensors paired: {reasons}"]
    for side, names in zip(("from", "to"), suggestion.left_over, strict=True):
        if names:
            lines.append(f"left over in [{side}]: {', '.join(fold_names(names))}")
    for side, names in zip(("from", "to"), suggestion.dropped, strict=True):
        if names:
            lines.append(f"not weights in [{side}], dropped: {', '.join(fold_names(names))}")
    lines += [f"note: {note}" for note in suggestion.notes]
    if suggestion.unsure:
        lines.append(
            f"{suggestion.unsure} are unsure: they are listed under [unsure] and are not used until you move them"
        )
    lines.append(
        f"wrote {suggestion.output}: review it, then run `convert IN OUT --mapping {suggestion.output}`"
    )
    return printable_lines(lines)
