"""What a report shows of two files beside the proof: hashes, what became of every tensor, values that look wrong."""

from __future__ import annotations

import os
import platform
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters._version import __version__
from converters.checksums import sha256_in, sha256_of
from converters.conversion.operations import arrays
from converters.conversion.plan import make_plan
from converters.mapping.catalog import load_layout
from converters.tensor import FLOATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified
    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .verify import Exact, Functional

BINS = 40
"""Bars of a histogram."""

MOST = 24
"""Tensors that histograms are drawn of; of more only the names are told."""

DEAD = 1e-6
"""A channel is dead where its largest weight is no more than this part of its tensor's: it adds nothing that float32
would keep."""


class HashedFile(NamedTuple):
    """A file that took part: what as, its name (with folders below the checkpoint's own), bytes, hexadecimal hash."""

    role: str
    name: str
    size: int
    sha256: str


class Way(NamedTuple):
    """One tensor of the network in both files: name, dtype and shape, None on a side that does not store it."""

    canonical: str
    source: tuple[str, str, tuple[int, ...]] | None
    output: tuple[str, str, tuple[int, ...]] | None


class SuspectTensor(NamedTuple):
    """A tensor to look at: ``why`` in words, and how its finite values spread from ``low`` to ``high`` on either side,
    as counts in bars of equal width. Empty where a side does not store it, or where there are too many such tensors."""

    canonical: str
    why: tuple[str, ...]
    low: float = 0.0
    high: float = 0.0
    source: tuple[int, ...] = ()
    output: tuple[int, ...] = ()


class Evidence(NamedTuple):
    """``containers`` are the formats of source and output in words, ``counters`` the output's batch counters,
    ``looked_at`` how many of its tensors have values to look at, and ``software`` what computed, with versions."""

    containers: tuple[str, str]
    files: tuple[HashedFile, ...]
    ways: tuple[Way, ...]
    counters: tuple[str, ...]
    looked_at: int
    odd: tuple[SuspectTensor, ...]
    software: Mapping[str, str]


def gather(
    theirs: Identified,
    ours: Identified,
    exact: Exact,
    functional: Functional | None,
    clip: str | os.PathLike[str] | None,
) -> Evidence:
    """Read both open files once more, a piece at a time: their hashes, and every value of the output's tensors."""
    files = [*_hashed("source", theirs.checkpoint), *_hashed("output", ours.checkpoint)]
    if clip is not None and functional is not None:
        path = os.fspath(clip)
        files.append(HashedFile("clip", os.path.basename(path), os.path.getsize(path), sha256_of(path)))
    looked_at, odd = _odd(theirs, ours, exact)
    return Evidence(
        (theirs.checkpoint.container, ours.checkpoint.container),
        tuple(files),
        tuple(_ways(theirs, ours)),
        ours.match.counters,
        looked_at,
        odd,
        _software(functional),
    )


def _hashed(role: str, checkpoint: Checkpoint) -> Iterator[HashedFile]:
    folder = os.path.dirname(checkpoint.path)
    for file in checkpoint.files:
        name = os.path.relpath(file.path, folder or os.curdir)
        inside = not name.startswith(os.pardir + os.sep)
        yield HashedFile(role, name if inside else os.path.basename(name), file.size, sha256_in(file))


def _software(functional: Functional | None) -> dict[str, str]:
    found = {"video-checkpoint-converters": __version__, "Python": platform.python_version()}
    if functional is not None:
        import onnxruntime  # type: ignore[import-untyped]
        import torch

        found |= {"onnxruntime": onnxruntime.__version__, "PyTorch": str(torch.__version__)}
        if functional.device == "cuda":
            found["device"] = torch.cuda.get_device_name()
    return found


def _ways(theirs: Identified, ours: Identified) -> Iterator[Way]:
    """Every tensor of either side, in the output's order; the source's own behind."""
    sides = [
        {
            entry.canonical: (name, tensor.dtype, tensor.shape)
            for entry in side.match.slots
            if entry.name
            for name in (side.match.prefix + entry.name,)
            for tensor in (side.checkpoint.tensors[name],)
        }
        for side in (theirs, ours)
    ]
    for canonical in dict.fromkeys((*sides[1], *sides[0])):
        yield Way(canonical, sides[0].get(canonical), sides[1].get(canonical))


