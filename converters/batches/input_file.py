"""The input of a job: fetched when it is first needed, hashed once."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.open import open_checkpoint
from converters.hashes import SHORT, TITLES, digests_of
from converters.inspection.released import may_be_put_back, released
from converters.lazy_module import LazyModule
from converters.locations import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.conversion.result import Result
    from converters.hashes import Hash
    from converters.inspection.released import Released

    from . import remote_storage
else:
    remote_storage = LazyModule("converters.batches.remote_storage")


class InputFile:
    """A local or remote input."""

    def __init__(self, location: str, progress: Callable[[int, int], None] | None) -> None:
        self.location = location
        self._progress = progress
        self._path = "" if is_remote(location) else location
        self._digest = self._version = ""
        self._size = self._files = 0

    def path(self) -> str:
        """Its path; the address of a remote one, which is in the cache."""
        if not self._path:
            self._version = self.version()  # first: a file that changes meanwhile must not look unchanged
            self._path = remote_storage.fetch(self.location, self._progress)
        return self._path

    def sha256(self) -> str:
        """The SHA-256 of its bytes; of several files, one after the other."""
        if not self._digest:
            with open_checkpoint(self.path()) as checkpoint:
                self._digest = digests_of(checkpoint.files, ["sha256"])["sha256"]
                self._size, self._files = checkpoint.size, len(checkpoint.files)
        return self._digest

    @property
    def hashed(self) -> bool:
        """Whether its hash is known."""
        return bool(self._digest)

    def misfit(self, hashes: Sequence[Hash]) -> str:
        """What is wrong if one hash is not that of the whole input, or several are not those of its files, in any
        order; empty if nothing is."""
        if len(hashes) == 1:
            [known] = hashes
            whole_sha256 = self.sha256()
            digest = whole_sha256 if known.kind == "sha256" else self._digests([known])[0][known.kind]
            if digest.startswith(known.digits):
                return ""
            beginning = f"begins with {digest[:SHORT]}, not with {known.digits[:SHORT]}"
            whole = f" of its {self._files} files together" if self._files > 1 else ""
            return f"its {TITLES[known.kind]}{whole} {beginning}"
        files = self._digests(hashes, apart=True) if hashes else []
        if len(files) != len(hashes):
            return f"has {len(files)} files, and there are {len(hashes)} hashes"
        if strays := [known for known in hashes if not any(known.fits(digests) for digests in files)]:
            return f"none of its files has the {TITLES[strays[0].kind]} {strays[0].digits[:SHORT]}..."
        if not all(any(known.fits(digests) for known in hashes) for digests in files):
            return "has a file that matches none of the hashes"
        return ""

    def _digests(self, hashes: Sequence[Hash], *, apart: bool = False) -> list[dict[str, str]]:
        """The digests of all files together, or of each."""
        kinds = {known.kind for known in hashes}
        with open_checkpoint(self.path()) as checkpoint:
            parts = [[file] for file in checkpoint.files] if apart else [checkpoint.files]
            return [digests_of(part, kinds) for part in parts]

    def learn(self, result: Result) -> None:
        """Take what a conversion of it has found."""
        hashes = result.hashes
        if hashes and hashes.input:
            self._digest, self._size, self._files = hashes.input, hashes.size, hashes.files

    def release(self, result: Result, **options: Any) -> Released | None:
        """The release that it is, if a hash proves one. It was converted; ``options`` say how it is read, as in
        `inspect`."""
        digest = self.sha256()
        sole = {os.path.basename(self.path()): {"sha256": digest}} if self._files == 1 else None
        network = result.info
        if may_be_put_back(result.layout):
            from converters.inspection.inspect import inspect

            network = inspect(self.path(), layout=result.layout, **options).network
        archive = result.hashes is None or result.hashes.archive
        return released(self.path(), result.layout, network, sole, archive=archive)

    def version(self) -> str:
        """The version that its store gives it now; empty for a local file."""
        if not is_remote(self.location):
            return ""
        with suppress(BadInput):  # the prefix of a TensorFlow checkpoint is not a file
            return remote_storage.version_of(self.location)
        return ""

    def as_data(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {"sha256": self.sha256(), "size": self._size, "version": self._version}
