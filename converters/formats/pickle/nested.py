"""Tells pickles of nested dictionaries of arrays, as JAX's libraries have them, from one dictionary of blobs."""

from __future__ import annotations

from .jax_arrays import JaxArray
from .keys import Key
from .numpy_arrays import Array

_LOOKED_AT = 100_000  # values
_WRAPPER = "blobs"


def is_nested(value: object) -> bool:
    """Whether a pickle's value is dictionaries of arrays within a dictionary, a list or a tuple, or has the arrays or
    the names of JAX's libraries. ``{'blobs': {name: array}}`` is Caffe2's."""
    if isinstance(value, (list, tuple)):
        return any(isinstance(entry, dict) and _has_arrays(entry) for entry in value)
    if not isinstance(value, dict) or _is_wrapped(value):
        return False
    for key, entry in value.items():
        if isinstance(entry, Array):
            names = type(key) is Key and isinstance(key.value, tuple)
            if names or type(entry) is JaxArray or str(key).startswith(("params/", "params.")):
                return True
        elif _has_arrays(entry):
            return True
    return False


def _is_wrapped(value: dict[object, object]) -> bool:
    blobs = value.get(_WRAPPER, value.get(_WRAPPER.encode()))
    return isinstance(blobs, dict) and any(type(blob) is Array for blob in blobs.values())


def _has_arrays(value: object) -> bool:
    """Whether an array is anywhere in a dictionary, a list or a tuple; each is looked into once."""
    seen: set[int] = set()
    open_ = [value]
    while open_ and len(seen) < _LOOKED_AT:
        entry = open_.pop()
        if isinstance(entry, Array):
            return True
        if not isinstance(entry, (dict, list, tuple)) or id(entry) in seen:
            continue
        seen.add(id(entry))
        if isinstance(entry, dict):
            open_ += entry.values()
        elif not any(isinstance(part, (str, bytes)) for part in entry):  # (name, array) is PaddlePaddle's
            open_ += entry
    return False
