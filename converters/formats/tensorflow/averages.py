"""Averages of variables: ``X/ExponentialMovingAverage`` beside ``X``, as TensorFlow's moving_averages.py has them,
and in TensorFlow 2's object graphs the slots ``average`` of an optimizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from converters.errors import UsageError

from .object_graph import SLOT, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from converters.tensor import Tensor

_AVERAGE = re.compile(r"(?i).*average.*|(?:.*_)?ema(?:_.*)?")


def names_of_averages(names: Iterable[str]) -> list[str]:
    """What a checkpoint calls its averages."""
    leaves = dict.fromkeys(_leaf(name) for name in names if "/" in name)
    return [leaf for leaf in leaves if _AVERAGE.fullmatch(leaf)]


def averages_as_variables(tensors: Mapping[str, Tensor], entry: str, path: str) -> dict[str, Tensor]:
    """The variables, those that have an average called ``entry`` with its values; without the averages themselves.

    An average may lie in a scope of its own (``train/X/NAME``), or be there without its variable. Raises `UsageError`
    if there is none.
    """
    known = names_of_averages(tensors)
    if entry not in known:
        raise UsageError(
            f"has no averages called {entry!r}",
            path=path,
            hint=f"--entry may be {' or '.join(known)}" if known else "leave --entry out",
        )
    found = {name: _variable(name, tensors) for name in tensors if "/" in name and _leaf(name) == entry}
    plain = {name: tensor for name, tensor in tensors.items() if name not in found}
    return plain | {variable: tensors[name]._replace(name=variable) for name, variable in found.items()}


def _leaf(name: str) -> str:
    """What an object calls its variable or its slot."""
    return name.removesuffix(SUFFIX).rpartition("/")[2]


def _variable(name: str, tensors: Mapping[str, Tensor]) -> str:
    """The variable of an average: its name, or the end of it that is a variable's."""
    path = name.removesuffix(SUFFIX)
    owner = path.rpartition("/")[0].partition(SLOT)[0] + name[len(path) :]
    end = owner
    while end not in tensors and "/" in end:
        end = end.partition("/")[2]
    return end if end in tensors else owner
