"""The input of a job: fetched when it is first needed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.io.file_crc32 import crc32_in
from converters.formats.open import open_checkpoint
from converters.hashes import SHORT, TITLES, digests_of
from converters.inspection.released import may_be_put_back, released
from converters.lazy_module import LazyModule
from converters.locations import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
        self._crc32 = self._version = ""
        self._size = 0
        self._digests: dict[str, str] = {}  # of all of it, by kind

    def path(self) -> str:
        """Its path; the address of a remote one, which is in the cache."""
        if not self._path:
            self._version = self.version()  # first: a file that changes meanwhile must not look unchanged
            self._path = remote_storage.fetch(self.location, self._progress)
        return self._path

    def crc32(self) -> str:
        """The CRC-32 of its bytes, in 8 hexadecimal digits; of several files, one after the other."""
        if not self._crc32:
            with open_checkpoint(self.path()) as checkpoint:
                value = crc32_in((file, ()) for file in checkpoint.files)
                self._crc32, self._size = f"{value:08x}", checkpoint.size
        return self._crc32

    def misfit(self, hashes: Sequence[Hash]) -> str:
        """What is wrong if one hash is not that of the whole input, or several are not those of its files, in any
        order; empty if nothing is."""
        if len(hashes) == 1:
            return self._misfit_as_a_whole(hashes[0])
        files = self._digests_of_each(hashes) if hashes else []
        if len(files) != len(hashes):
            return f"has {len(files)} files, and there are {len(hashes)} hashes"
        if strays := [known for known in hashes if not any(known.fits(digests) for digests in files)]:
            return f"none of its files has the {TITLES[strays[0].kind]} {strays[0].digits[:SHORT]}..."
        if not all(any(known.fits(digests) for known in hashes) for digests in files):
            return "has a file that matches none of the hashes"
        return ""

    def _misfit_as_a_whole(self, known: Hash) -> str:
        with open_checkpoint(self.path()) as checkpoint:
            digest = digests_of(checkpoint.files, [known.kind])[known.kind]
            count = len(checkpoint.files)
        self._digests[known.kind] = digest
        if digest.startswith(known.digits):
            return ""
        what = TITLES[known.kind] + (f" of its {count} files together" if count > 1 else "")
        return f"its {what} begins with {digest[:SHORT]}, not with {known.digits[:SHORT]}"

    def _digests_of_each(self, hashes: Sequence[Hash]) -> list[dict[str, str]]:
        kinds = {known.kind for known in hashes}
        with open_checkpoint(self.path()) as checkpoint:
            return [digests_of([file], kinds) for file in checkpoint.files]

    def learn(self, result: Result) -> None:
        """Take what a conversion of it has found."""
        if found := result.checksums:
            self._crc32, self._size = found.input, found.size
        if sha256 := result.provenance["source"].get("sha256"):
            self._digests["sha256"] = sha256

    def release(self, result: Result, **options: Any) -> Released | None:
        """The release that it is, if a hash proves one. It was converted; ``options`` say how it is read, as in
        `inspect`."""
        found = result.checksums
        sole = found is not None and found.files == 1
        digests = {os.path.basename(self.path()): self._digests} if sole else None
        network = result.info
        if may_be_put_back(result.layout):
            from converters.inspection.inspect import inspect

            network = inspect(self.path(), layout=result.layout, **options).network
        archive = found is None or found.archive
        return released(self.path(), result.layout, network, digests, archive=archive)

    def version(self) -> str:
        """The version that its store gives it now; empty for a local file."""
        if not is_remote(self.location):
            return ""
        with suppress(BadInput):  # the prefix of a TensorFlow checkpoint is not a file
            return remote_storage.version_of(self.location)
        return ""

    def same_as(self, recorded: Mapping[str, Any]) -> bool:
        """Whether its size and CRC-32 are those in a record of it."""
        return (self.crc32(), self._size) == (recorded["crc32"], recorded["size"])

    def as_data(self) -> dict[str, Any]:
        """What is recorded of it; its SHA-256 where it is known."""
        found = {"crc32": self.crc32(), "size": self._size, "version": self._version}
        return found | {kind: digest for kind, digest in self._digests.items() if kind == "sha256"}