def _canonical(side: Identified) -> dict[str, Tensor]:
    """A side's own floating tensors, lazy, under canonical names and in canonical order of axes."""
    tensors = side.checkpoint.tensors
    plan = make_plan(side.match, tensors, load_layout("native"), side.info, eps=side.info.bn_eps)
    return {
        row.target: row.tensor(tensors) for row in plan.rows if row.source is not None and row.dtype in FLOATS
    }


def _odd(theirs: Identified, ours: Identified, exact: Exact) -> tuple[int, tuple[SuspectTensor, ...]]:
    """How many tensors the output has, and those that have wrong values or other ones than the source."""
    source, output = _canonical(theirs), _canonical(ours)
    kinds = {entry.canonical: (entry.kind, entry.leaf) for entry in ours.match.slots}
    changed = {one.canonical for one in exact.changed}
    wrong = {name: why for name, tensor in output.items() if (why := tuple(_wrong(tensor, *kinds[name])))}
    names = [*wrong, *(name for name in output if name in changed and name not in wrong)]
    found = []
    for place, name in enumerate(names):
        why = (*wrong.get(name, ()), *(("not the source's values",) if name in changed else ()))
        sides = source.get(name), output[name]
        found.append(
            SuspectTensor(name, why, *_histograms(*sides)) if place < MOST else SuspectTensor(name, why)
        )
    return len(output), tuple(found)


def _wrong(tensor: Tensor, kind: str, leaf: str) -> Iterator[str]:
    """What no trained tensor should have, in words."""
    import numpy

    channels = tensor.shape[0] if leaf == "weight" else 0
    inner = prod(tensor.shape[1:])
    peaks = numpy.zeros(channels)
    nan = inf = negative = nonzero = at = 0
    for values in arrays(tensor.data, tensor.dtype):
        absolute = numpy.abs(values.astype("f8"))
        nan += int(numpy.isnan(absolute).sum())
        inf += int(numpy.isinf(absolute).sum())
        negative += int((values < 0).sum())
        nonzero += int(numpy.count_nonzero(values))
        if channels:
            first, last = at // inner, (at + len(values) - 1) // inner
            starts = numpy.arange(first, last + 1) * inner - at
            starts[0] = 0
            absolute[numpy.isnan(absolute)] = numpy.inf
            part = peaks[first : last + 1]
            numpy.maximum(part, numpy.maximum.reduceat(absolute, starts), out=part)
        at += len(values)
    if nan:
        yield f"{nan:,} NaN"
    if inf:
        yield f"{inf:,} infinite"
    if leaf == "running_var" and negative:
        yield f"{negative:,} negative variance{'s' if negative > 1 else ''}"
    if not nonzero and at and (leaf == "weight" or leaf == "running_var"):
        yield "all zero"
    elif channels and (dead := int((peaks <= DEAD * peaks[numpy.isfinite(peaks)].max(initial=0.0)).sum())):
        yield f"{dead:,} of {channels:,} {'scales' if kind == 'bn' else 'channels'} dead"


def _histograms(
    source: Tensor | None, output: Tensor
) -> tuple[float, float, tuple[int, ...], tuple[int, ...]]:
    import numpy

    low, high = float("inf"), float("-inf")
    for tensor in filter(None, (source, output)):
        for values in arrays(tensor.data, tensor.dtype):
            finite = values[numpy.isfinite(values)]
            if len(finite):
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return 0.0, 0.0, (), ()
    return low, high, _counts(source, low, high), _counts(output, low, high)


def _counts(tensor: Tensor | None, low: float, high: float) -> tuple[int, ...]:
    import numpy

    if tensor is None:
        return ()
    total: Any = numpy.zeros(BINS, "i8")
    width = high / 2 - low / 2  # in halves: the whole range of float64 is infinite
    for values in arrays(tensor.data, tensor.dtype):
        halves = values[numpy.isfinite(values)].astype("f8") / 2 - low / 2
        places = halves / width * BINS if width else numpy.full(len(halves), BINS / 2)
        total += numpy.bincount(numpy.minimum(places.astype("i8"), BINS - 1), minlength=BINS)
    return tuple(int(count) for count in total)
