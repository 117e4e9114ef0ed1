"""Hashes by which published files are known: SHA-256, SHA-1, and git's id of a blob, each whole or its beginning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from hashlib import _Hash

    from .files import SourceFile

LENGTHS = {"sha256": 64, "sha1": 40, "git": 40}
"""The kinds, and how many hexadecimal digits a whole hash has. Git's is the SHA-1 of ``blob SIZE\\0`` and content."""

TITLES = {"sha256": "SHA-256", "sha1": "SHA-1", "git": "git blob id"}
"""What people call the kinds."""

FORMS = "'sha256:', 'sha1:' or 'git:' and all digits, or of a SHA-256 the digits alone, all or the first 8"
"""What `parse_hash` takes, in words."""

SHORT = 8
"""Digits of a SHA-256 that are known where a file's name has no more."""

_TEXT = re.compile(r"(?:(sha256|sha1|git):)?([0-9a-f]+)")


class Hash(NamedTuple):
    """A published hash: its kind, and its digits in lower case, all of them or the first `SHORT`."""

    kind: str
    digits: str

    @property
    def whole(self) -> bool:
        """Whether all digits are there."""
        return len(self.digits) == LENGTHS[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}:{self.digits}" if self.whole else self.digits

    def fits(self, digests: Mapping[str, str]) -> bool:
        """Whether these are the digits, or the first digits, of a file's digests by kind. One that is not there does
        not fit."""
        return digests.get(self.kind, "").startswith(self.digits)


def parse_hash(text: str) -> Hash:
    """The hash that a text gives in one of the `FORMS`. Raises `ValueError`."""
    match = _TEXT.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"{text!r} is not {FORMS}")
    kind, digits = match[1], match[2]
    if len(digits) not in ((LENGTHS[kind],) if kind else (LENGTHS["sha256"], SHORT)):
        raise ValueError(f"{text!r} is not {FORMS}")
    return Hash(kind or "sha256", digits)


def digests_of(files: Sequence[SourceFile], kinds: Iterable[str] = LENGTHS) -> dict[str, str]:
    """Hexadecimal digests by kind, of files one after the other, read once."""
    size = sum(file.size for file in files)
    digests = {kind: _start(kind, size) for kind in kinds}
    for file in files:
        for chunk in file.chunks(0, file.size):
            for digest in digests.values():
                digest.update(chunk)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def _start(kind: str, size: int) -> _Hash:
    """An empty digest of a kind, for a content of ``size`` bytes."""
    from hashlib import sha1, sha256

    if kind == "sha256":
        return sha256()
    head = b"blob %d\0" % size if kind == "git" else b""
    return sha1(head, usedforsecurity=False)
