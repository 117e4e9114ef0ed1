"""Says what a file or folder is that no reader could open."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

from converters.errors import BadInput
from converters.printable import short_name

from .kinds import KINDS, POINTER
from .signs import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kinds import Kind

_POINTER_SIZE = 1024  # bytes; a git-lfs pointer has some 130
_POINTER_START = b"version https://git-lfs"
_LOOKED_AT = 500  # files of a folder


def explained(path: str, error: BadInput) -> BadInput:
    """The error that says what ``path`` is, or ``error``, which opening it gave, if it is of no kind in the table."""
    pointer = next(_pointers(path, error.path), "")
    if pointer:
        return _error(POINTER, pointer, "")
    if not os.path.exists(path):
        return error
    evidence = Evidence(path)
    for kind in KINDS:
        found = _found(kind, evidence)
        if found is not None:
            return _error(kind, path, found)
    return error


def _found(kind: Kind, evidence: Evidence) -> str | None:
    """What was found by the first set of the kind's signs that are all there; None if there is none."""
    for signs in kind.signs:
        seen = [sign.seen(evidence) for sign in signs]
        if None not in seen:
            return next(filter(None, seen), "")
    return None


def _error(kind: Kind, path: str, found: str) -> BadInput:
    folder = path if os.path.isdir(path) else os.path.dirname(path) or os.curdir
    words = {"path": quote(path), "folder": quote(folder), "name": os.path.basename(path)}
    around, tag = os.path.split(os.path.abspath(path))
    parent = around if os.path.isabs(path) else os.path.relpath(around)
    words |= {"parent": quote(parent), "tag": quote(tag)}
    words |= {
        "found": ", ".join(map(short_name, found.split(", "))),
        "inner": short_name(os.path.dirname(found)),
    }
    return BadInput(kind.what.format_map(words), path=path, hint=kind.hint.format_map(words))


def _pointers(path: str, wrong: str) -> Iterator[str]:
    """The git-lfs pointers among the files that a path means: the file itself, the one that could not be read, those
    in a folder, and those of a set that is named by its prefix."""
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        paths = [os.path.join(path, entry) for entry in Evidence(path).entries]
    elif os.path.exists(path):
        paths = [path]
    else:
        paths = [
            os.path.join(folder, entry) for entry in sorted(Evidence(path).beside) if entry.startswith(name)
        ]
    for one in dict.fromkeys([wrong, *paths[:_LOOKED_AT]]):
        if one and 0 < Evidence(one).size <= _POINTER_SIZE and Evidence(one).head.startswith(_POINTER_START):
            yield one
