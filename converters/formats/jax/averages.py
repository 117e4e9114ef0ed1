"""Averages of the weights in nested variables: ``ema_params`` beside ``params``, as in Flax's training states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import UsageError
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

PARAMS = "params"
"""The collection of the weights."""

_AVERAGE = re.compile(r"(?i)(?:^|[_.\-])(?:ema|swa|avg|averaged?)(?:$|[_.\-])")
_OPTIMIZER = "opt_state"
_SHOWN = 8  # entries that a message names


class Chosen(NamedTuple):
    """Which names of a file are read, and as what. ``beside`` are other weights, which ``entry`` may name."""

    names: Mapping[str, str]
    beside: tuple[str, ...]


def choose(names: Iterable[str], entry: str | None, path: str) -> Chosen:
    """All names as they are, or those of the averages ``entry`` in place of the weights.

    An entry is a whole set of variables, with ``params`` in it, or stands for the ``params`` beside it; then
    ``ema_batch_stats`` beside ``ema_params`` stands for ``batch_stats``. Raises `UsageError` if there is no such
    entry.
    """
    names = list(names)
    averages = dict.fromkeys(found for name in names if (found := _average_of(name)))
    parents = {one.rpartition("/")[0] for one in averages}
    weights = dict.fromkeys(found for name in names if (found := _weights_beside(name, parents)))
    known = (*weights, *(one for one in averages if "stats" not in one.rpartition("/")[2]))
    if entry is None:
        return Chosen({name: name for name in names}, tuple(one for one in known if one in averages))
    if entry not in known:
        raise UsageError(
            f"has no entry {short_name(entry)} with weights",
            path=path,
            hint=f"--entry may be {' or '.join(known[:_SHOWN])}" if averages else "leave --entry out",
        )
    return Chosen(_in_place(names, entry), tuple(one for one in known if one != entry))


def _average_of(name: str) -> str:
    """The outermost entry of averages that a name is in, an optimizer's apart; empty if there is none."""
    keys = name.split("/")[:-1]
    place = next((at for at, key in enumerate(keys) if _AVERAGE.search(key)), None)
    if place is None or _OPTIMIZER in keys[:place]:
        return ""
    return "/".join(keys[: place + 1])


def _weights_beside(name: str, parents: Container[str]) -> str:
    """The ``params`` that a name is in, if they are in one of the ``parents`` of averages; else empty."""
    keys = name.split("/")[:-1]
    place = keys.index(PARAMS) if PARAMS in keys else None
    return "" if place is None or "/".join(keys[:place]) not in parents else "/".join(keys[: place + 1])


def _in_place(names: Iterable[str], entry: str) -> dict[str, str]:
    """The names to read: those of the entry by the names that they stand for, and those of other collections."""
    parent, _, key = entry.rpartition("/")
    start = f"{parent}/" if parent else ""
    inside = f"{entry}/"
    collections = dict.fromkeys(
        name.removeprefix(start).partition("/")[0] for name in names if name.startswith(start)
    )
    if any(name.startswith(f"{inside}{PARAMS}/") for name in names):
        stands_for = {key: ""}
        taken = {name.removeprefix(inside).partition("/")[0] for name in names if name.startswith(inside)}
    else:
        stands_for = {key: f"{PARAMS}/", **_siblings(key, collections)}
        taken = {one.rstrip("/") for one in stands_for.values()}
    chosen = {}
    for name in names:
        collection, _, rest = name.removeprefix(start).partition("/")
        if name.startswith(start) and collection in stands_for:
            chosen[name] = f"{start}{stands_for[collection]}{rest}"
        elif not (name.startswith(start) and collection in taken) and not _average_of(name):
            chosen[name] = name
    return chosen


def _siblings(key: str, collections: Iterable[str]) -> dict[str, str]:
    """The other collections that are named as averaged weights are, and what each stands for."""
    before, found, behind = key.partition(PARAMS)
    if not found or key == PARAMS:
        return {}
    known = {*collections}
    return {f"{before}{one}{behind}": f"{one}/" for one in collections if f"{before}{one}{behind}" in known}
