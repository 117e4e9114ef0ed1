"""What a project's file is that is of none of its video networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .globs import glob_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.tensor import Tensor

    from .file_names import FileNames
    from .schema import LayoutTable, OtherNetwork


def other_network(
    layout: LayoutTable, names: FileNames, tensors: Mapping[str, Tensor], *, by_shape: bool = False
) -> OtherNetwork | None:
    """The first of the layout's other networks that a file fits; ``by_shape``, of those that its names do not tell."""
    return next(
        (row for row in layout.storage.others if (row.shapes or not by_shape) and _fits(row, names, tensors)),
        None,
    )


def _fits(row: OtherNetwork, names: FileNames, tensors: Mapping[str, Tensor]) -> bool:
    def there(glob: str) -> bool:
        return any(glob_matches(glob, name) for name in names.wanted)

    return (
        all(
            name in names.wanted and tensors[names.wanted[name]].shape == shape
            for name, shape in row.shapes.items()
        )
        and all(there(glob) for glob in row.names)
        and not any(there(glob) for glob in row.without)
    )
