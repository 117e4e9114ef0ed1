"""Doubt pairs whose rows are several matrices in one, as the gates of an LSTM are: frameworks order them differently,
and neither a shape nor a name shows how."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from .rescaled import agree, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .state import PairingState

_DOUBT = "its values differ, and its gates or projections may be in another order"
_GATES = (3, 4)  # of a GRU, of an LSTM
_NAMES = re.compile(r"(?i)lstm|(?<![a-z])gru|qkv|query_key_value|in_proj|c_attn")


def doubt_gates(state: PairingState) -> None:
    """Doubt pairs of different values in which either tensor holds gates, or the projections of an attention."""
    gated = set(_gated(state, 0)), set(_gated(state, 1))
    for i, partner in list(state.pairs.items()):
        is_gated = i in gated[0] or partner.place in gated[1]
        if is_gated and not partner.doubt and not agree(state, i, partner.place):
            state.take(i, partner.place, partner.why, _DOUBT)


def _gated(state: PairingState, side: int) -> Iterator[int]:
    """The places of a side's tensors that hold gates: by their names, or in a module with two matrices of one width,
    of which one takes as many inputs as each of its gates has outputs."""
    by_module: dict[str, list[int]] = defaultdict(list)
    for place, tensor in enumerate(state.sides[side]):
        by_module[next(modules(tensor.name), "")].append(place)
    for places in by_module.values():
        shapes = [state.sides[side][place].shape for place in places]
        matrices = [shape for shape in shapes if len(shape) == 2 and min(shape) > 1]
        uses = Counter(size for shape in matrices for size in {*shape})
        widths = {
            max(shape)
            for shape in matrices
            if max(shape) in [gates * min(shape) for gates in _GATES] and uses[max(shape)] > 1
        }
        widths |= {2 * width for width in widths}
        for place, shape in zip(places, shapes, strict=True):
            fits = not widths.isdisjoint(shape)
            if fits or (_NAMES.search(state.sides[side][place].name) and max(shape, default=1) > 1):
                yield place
