"""The evidence in a report: hashes of the files, all tensors of both, and suspect values."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from converters._version import __version__
from converters.checksums import sha256_in, sha256_of
from converters.conversion.plan import make_plan
from converters.mapping.layout_tables import load_layout
from converters.tensor import FLOATS

from .outcome import Evidence, HashedFile, SuspectTensor, TensorPair
from .suspect_values import faults_of, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.conversion.identify import Identified
    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .outcome import ExactResult, FunctionalResult

MAX_HISTOGRAMS = 24
"""Suspect tensors that get a histogram; of any further ones only the names are listed."""


def gather(
    source: Identified,
    output: Identified,
    exact: ExactResult,
    functional: FunctionalResult | None,
    clip: str | os.PathLike[str] | None,
) -> Evidence:
    """Read both open files once more, a piece at a time: their hashes, and every value of the output's tensors."""
    files = [*_hashed("source", source.checkpoint), *_hashed("output", output.checkpoint)]
    if clip is not None and functional is not None:
        path = os.fspath(clip)
        files.append(HashedFile("clip", os.path.basename(path), os.path.getsize(path), sha256_of(path)))
    tensors_read, suspects = _suspects(source, output, exact)
    return Evidence(
        containers=(source.checkpoint.container, output.checkpoint.container),
        files=tuple(files),
        pairs=tuple(_pairs(source, output)),
        counters=output.match.counters,
        tensors_read=tensors_read,
        suspects=suspects,
        software=_software(functional),
    )


def _hashed(role: str, checkpoint: Checkpoint) -> Iterator[HashedFile]:
    folder = os.path.dirname(checkpoint.path)
    for file in checkpoint.files:
        name = os.path.relpath(file.path, folder or os.curdir)
        inside = not name.startswith(os.pardir + os.sep)
        yield HashedFile(role, name if inside else os.path.basename(name), file.size, sha256_in(file))


def _software(functional: FunctionalResult | None) -> dict[str, str]:
    versions = {"video-checkpoint-converters": __version__, "Python": platform.python_version()}
    if functional is not None:
        import onnxruntime  # type: ignore[import-untyped]
        import torch

        versions |= {"onnxruntime": onnxruntime.__version__, "PyTorch": str(torch.__version__)}
        if functional.device == "cuda":
            versions["device"] = torch.cuda.get_device_name()
    return versions


def _pairs(source: Identified, output: Identified) -> Iterator[TensorPair]:
    """Every tensor of either side, in the output's order; those of the source alone come last."""
    left, right = (
        {
            slot.canonical: (name, tensor.dtype, tensor.shape)
            for slot in side.match.slots
            if slot.name
            for name in (side.match.file_name(slot),)
            for tensor in (side.checkpoint.tensors[name],)
        }
        for side in (source, output)
    )
    for canonical in dict.fromkeys((*right, *left)):
        yield TensorPair(canonical, left.get(canonical), right.get(canonical))


def _canonical_tensors(side: Identified) -> dict[str, Tensor]:
    """A side's own floating tensors, lazy, with canonical names and axes."""
    tensors = side.checkpoint.tensors
    plan = make_plan(side.match, tensors, load_layout("native"), side.info, eps=side.info.bn_eps)
    return {
        row.target: row.tensor(tensors) for row in plan.rows if row.source is not None and row.dtype in FLOATS
    }


def _suspects(
    source: Identified, output: Identified, exact: ExactResult
) -> tuple[int, tuple[SuspectTensor, ...]]:
    """How many tensors the output has, and those with implausible values or other values than the source's."""
    left, right = _canonical_tensors(source), _canonical_tensors(output)
    kinds = {slot.canonical: (slot.kind, slot.leaf) for slot in output.match.slots}
    changed = {tensor.canonical for tensor in exact.changed}
    faults = {
        name: reasons for name, tensor in right.items() if (reasons := tuple(faults_of(tensor, *kinds[name])))
    }
    names = [*faults, *(name for name in right if name in changed and name not in faults)]
    suspects = []
    for place, name in enumerate(names):
        differs = ("not the source's values",) if name in changed else ()
        bins = histogram(left.get(name), right[name]) if place < MAX_HISTOGRAMS else None
        suspects.append(SuspectTensor(name, (*faults.get(name, ()), *differs), bins))
    return len(right), tuple(suspects)
