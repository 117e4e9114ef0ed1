"""How many tensors a variant has in a file, without expanding it: most variants are ruled out by their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .variants import copies, parts_of_side

if TYPE_CHECKING:
    from .schema import LayoutTable, NetworkTable
    from .variants import Variant


class TensorCounter:
    """Counts for the files of one layout. The lines of a part are counted once for all variants of a table."""

    def __init__(self, layout: LayoutTable) -> None:
        self._stored = layout.tensor_counts
        self._lines: dict[tuple[str, str], int] = {}

    def count(self, variant: Variant) -> int:
        """How many tensors a variant has, optional parts left out."""
        return sum(self.count_part(variant, part) for part, optional in variant.parts if not optional)

    def count_part(self, variant: Variant, part: str) -> int:
        """How many tensors one part of a variant has."""
        if part in variant.table.compose:
            return sum(self.count_part(inner, own) for inner, own in parts_of_side(variant, part))
        return copies(variant, part) * self._in_lines(variant.table, part)

    def _in_lines(self, table: NetworkTable, part: str) -> int:
        """How many tensors the lines of a part have, each taken once."""
        key = (table.family, part)
        if key not in self._lines:
            stored = self._stored
            self._lines[key] = sum(
                stored.get(f"{part}/{line.name}", stored.get(line.name, stored[line.kind]))
                for line in table.modules[part]
            )
        return self._lines[key]
