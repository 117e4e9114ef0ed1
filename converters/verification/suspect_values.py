"""Look for values that no trained tensor should have, and count how a tensor's values are distributed."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from converters.conversion.arrays import arrays

from .outcome import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.tensor import Tensor

BINS = 40
"""Of a histogram."""

DEAD = 1e-6
"""A channel is dead where its largest weight is at most this share of its tensor's largest: it adds nothing that
float32 would keep."""


def faults_of(tensor: Tensor, kind: str, parameter: str) -> Iterator[str]:
    """In words, what no trained tensor should have: NaN, Inf, negative variances, only zeros, dead channels."""
    import numpy

    channels = tensor.shape[0] if parameter == "weight" else 0
    per_channel = prod(tensor.shape[1:])
    peaks = numpy.zeros(channels)
    nan = inf = negative = nonzero = at = 0
    for values in arrays(tensor.data, tensor.dtype):
        absolute = numpy.abs(values.astype("f8"))
        nan += int(numpy.isnan(absolute).sum())
        inf += int(numpy.isinf(absolute).sum())
        negative += int((values < 0).sum())
        nonzero += int(numpy.count_nonzero(values))
        if channels:
            absolute[numpy.isnan(absolute)] = numpy.inf
            _raise_peaks(peaks, absolute, at, per_channel)
        at += len(values)
    if nan:
        yield f"{nan:,} NaN"
    if inf:
        yield f"{inf:,} infinite"
    if parameter == "running_var" and negative:
        yield f"{negative:,} negative variance{'s' if negative > 1 else ''}"
    if not nonzero and at and parameter in ("weight", "running_var"):
        yield "all zero"
    elif channels and (dead := int((peaks <= DEAD * peaks[numpy.isfinite(peaks)].max(initial=0.0)).sum())):
        yield f"{dead:,} of {channels:,} {'scales' if kind == 'bn' else 'channels'} dead"


def _raise_peaks(peaks: Any, absolute: Any, at: int, per_channel: int) -> None:
    """Raise each channel's largest absolute value by a piece of the tensor that begins at element ``at``."""
    import numpy

    first, last = at // per_channel, (at + len(absolute) - 1) // per_channel
    starts = numpy.arange(first, last + 1) * per_channel - at
    starts[0] = 0
    part = peaks[first : last + 1]
    numpy.maximum(part, numpy.maximum.reduceat(absolute, starts), out=part)


def histogram(source: Tensor | None, output: Tensor) -> Histogram | None:
    """Both tensors' finite values in bins of equal width; None where there are none."""
    import numpy

    low, high = float("inf"), float("-inf")
    for tensor in filter(None, (source, output)):
        for values in arrays(tensor.data, tensor.dtype):
            finite = values[numpy.isfinite(values)]
            if len(finite):
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return None
    return Histogram(low, high, _counts(source, low, high), _counts(output, low, high))


def _counts(tensor: Tensor | None, low: float, high: float) -> tuple[int, ...]:
    import numpy

    if tensor is None:
        return ()
    total: Any = numpy.zeros(BINS, "i8")
    width = high / 2 - low / 2  # in halves: the whole range of float64 is infinite
    for values in arrays(tensor.data, tensor.dtype):
        halves = values[numpy.isfinite(values)].astype("f8") / 2 - low / 2
        bins = halves / width * BINS if width else numpy.full(len(halves), BINS / 2)
        total += numpy.bincount(numpy.minimum(bins.astype("i8"), BINS - 1), minlength=BINS)
    return tuple(int(count) for count in total)
