"""Which release a file is, and how that is known: by the contents of a file that was read, or by a name alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from converters.checksums import sha256_of
from converters.mapping.releases import release_of
from converters.reports.model_card import BY_NAME_ONLY, source_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.inspect import Inspection
    from converters.mapping.releases import Release

_DIGEST = re.compile(r"[-_.]([0-9a-f]{8,16}|[0-9a-f]{64})(?=\.|$)", re.IGNORECASE)
"""The beginning of a SHA-256 in a name, as OpenMMLab and PyTorch's hub write it, or all of it."""


class Evidence(NamedTuple):
    """``release`` is None where there is none, ``known_by`` says how it is known, ``notes`` say which digest in a name
    is not its file's."""

    release: Release | None
    known_by: str
    notes: tuple[str, ...]


def release_evidence(path: str, source: str | None, inspection: Inspection) -> Evidence:
    """The release that a chain of conversions began with, of all files that ``path``, its record and ``source`` name.

    Only files that are here prove anything: a hash in a record is a claim. A release whose digest is not that of the
    file of its name is none.
    """
    seen = _hashes([path, *([source] if source else [])])
    chain = source_names(inspection.provenance)
    claimed = [(name, str(record.get("sha256", ""))) for name, record in reversed(chain)]
    names = [name for name, _ in claimed] + [name for name, _ in reversed(seen)]
    network = inspection.network
    assert network is not None
    release = release_of(names, network.variant, network.classes)
    notes = tuple(dict.fromkeys([*_misfits(seen, "its"), *_misfits(claimed, "the recorded")]))
    if release is None or not release.digest:
        return Evidence(release, BY_NAME_ONLY, notes)
    contents = [digest for name, digest in seen if name == release.file]
    if any(digest.startswith(release.digest) for digest in contents):
        return Evidence(release, f"by its contents: their SHA-256 begins with {release.digest}", notes)
    recorded = [digest for name, digest in claimed if name == release.file and digest]
    if contents or any(not digest.startswith(release.digest) for digest in recorded):
        return Evidence(
            None, "", (*notes, f"so nothing is said of the release `{release.file}` of {release.title}")
        )
    return Evidence(release, BY_NAME_ONLY, notes)


def _hashes(paths: list[str]) -> list[tuple[str, str]]:
    """Names and SHA-256 of those paths that are files."""
    return [(os.path.basename(path), sha256_of(path)) for path in paths if os.path.isfile(path)]


def _misfits(files: list[tuple[str, str]], whose: str) -> Iterator[str]:
    """What to say of names with a digest that is not their files'. Decimal digits are more likely a date."""
    for name, digest in files:
        told = [match.lower() for match in _DIGEST.findall(name) if not match.isdecimal()]
        if digest and told and not any(digest.startswith(one) for one in told):
            yield (
                f"the name `{name}` has the digest {told[-1]}, but {whose} SHA-256 begins with "
                f"{digest[: len(told[-1])]}"
            )
