"""A row of a plan: what one tensor of the output is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.tensor import filled

from .operations.values import Divide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.tensor import Tensor

    from .operations.base import Operation


class Undo(NamedTuple):
    """What undoes an earlier conversion: ``operations`` by the tensors' names in the file, the ``settings`` that the
    file's tensors go with before that, and, where the file to come back to is known, the settings that it ``had``."""

    operations: Mapping[str, tuple[Operation, ...]]
    settings: Mapping[str, Any]
    had: Mapping[str, Any] | None = None


class Row(NamedTuple):
    """What one tensor of the output is made of. Without a ``source`` it is filled with ``fill``."""

    source: str | None
    target: str
    dtype: str
    shape: tuple[int, ...]
    operations: tuple[Operation, ...]
    fill: float = 0.0

    def tensor(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The target's tensor, still lazy."""
        tensor = tensors[self.source] if self.source is not None else self._filled()
        for op in self.operations:
            tensor = op.apply(tensor)
        return tensor._replace(name=self.target)

    def _filled(self) -> Tensor:
        return filled(self.target, self.dtype, self.shape, self.fill)

    @property
    def divisor(self) -> Tensor | None:
        """The tensor of the file, beside the source, that the source's values are divided by."""
        return next((op.by for op in self.operations if isinstance(op, Divide)), None)
