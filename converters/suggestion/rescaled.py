"""Doubt pairs beside tensors without a partner that the other file may have multiplied into them.

So weight norm keeps lengths beside directions, spectral norm the vectors that its norm is estimated with, and a batch
norm may be folded into the convolution before it.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fingerprints import TensorFingerprint
    from .state import PairingState

_SEPARATOR = re.compile(r"[/.]")
MAX_DEPTH = 32
"""Modules, one in the other, that a tensor is looked for in."""


def doubt_rescaled(state: PairingState) -> None:
    """Doubt pairs of different values where a tensor of their module, or a vector as long as their channels, is left
    over on either side."""
    by_size: dict[int, str] = {}
    by_module: dict[str, str] = {}
    for side in (0, 1):
        for tensor in _loose(state, side):
            for module in modules(tensor.name):
                by_module.setdefault(module, tensor.name)
        for tensor in _vectors_beside_paired(state, side):
            by_size.setdefault(max(tensor.shape, default=1), tensor.name)
    by_size.pop(1, None)
    for i, partner in list(state.pairs.items()):
        left, right = state.sides[0][i], state.sides[1][partner.place]
        if partner.doubt or agree(state, i, partner.place):
            continue
        names = []
        if not left.is_vector:
            owners = [next(modules(tensor.name), "") for tensor in (left, right)]
            names += [by_module[module] for module in owners if module in by_module]
        names += [by_size[size] for size in channels(left) | channels(right) if size in by_size]
        if names:
            doubt = f"{names[0]!r} has no partner, and may be part of its values"
            state.take(i, partner.place, partner.why, doubt)


def agree(state: PairingState, i: int, j: int) -> bool:
    """Whether two tensors have the same values, but for the rounding of a factor."""
    if state.equal is None:
        return False
    return state.equal_values(i, j) or state.hints.close(state.sides[0][i], state.sides[1][j])


def channels(tensor: TensorFingerprint) -> set[int]:
    """The length of a vector, or how many inputs and outputs a kernel has."""
    shape = tensor.shape
    if tensor.is_vector:
        return {max(shape, default=1)}
    if len(shape) == 2 or max(shape[2:]) <= max(shape[:-2]):
        return {*shape[:2]}
    return {*shape[-2:]}


def _loose(state: PairingState, side: int) -> Iterator[TensorFingerprint]:
    """The tensors of a side that have no partner and may be in the values of others. A batch norm's scale or shift is
    not where its mean or variance has a partner: the other file has a batch norm too."""
    tensors = state.sides[side]
    filled = {entry.tensor.name for entry in state.filled[side]}
    unpaired = set(state.unpaired(side))
    norms = {
        next(modules(tensor.name), "")
        for place, tensor in enumerate(tensors)
        if place not in unpaired and state.role(side, place) in ("mean", "variance")
    }
    for place, tensor in enumerate(tensors):
        if place not in unpaired and not (tensor.name in filled and tensor.values):
            continue
        beside = state.role(side, place) in ("scale", "shift") and next(modules(tensor.name), "") in norms
        if not (tensor.is_vector and beside) and not _is_neutral(state, side, place):
            yield tensor


def _is_neutral(state: PairingState, side: int, place: int) -> bool:
    """Whether a vector adds nothing, or multiplies by 1."""
    values = state.sides[side][place].values
    if values is None or not values.constant:
        return False
    return values.minimum == 0 or (values.minimum == 1 and state.role(side, place) in ("scale", "variance"))


def _vectors_beside_paired(state: PairingState, side: int) -> Iterator[TensorFingerprint]:
    """The vectors without a partner whose names do not put them beside a kernel without one: a head's, or a block's
    that the other file lacks."""
    kernels = state.of_kind(side, range(len(state.sides[side])), vectors=False)
    loose = set(state.unpaired(side))
    paired, alone = (
        {
            module
            for place in kernels
            if (place in loose) == unpaired
            for module in modules(state.sides[side][place].name)
        }
        for unpaired in (False, True)
    )
    for tensor in _loose(state, side):
        nearest = next((one for one in modules(tensor.name) if one in paired or one in alone), "")
        if tensor.is_vector and (nearest in paired or nearest not in alone):
            yield tensor


def modules(name: str) -> Iterator[str]:
    """The modules that a tensor is in, the innermost first, each with its separator at the end; of a name that is
    nested deeper than any network, the innermost ones."""
    ends = [found.end() for found in _SEPARATOR.finditer(name)]
    return (name[:end] for end in islice(reversed(ends), MAX_DEPTH))
