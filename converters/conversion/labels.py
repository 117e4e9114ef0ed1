"""Names of classes from a file of the user's own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused
from converters.files import SourceFile
from converters.printable import printable

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo

MAX_BYTES = 16 << 20
"""Of a file of names."""


def with_labels(info: NetworkInfo, path: str) -> NetworkInfo:
    """The network with the names of a file: one a line, or JSON, either a list or an object of names and numbers.

    Raises `BadInput` for another file, `Refused` where there are not as many names as classes.
    """
    names = read_labels(path)
    if len(names) != info.classes:
        raise Refused(
            f"has {len(names)} name{'' if len(names) == 1 else 's'}, and the network {info.classes} classes",
            path=path,
            hint="give one name for each class, in the order of the logits",
        )
    described = {key: value for key, value in info.input.items() if key != "labels_notice"}
    given = {"labels": names, "labels_file": printable(os.path.basename(path))}
    return info.replace(input={**described, **given})


def read_labels(path: str) -> list[str]:
    """The names in a file, in the order of the classes. Raises `BadInput`."""
    with SourceFile(path) as file:
        if file.size > MAX_BYTES:
            raise BadInput(
                "is too large for a list of names", path=path, hint="give one name a line, or JSON"
            )
        data = file.read_at(0, file.size)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("is not text in UTF-8", path=path, hint="give one name a line, or JSON") from None
    names = _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise BadInput("has a class without a name", path=path, hint="give one name for each class")
    return [printable(name.strip()) for name in names]


def _from_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _from_json(text: str, path: str) -> list[Any]:
    """A list of names, or the names of an object ``{"0": "name"}`` or ``{"name": 0}`` by their numbers."""
    try:
        value = json.loads(text)
        if isinstance(value, list):
            return value
        pairs = (
            [(int(key), name) for key, name in value.items()] if _keys_are_numbers(value) else _by_name(value)
        )
    except (ValueError, RecursionError):
        raise BadInput(
            "is not a list of names in JSON", path=path, hint='such as ["archery", "juggling"]'
        ) from None
    numbers = sorted(number for number, _ in pairs)
    if numbers != list(range(len(pairs))):
        raise BadInput("leaves gaps between the numbers of the classes", path=path, hint="number them from 0")
    return [name for _, name in sorted(pairs)]


def _keys_are_numbers(value: dict[str, Any]) -> bool:
    return all(key.strip().isdecimal() for key in value)


def _by_name(value: dict[str, Any]) -> list[tuple[int, Any]]:
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in value.values()):
        raise ValueError("not numbers")
    return [(number, name) for name, number in value.items()]
