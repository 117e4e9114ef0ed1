"""Signs by which a kind of file or folder is recognised, and the evidence that they look at.

Little is read: the start and the end of a file, the names in a zip file's directory, the names in a folder and in the
folders in it. All of it is bounded.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import NamedTuple, Protocol

HEAD = 8192
"""Bytes at the start of a file that are looked at."""

TAIL = 1 << 20
"""Bytes at its end, where a sign asks for them."""

_DIRECTORY = 4 << 20  # bytes of a zip file's directory,
_MEMBERS = 20_000  # and members
_ENTRIES = 5_000  # of a folder,
_DEPTH = 3  # levels of folders below it,
_FOLDERS = 50  # the folders that are listed too,
_INNER = 500  # and the entries of each


class Evidence:
    """A file or a folder. Everything is read when it is first asked for; what cannot be read is empty."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_folder = os.path.isdir(path)

    @cached_property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(os.path.abspath(self.path))

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file."""
        return self._read(0, HEAD)

    @cached_property
    def tail(self) -> bytes:
        """The last bytes of a file."""
        return self._read(max(0, self.size - TAIL), TAIL)

    @cached_property
    def size(self) -> int:
        """Bytes of a regular file, else 0."""
        try:
            return os.path.getsize(self.path) if os.path.isfile(self.path) else 0
        except OSError:
            return 0

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The names in a folder, and those in the folders below it behind their slashes."""
        if not self.is_folder:
            return ()
        names = _listed(self.path, _ENTRIES)
        found = list(names)
        for _ in range(_DEPTH):
            folders = [name for name in names if os.path.isdir(os.path.join(self.path, name))][:_FOLDERS]
            names = [
                f"{name}/{inner}"
                for name in folders
                for inner in _listed(os.path.join(self.path, name), _INNER)
            ]
            found += names
        return tuple(found)

    @cached_property
    def beside(self) -> frozenset[str]:
        """The names in the folder that a file is in."""
        return frozenset(_listed(os.path.dirname(os.path.abspath(self.path)), _ENTRIES))

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names in a zip file's directory, which is looked for at the end, whatever lies in front."""
        return self._directory[0]

    @property
    def is_joined(self) -> bool:
        """Whether a zip file has another one in front of it."""
        return self._directory[1]

    @cached_property
    def _directory(self) -> tuple[tuple[str, ...], bool]:
        if not self.head.startswith(b"PK"):
            return (), False
        tail = self.tail
        end = tail.rfind(b"PK\5\6")
        if end < 0 or end + 22 > len(tail):
            return (), False
        size, stated = (int.from_bytes(tail[at : at + 4], "little") for at in (end + 12, end + 16))
        if tail[end - 20 : end - 16] == b"PK\6\7" and tail[end - 76 : end - 72] == b"PK\6\6":
            end -= 76
            size, stated = (int.from_bytes(tail[at : at + 8], "little") for at in (end + 40, end + 48))
        start = self.size - len(tail) + end - size
        return tuple(_names(self._read(start, min(size, _DIRECTORY)))), stated < start

    def _read(self, start: int, length: int) -> bytes:
        if not self.size or start < 0:
            return b""
        try:
            with open(self.path, "rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError:
            return b""


def _listed(folder: str, limit: int) -> list[str]:
    """Names in a folder, at most so many, in order."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) == limit:
                    break
    except OSError:
        return []
    return sorted(names)


def _names(raw: bytes) -> list[str]:
    """The names in a zip file's directory."""
    names: list[str] = []
    at = 0
    while raw[at : at + 4] == b"PK\1\2" and len(names) < _MEMBERS:
        name, extra, comment = (int.from_bytes(raw[at + n : at + n + 2], "little") for n in (28, 30, 32))
        names.append(raw[at + 46 : at + 46 + name].decode("utf-8", "replace"))
        at += 46 + name + extra + comment
    return names


class Sign(Protocol):
    """Something that files of a kind have."""

    def seen(self, evidence: Evidence) -> str | None:
        """None if it is not there, else what was found: a name for the advice, or nothing."""
        ...


class Head(NamedTuple):
    """The file begins with a pattern."""

    pattern: bytes

    def seen(self, evidence: Evidence) -> str | None:
        return "" if re.match(self.pattern, evidence.head, re.DOTALL) else None


class Within(NamedTuple):
    """A pattern is among the first bytes."""

    pattern: bytes

    def seen(self, evidence: Evidence) -> str | None:
        return "" if re.search(self.pattern, evidence.head, re.DOTALL) else None


class Whole(NamedTuple):
    """The file is short, and a pattern is all of it."""

    pattern: bytes

    def seen(self, evidence: Evidence) -> str | None:
        if not 0 < evidence.size <= HEAD:
            return None
        return "" if re.fullmatch(self.pattern, evidence.head, re.DOTALL) else None


class Member(NamedTuple):
    """A zip file has a member whose name is matched; the name is what was found."""

    pattern: str

    def seen(self, evidence: Evidence) -> str | None:
        return _first(self.pattern, evidence.members)


class NoMember(NamedTuple):
    """A zip file has no member whose name is matched."""

    pattern: str

    def seen(self, evidence: Evidence) -> str | None:
        return "" if _first(self.pattern, evidence.members) is None else None


class Joined(NamedTuple):
    """Several zip files in one, one behind the other."""

    def seen(self, evidence: Evidence) -> str | None:
        return "" if evidence.is_joined else None


class Entry(NamedTuple):
    """A folder has an entry, or one of its folders has, whose name is matched; the name is what was found."""

    pattern: str

    def seen(self, evidence: Evidence) -> str | None:
        return _first(self.pattern, evidence.entries)


class Entries(NamedTuple):
    """As `Entry`, but all the names that are matched were found, the first eight of them; ``least`` is how many must
    be there."""

    pattern: str
    least: int = 1

    def seen(self, evidence: Evidence) -> str | None:
        found = [name for name in evidence.entries if re.fullmatch(self.pattern, name)]
        return ", ".join(found[:8]) + (", ..." if found[8:] else "") if len(found) >= self.least else None


class Above(NamedTuple):
    """A file lies in the folder around a folder."""

    name: str

    def seen(self, evidence: Evidence) -> str | None:
        return "" if evidence.is_folder and self.name in evidence.beside else None


class NoEntry(NamedTuple):
    """A folder has no such entry, nor has one of its folders."""

    pattern: str

    def seen(self, evidence: Evidence) -> str | None:
        return "" if _first(self.pattern, evidence.entries) is None else None


class Name(NamedTuple):
    """The file or folder itself has a name that is matched, in small letters: for kinds without a sign inside."""

    pattern: str

    def seen(self, evidence: Evidence) -> str | None:
        return "" if re.search(self.pattern, evidence.name.lower()) else None


class Beside(NamedTuple):
    """A file of the same name, but with this suffix, lies beside the file."""

    suffix: str

    def seen(self, evidence: Evidence) -> str | None:
        name = os.path.splitext(evidence.name)[0] + self.suffix
        return name if name in evidence.beside and name != evidence.name else None


def _first(pattern: str, names: tuple[str, ...]) -> str | None:
    compiled = re.compile(pattern)
    return next((name for name in names if compiled.fullmatch(name)), None)
