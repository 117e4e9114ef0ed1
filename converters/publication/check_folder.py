"""Check a published folder against its list of hashes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from converters.checksums import sha256_of
from converters.errors import BadInput, ConverterError
from converters.formats.open import open_checkpoint

from .checkpoint_files import checkpoint_files
from .hash_list import LIST_NAME, list_path, read_hashes
from .publish import HASH_IN_NAME, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator


class CheckedFile(NamedTuple):
    """A file of a published folder; ``fault`` is empty where it is as published."""

    name: str
    fault: str


def check_folder(folder: str | os.PathLike[str]) -> list[CheckedFile]:
    """Check that every listed file exists and has its hash, also the one in its name, that every checkpoint can be
    opened, and that no checkpoint of any framework is there unlisted, in sub-folders neither. Raises `BadInput` where
    the list is missing or empty."""
    folder = os.fspath(folder)
    hashes = read_hashes(folder)
    if not hashes:
        raise BadInput("lists no file", path=list_path(folder))
    listed = [CheckedFile(name, _fault(folder, name, digest)) for name, digest in hashes.items()]
    return [*listed, *sorted(_unlisted(folder, hashes))]


def _unlisted(folder: str, hashes: dict[str, str]) -> Iterator[CheckedFile]:
    for name, unseen in checkpoint_files(folder):
        if name not in hashes:
            yield CheckedFile(name, unseen or f"is not in {LIST_NAME}")


def _fault(folder: str, name: str, digest: str) -> str:
    """What is wrong with a listed file; a list may not lead out of its folder."""
    if os.path.basename(name) != name:
        return "is not a name in this folder"
    path = os.path.join(folder, name)
    weights = name.lower().endswith(WEIGHTS)
    try:
        if sha256_of(path) != digest:
            return f"does not have its hash in {LIST_NAME}"
        in_name = HASH_IN_NAME.findall(name)
        if in_name and digest[:8] not in in_name and weights:
            return "does not have the hash in its name"
        if weights:
            open_checkpoint(path).close()
    except ConverterError as error:
        return error.told.what
    return ""
