"""Chooses the state dict with the weights, where a PyTorch checkpoint has several dictionaries.

The choice follows the names of entries in published training code: ``state_dict`` (mmcv and many others),
``model_state`` (PySlowFast), ``model_state_dict`` (PyTorch's tutorials) and so on. Averaged weights beside the plain
ones are only taken on request, and ambiguity is refused.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, TypeGuard

from converters.errors import BadInput, Refused, UsageError
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT

from .tensors import State, TorchTensor, by_place, dictionary_attributes, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.files import SourceFile

WEIGHTS = frozenset(
    {
        *(
            "state_dict",
            "state_dicts",
            "model",
            "model_state",
            "model_state_dict",
            "model_dict",
            "model_weights",
        ),
        *("net", "net_state", "net_state_dict", "network", "params", "parameters", "weights", "module"),
    }
)
"""Names of entries that hold the plain weights."""

_AVERAGE = re.compile(r"(?i)(?:^|[_.\-])(?:ema|swa|averaged?)(?:$|[_.\-])|[a-z]E(?:MA|ma)$")
_DEPTH = 3
_LONGEST = 255  # characters of the name of an entry with a state dict: the names of its values start with it
_SHOWN = 8  # entries that a message names
_PLACES = 8  # of a list that may hold a state dict
_BUDGET = 4 * TENSOR_LIMIT
"""Entries that are looked at in all: a dictionary that is stored once can be named in many places."""


def choose(file: SourceFile, entries: Mapping[str, object], entry: str | None) -> State:
    """The state dict with the plain weights, or the one in ``entry``, a path of names with dots between them.

    Raises `Refused` where several may be meant, `UsageError` where ``entry`` has none.
    """
    state_dicts = dict(_Search(file).state_dicts(entries, ()))
    has_own_tensors = any(isinstance(item, TorchTensor) for item in entries.values())
    if entry is not None:
        path = next((path for path in state_dicts if ".".join(path) == entry), None)
        if path is None:
            entries_found = _names(state_dicts) or "none; the file is a state dict itself"
            raise UsageError(
                f"has no state dict in the entry {entry!r}", path=file.path, hint=f"it has {entries_found}"
            )
        return _state(file, entries, state_dicts, path)
    averaged = [path for path in state_dicts if any(_AVERAGE.search(name) for name in path)]
    plain = [path for path in state_dicts if path not in averaged and all(name in WEIGHTS for name in path)]
    if not plain and has_own_tensors:
        return State(entries=entries, beside=tuple(map(".".join, state_dicts)))
    choices = plain or [path for path in state_dicts if path not in averaged] or averaged
    if not choices:
        return State(entries=entries)
    if len(choices) > 1:
        raise Refused(
            f"holds {len(choices)} state dicts, and it is not clear which is meant",
            path=file.path,
            where=_names(choices),
            hint=f"say which with --entry, such as --entry {'.'.join(choices[0])}",
        )
    return _state(file, entries, state_dicts, choices[0])


def _names(found: Iterable[tuple[str, ...]]) -> str:
    """The first of the entries found, for a message."""
    return ", ".join(".".join(path) for path in islice(found, _SHOWN))


def _state(
    file: SourceFile,
    entries: Mapping[str, object],
    state_dicts: Mapping[tuple[str, ...], dict[object, object]],
    path: tuple[str, ...],
) -> State:
    """The state dict at ``path``; all values beside the path go by their own paths."""
    other_values: dict[str, object] = {}
    attributes: list[object] = []
    inner: Mapping[str, object] = entries
    for depth, name in enumerate(path):
        other_values |= {
            ".".join((*path[:depth], other)): item for other, item in inner.items() if other != name
        }
        wrapped = inner[name]
        if isinstance(wrapped, (list, tuple)):
            wrapped = by_place(wrapped)
        assert isinstance(wrapped, dict)
        inner = named(file, wrapped)
        if (own := dictionary_attributes(wrapped)) is not None:
            attributes.append(own)
    other_entries = tuple(".".join(other) for other in state_dicts if other != path)
    return State(
        entries=inner,
        wrapper=".".join(path),
        other_values=other_values,
        beside=other_entries,
        attributes=tuple(attributes) or None,
    )


def _holds_dictionaries(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    """Whether a value is a list or tuple with a dictionary among its first values, such as ``(state_dict, epoch)``."""
    return isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value[:_PLACES])


class _Search:
    """Searches one file's value for state dicts."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._left = _BUDGET

    def state_dicts(
        self, entries: Mapping[str, object], path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], dict[object, object]]]:
        """Every dictionary with tensors by its path, except those of optimizers and those inside another state
        dict."""
        self._left -= len(entries)
        if self._left < 0:
            raise BadInput(
                f"has more than {_BUDGET:,} entries in its dictionaries",
                path=self._file.path,
                hint="no checkpoint has so many",
            )
        for name, entry in entries.items():
            item = by_place(entry) if _holds_dictionaries(entry) else entry
            if (
                not isinstance(item, dict)
                or len(name) > _LONGEST
                or "optim" in name.lower()
                or {"state", "param_groups"} <= item.keys()
            ):
                continue
            if any(isinstance(value, TorchTensor) for value in item.values()):
                self._left -= len(item)
                yield (*path, name), item
            elif len(path) + 1 < _DEPTH:
                yield from self.state_dicts(named(self._file, item), (*path, name))
