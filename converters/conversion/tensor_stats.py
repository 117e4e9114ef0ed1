"""Look at a tensor's values: ranges, NaN and Inf. Needs numpy; a plain conversion does not import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.record import Record

from .arrays import arrays

if TYPE_CHECKING:
    from converters.tensor import Tensor


class Statistics(Record):
    """Over all finite values of a tensor; ``nan`` and ``inf`` count the others. All zero where none is finite."""

    minimum: float
    maximum: float
    mean: float
    nan: int
    inf: int


def statistics(tensor: Tensor) -> Statistics:
    """One pass over a floating tensor, in bounded pieces."""
    import numpy

    low, high, total, count, nan, inf = float("inf"), float("-inf"), 0.0, 0, 0, 0
    for values in arrays(tensor.data, tensor.dtype):
        finite = values[numpy.isfinite(values)].astype("float64")
        nan += int(numpy.isnan(values).sum())
        inf += int(numpy.isinf(values).sum())
        if len(finite):
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            total += float(finite.sum())
            count += len(finite)
    if not count:
        return Statistics(minimum=0.0, maximum=0.0, mean=0.0, nan=nan, inf=inf)
    return Statistics(minimum=low, maximum=high, mean=total / count, nan=nan, inf=inf)


def not_finite(tensor: Tensor) -> int:
    """How many values of a floating tensor are NaN or infinite."""
    counted = statistics(tensor)
    return counted.nan + counted.inf
