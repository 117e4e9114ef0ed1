"""The support table as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.inspection.support_table import SupportedNetwork


def models_text(table: Iterable[SupportedNetwork]) -> str:
    """A line for every network."""
    rows = [("network", "variant", "from", "to (the sources' defaults first)")]
    rows += [(row.title, row.variant, ", ".join(row.sources) or "-", ", ".join(row.layouts)) for row in table]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + f"  {row[3]}"
        for row in rows
    )
