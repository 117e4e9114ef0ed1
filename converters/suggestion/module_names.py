"""Doubt pairs that take the tensors of one module to several, where the names of both files show modules."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from .name_similarity import plain_name, role

if TYPE_CHECKING:
    from .state import PairingState

_MODULE = re.compile(r"(.*?)[/._](?:(?:running|moving|pop|saved)_)?[^/._]+")
_LEAF = re.compile(r"kernel$|/\d$")
_SPLIT = "its module's other tensors are paired with another module"


def doubt_split_modules(state: PairingState) -> None:
    """Doubt a pair of two modules of which both have most of their partners elsewhere. A module may be two in the other
    file, as Caffe's ``BatchNorm`` and ``Scale`` are; but then these two have no other partners."""
    modules: dict[int, tuple[str, str]] = {}
    for i, partner in state.pairs.items():
        names = state.sides[0][i].name, state.sides[1][partner.place].name
        left, right = map(_module, names)
        if left and right:
            modules[i] = left, right
    together = Counter(modules.values())
    of_left = Counter(left for left, _ in modules.values())
    of_right = Counter(right for _, right in modules.values())
    for i, (left, right) in modules.items():
        count, most = together[left, right], max(of_left[left], of_right[right])
        split = count < min(of_left[left], of_right[right]) and 2 * count <= most
        partner = state.pairs[i]
        if split and not partner.doubt and partner.why != "values":
            state.take(i, partner.place, partner.why, _SPLIT)


def _module(name: str) -> str:
    """The module of a tensor whose name ends with its role, as a kernel's or with a number, as Caffe's blobs; empty for
    other names."""
    name = plain_name(name)
    found = _MODULE.fullmatch(name)
    return found[1] if found and (role(name) or _LEAF.search(name)) else ""
