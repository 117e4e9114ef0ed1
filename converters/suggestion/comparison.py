"""Compare the values of two files' tensors, for a pairing that asks by fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.conversion.operations.values import Cast

from .axis_search import find_axis_change
from .factors import close
from .fingerprints import (
    TensorFingerprint,
    as_integers,
    common_dtype,
    equal_reordered,
    stored_dtype,
    summarise,
)
from .similarity import similarity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.mapping.axis_change import AxisChange
    from converters.tensor import Tensor

    from .axes import AxisOrder
    from .factors import Factors
    from .similarity import Similarity


class Comparison:
    """The weights of two files, those with a factor after the division, in the coarsest dtype that occurs in either, or
    that all weights of either were once rounded to."""

    def __init__(
        self, factors: tuple[Factors, Factors], names: tuple[Iterable[str], Iterable[str]], *, read: bool
    ) -> None:
        own = [
            {name: side.tensors[name] for name in listed} for side, listed in zip(factors, names, strict=True)
        ]
        dtypes = [tensor.dtype for side in own for tensor in side.values()]
        if read:
            dtypes += filter(None, (stored_dtype(side.values()) for side in own))
        self._factors, self._read = factors, read
        self._dtypes = [{name: tensor.dtype for name, tensor in side.items()} for side in own]
        self._dtype = common_dtype(dtypes)
        self._tensors: list[dict[str, Tensor]] = [
            {name: Cast(dtype=self._dtype).apply(tensor) for name, tensor in side.items()} for side in own
        ]

    def fingerprint(self, number: int, name: str) -> TensorFingerprint:
        """A tensor of side 0 or 1; its values are read if any are."""
        tensor = self._tensors[number][name]
        values = summarise(tensor) if self._read else None
        return TensorFingerprint(name, self._dtypes[number][name], tensor.shape, values)

    def checksum(self, tensor: Tensor) -> int:
        """The checksum of any tensor's values, as fingerprints have it."""
        return summarise(Cast(dtype=self._dtype).apply(tensor)).checksum

    def equal(self, left: TensorFingerprint, right: TensorFingerprint, order: AxisOrder) -> bool:
        """Whether two tensors are equal in an order of axes."""
        return equal_reordered(*self._pair(left, right), order)

    def explain(self, left: TensorFingerprint, right: TensorFingerprint) -> AxisChange | None:
        """The change of axes that makes two tensors equal."""
        one, other = self._pair(left, right)
        return find_axis_change(as_integers(one), as_integers(other))

    def close(self, left: TensorFingerprint, right: TensorFingerprint) -> bool:
        """Whether two vectors are equal but for the rounding of a factor."""
        divided = left.name in self._factors[0].of or right.name in self._factors[1].of
        return divided and close(*self._pair(left, right))

    def similar(
        self, left: TensorFingerprint, right: TensorFingerprint, usual: AxisOrder
    ) -> Similarity | None:
        """How similar two tensors are, in the usual order of axes and in others."""
        return similarity(*self._pair(left, right), usual) if self._read else None

    def _pair(self, left: TensorFingerprint, right: TensorFingerprint) -> tuple[Tensor, Tensor]:
        return self._tensors[0][left.name], self._tensors[1][right.name]
