"""SHA-256 of files, and lists of hashes in the format of ``sha256sum``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import BadInput
from .files import SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def sha256_of_bytes(data: bytes) -> str:
    """The SHA-256 of a few bytes, in hexadecimal.

    Python's own implementation, if it is there, as `random` does it: `hashlib` loads OpenSSL, which takes as long
    as half a megabyte.
    """
    for module in ("_sha2", "_sha256", "hashlib"):
        try:
            digest: str = import_module(module).sha256(data).hexdigest()
        except ImportError:
            continue
        return digest
    raise AssertionError("Python has hashlib")


def sha256_of(path: str, moved: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal; ``moved`` is called with the number of bytes of each piece."""
    with SourceFile(path) as file:
        return sha256_in(file, moved)


def sha256_in(file: SourceFile, moved: Callable[[int], None] | None = None) -> str:
    """The same for an open file."""
    from hashlib import sha256

    digest = sha256()
    for chunk in file.chunks(0, file.size):
        digest.update(chunk)
        if moved:
            moved(len(chunk))
    return digest.hexdigest()


def parse_sums(text: str, path: str) -> dict[str, str]:
    """Hashes by file name. Raises `BadInput` for a line that is not in the format."""
    import re

    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if match is None:
            raise BadInput("is not a list of SHA-256 hashes", path=path, where=f"line {number}")
        found[match[2]] = match[1]
    return found


def dump_sums(sums: Mapping[str, str]) -> str:
    """The list that ``sha256sum -c`` checks, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
