"""Doubt pairs where the other file has the values of something that a file keeps beside its weights: averages of them,
or another state dict."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.formats.open import open_checkpoint
from converters.formats.tensorflow.averages import names_of_averages
from converters.tensor import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.tensor import Tensor

    from .fingerprints import TensorFingerprint
    from .proposal import Proposal, ProposedPair


MAX_ENTRIES = 8
"""Other state dicts of a file, each of which is read."""
_WITH_ENTRIES = ("pytorch", "jax")
"""The formats whose files may have other weights in entries of their own."""


class _Beside(NamedTuple):
    """A tensor that is not among the weights. ``entry`` is the name of its entry; empty where there is none."""

    tensor: Tensor
    entry: str


def doubt_set_aside(
    proposal: Proposal,
    files: tuple[Checkpoint, Checkpoint],
    weights: tuple[Sequence[str], Sequence[str]],
    checksum: Callable[[Tensor], int],
) -> Proposal:
    """Doubt every pair of different values of which the other file's are exactly those of a tensor beside this file's
    weights, and note which entry has them. ``checksum`` is that of the fingerprints."""
    pairs, notes = list(proposal.pairs), list(proposal.notes)
    for side in (0, 1):
        wanted = {
            other.values.checksum: prod(other.shape)
            for other in (_tensor(pair, 1 - side) for pair in pairs if _differ(pair))
            if other.values and not other.values.constant
        }
        found = _find(files[side], weights[side], wanted, checksum) if wanted else {}
        for place, pair in enumerate(pairs):
            values = _tensor(pair, 1 - side).values
            if found and _differ(pair) and values and values.checksum in found:
                beside = found[values.checksum]
                where = f" in the entry {beside.entry!r}" if files[side].format in _WITH_ENTRIES else ""
                pairs[place] = replace(pair, doubt=f"the values are those of {beside.tensor.name!r}{where}")
        notes += _notes(side, found.values())
    return replace(proposal, pairs=tuple(pairs), notes=tuple(notes))


def _notes(side: int, found: Iterable[_Beside]) -> Iterator[str]:
    one, other = ("left", "right") if side == 0 else ("right", "left")
    for entry in sorted({beside.entry for beside in found} - {""}):
        text = f"the {other} file has the values of {entry!r} in the {one} one"
        yield f"{text}: convert that entry" if side == 0 else text


def _tensor(pair: ProposedPair, side: int) -> TensorFingerprint:
    return pair.right if side else pair.left


def _differ(pair: ProposedPair) -> bool:
    left, right = pair.left.values, pair.right.values
    return bool(left and right and left.checksum != right.checksum)


def _find(
    file: Checkpoint, weights: Sequence[str], wanted: Mapping[int, int], checksum: Callable[[Tensor], int]
) -> dict[int, _Beside]:
    """What a file has beside its weights with a wanted checksum; ``wanted`` says how many values each is of."""
    sizes = {*wanted.values()}
    found: dict[int, _Beside] = {}
    for beside in _beside(file, {*weights}):
        if beside.tensor.dtype in FLOATS and prod(beside.tensor.shape) in sizes:
            found.setdefault(checksum(beside.tensor), beside)
    return {key: beside for key, beside in found.items() if key in wanted}


def _beside(file: Checkpoint, weights: set[str]) -> Iterator[_Beside]:
    """A file's tensors that are not among its weights, and those of its other entries."""
    entries = file.details.get("beside", ()) if file.format in _WITH_ENTRIES else ()
    for entry in entries[:MAX_ENTRIES]:
        with open_checkpoint(file.path, entry=entry) as other:
            for tensor in other.tensors.values():
                yield _Beside(tensor, entry)
    averages = names_of_averages(file.tensors) if file.format == "tensorflow" else []
    for name, tensor in file.tensors.items():
        if name not in weights:
            leaf = name.rpartition("/")[2]
            yield _Beside(tensor, leaf if leaf in averages else "")
