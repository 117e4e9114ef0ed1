"""The input of a job: fetched when it is first needed, hashed once."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.open import open_checkpoint

from .storage import fetch, is_remote, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = "in"
"""The folder in a job's scratch folder that remote inputs are fetched to."""


class InputFile:
    """A local or remote input."""

    def __init__(self, location: str, scratch: str, progress: Callable[[int, int], None] | None) -> None:
        self.location = location
        self._scratch = scratch
        self._progress = progress
        self._path = "" if is_remote(location) else location
        self._digest = self._version = ""
        self._size = 0

    def path(self) -> str:
        """Its local path."""
        if not self._path:
            folder = os.path.join(self._scratch, FOLDER)
            os.mkdir(folder)
            self._version = self.version()  # first: a file that changes meanwhile must not look unchanged
            self._path = fetch(self.location, folder, self._progress)
        return self._path

    def sha256(self) -> str:
        """The SHA-256 of its bytes; of several files, one after the other."""
        if not self._digest:
            with open_checkpoint(self.path()) as checkpoint:
                digest = sha256()
                for file in checkpoint.files:
                    for chunk in file.chunks(0, file.size):
                        digest.update(chunk)
                self._digest, self._size = digest.hexdigest(), checkpoint.size
        return self._digest

    def version(self) -> str:
        """The version that its store gives it now; empty for a local file."""
        if not is_remote(self.location):
            return ""
        with suppress(BadInput):  # the prefix of a TensorFlow checkpoint is not a file
            return version_of(self.location)
        return ""

    def as_data(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {"sha256": self.sha256(), "size": self._size, "version": self._version}
