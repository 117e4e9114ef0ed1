"""The names of tensors in nested dictionaries, and the way back.

A name is the keys from the outermost dictionary to the array, joined by slashes: ``params/Conv_0/kernel``. The
elements of lists and tuples have their places as keys, as in Flax. A key may contain slashes itself, as the names of
Haiku's modules do: the name does not show where it begins and ends. So who writes such names says which keys these
are, as patterns.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from converters.errors import BadInput, Refused
from converters.formats.other_value import DICTIONARY, OtherValue
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.formats.pickle.strings import encodes
from converters.printable import short_name
from converters.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from converters.files import SourceFile

DEPTH = 64
"""Dictionaries and lists in one another at most. A network has about ten."""

_VALUES = 4 * TENSOR_LIMIT  # containers and what is in them; a pickle can hold one container in many places

Tree = dict[str, "Tensor | Tree"]
"""Nested dictionaries of tensors."""


class Flat:
    """The entries of nested dictionaries by name, in order. ``slash_keys`` are the keys that contain slashes; ``forms``
    says what else a file holds that names do not show."""

    def __init__(self, file: SourceFile) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.other_values: dict[str, OtherValue] = {}
        self.slash_keys: dict[str, None] = {}
        self.forms = ""
        self._file = file
        self._left = _VALUES

    def add(self, tree: object, leaf: Callable[[str, object], Tensor | OtherValue]) -> None:
        """Add all that is in a tree of dictionaries, lists and tuples; ``leaf`` makes what stands for a value with
        its name. Raises `BadInput`."""
        for path, value in self._walk(tree, ()):
            name = "/".join(path)
            if name in self.tensors or name in self.other_values:
                raise self._bad(f"has the name {short_name(name)} twice, by keys with slashes")
            if len(self.tensors) + len(self.other_values) >= TENSOR_LIMIT:
                raise self._bad(f"holds more than {TENSOR_LIMIT:,} arrays and values")
            found = leaf(name, value)
            if isinstance(found, Tensor):
                self.tensors[name] = found
            else:
                self.other_values[name] = found
            self.slash_keys |= {key: None for key in path if "/" in key}

    def _walk(self, value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
        self._left -= 1
        if len(path) > DEPTH:
            raise self._bad(f"is nested more than {DEPTH} deep")
        if self._left < 0:
            raise self._bad(f"holds more than {_VALUES:,} values")
        if isinstance(value, dict) and value:
            seen = set()
            for key, inner in value.items():
                keys = self._keys(key)
                if keys in seen:
                    raise self._bad(
                        f"has the key {short_name('/'.join(keys))} twice, as a number and as a string"
                    )
                seen.add(keys)
                yield from self._walk(inner, path + keys)
        elif isinstance(value, (list, tuple)) and not isinstance(value, Tensor) and _holds_entries(value):
            for place, inner in enumerate(value):
                yield from self._walk(inner, (*path, str(place)))
        elif isinstance(value, dict):
            yield path, OtherValue(kind=DICTIONARY, parts=lambda: iter(()), beside=True)
        else:
            yield path, value

    def _keys(self, key: object) -> tuple[str, ...]:
        """A dictionary's key as keys of a name: several for a tuple, as ``flax.traverse_util.flatten_dict`` has."""
        key = getattr(key, "value", key)  # of what stands for a tuple in a pickle
        parts = key if isinstance(key, tuple) else (key,)
        keys = tuple(_text(part) for part in parts)
        if not keys or None in keys:
            from converters.formats.pickle.keys import no_name

            raise self._bad(no_name(key, "a key that is"))
        return tuple(text for text in keys if text is not None)

    def _bad(self, what: str) -> BadInput:
        return BadInput(what, path=self._file.path, hint="only dictionaries of named arrays can be converted")


def _text(key: object) -> str | None:
    """A key as a text; numbers are written out. None for any other key."""
    if isinstance(key, bytes):
        try:
            key = key.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    return key if isinstance(key, str) and encodes(key) else None


def _holds_entries(values: Sequence[object]) -> bool:
    """Whether a list or tuple is more than one of plain values."""
    plain = (type(None), bool, int, float, str, bytes, OtherValue)
    return any(not isinstance(value, plain) or isinstance(value, Tensor) for value in values)


def with_slashes(names: Iterable[str]) -> Mapping[str, str] | None:
    """Flat names by themselves, dots as slashes where they are what joins the keys; None for names of another sort.

    Those of Flax's variables have their collection, ``params``, as a key.
    """
    names = list(names)
    for join in "/.":
        if any(f"{join}params{join}" in join + name for name in names):
            return {name: name.replace(".", "/") if join == "." else name for name in names}
    return None


def nested(tensors: Iterable[Tensor], slash_keys: Sequence[str]) -> Tree:
    """Tensors in nested dictionaries, in order. ``slash_keys`` are the keys with slashes, as patterns; the longest
    counts. Raises `Refused` for a name that is also the beginning of another one, or occurs twice."""
    patterns = sorted((pattern.split("/") for pattern in slash_keys), key=len, reverse=True)
    tree: Tree = {}
    for tensor in tensors:
        keys = _split(tensor.name, patterns)
        if len(keys) > DEPTH:
            raise Refused(f"would be nested more than {DEPTH} deep", where=short_name(tensor.name))
        inner = tree
        for key in keys[:-1]:
            below = inner.setdefault(key, {})
            if isinstance(below, Tensor):
                raise _both(tensor.name)
            inner = below
        if keys[-1] in inner:
            raise _both(tensor.name)
        inner[keys[-1]] = tensor
    return tree


def _both(name: str) -> Refused:
    return Refused(
        "occurs twice, or names both an array and a dictionary",
        where=short_name(name),
        hint="choose another name",
    )


def _split(name: str, patterns: Sequence[Sequence[str]]) -> list[str]:
    parts = name.split("/")
    keys, at = [], 0
    while at < len(parts):
        size = next((len(pattern) for pattern in patterns if _fits(parts[at:], pattern)), 1)
        keys.append("/".join(parts[at : at + size]))
        at += size
    return keys


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(parts) >= len(pattern) and all(map(fnmatchcase, parts, pattern))
