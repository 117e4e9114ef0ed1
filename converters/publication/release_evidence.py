"""Which release a file is, and how that is known: by the contents of a file that was read, or by a name alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from converters.checksums import sha256_of
from converters.hashes import TITLES
from converters.inspection.inspect import inspect
from converters.inspection.released import BYTES, released
from converters.mapping.releases import release_of
from converters.reports.model_card import BY_NAME_ONLY, source_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.inspect import Inspection
    from converters.inspection.released import Released
    from converters.mapping.releases import Release

_DIGEST = re.compile(r"[-_.]([0-9a-f]{8,16}|[0-9a-f]{64})(?=\.|$)", re.IGNORECASE)
"""The beginning of a SHA-256 in a name, as OpenMMLab and PyTorch's hub write it, or all of it."""

_NUMBER = re.compile(r"f?\d+", re.IGNORECASE)
"""What looks like a digest and is more likely a date, or, after an ``f``, the number of a training run, as in VMZ's
names."""


class Evidence(NamedTuple):
    """``release`` is None where there is none, ``known_by`` says how it is known, ``proved`` whether a whole hash
    proves it, ``notes`` say which digest in a name is not its file's."""

    release: Release | None
    known_by: str
    notes: tuple[str, ...]
    proved: bool = False


def release_evidence(path: str, source: str | None, inspection: Inspection) -> Evidence:
    """The release that a chain of conversions began with, of all files that ``path``, its record and ``source`` name.

    Only contents that are here prove anything: those of ``source``, whose conversion ``inspection`` is known to be, or
    the tensors of ``inspection``, the file to be published. A hash in a record is a claim. A release whose hash is not
    that of the file of its name does not count.
    """
    seen = _hashes([path, *([source] if source else [])])
    claimed = _claimed(inspection)
    notes = tuple(dict.fromkeys([*_misfits(seen, "its"), *_misfits(claimed, "the recorded")]))
    found = [_released(inspect(file)) for file in ([source] if source else [])]
    found.append(_released(inspection))
    if path != inspection.path and not any(known and known.whole for known in found):
        found.append(_released(inspect(path)))
    best = sorted((known for known in found if known), key=lambda known: not known.whole)
    if best:
        return Evidence(best[0].release, _words(best[0]), notes, proved=best[0].whole)
    return _by_name(seen, claimed, inspection, notes)


def _released(inspection: Inspection) -> Released | None:
    return released(inspection.path, inspection.layout, inspection.network)


def _words(known: Released) -> str:
    if (beginning := known.release.digest) and not known.whole:
        return (
            f"by its contents: their {TITLES[beginning.kind]} begins with {beginning.digits} and fits the eight digits "
            "in the release's name"
        )
    if known.by == BYTES:
        return "by its whole hash: the weights are the release's, byte for byte"
    return "by its whole hash: the tensors, put back into the release's form, are the release, byte for byte"


def _claimed(inspection: Inspection) -> list[tuple[str, str]]:
    """Names and SHA-256 of the files in a record, from the first on."""
    chain = source_names(inspection.provenance)
    return [(name, str(record.get("sha256", ""))) for name, record in reversed(chain)]


def _by_name(
    seen: list[tuple[str, str]],
    claimed: list[tuple[str, str]],
    inspection: Inspection,
    notes: tuple[str, ...],
) -> Evidence:
    """The release of a name; none where a hash of the release is known and is another."""
    names = [name for name, _ in claimed] + [name for name, _ in reversed(seen)]
    network = inspection.network
    assert network is not None
    release = release_of(names, network.variant, network.classes)
    if release is None:
        return Evidence(None, "", notes)
    if (
        release.hashes
    ):  # then what is here was compared with them, put back into the release's form if need be
        said = f"the contents are not those of the release `{release.file}` of {release.title}: its whole hash is"
        return Evidence(None, "", (*notes, f"{said} public, and they do not fit it"))
    known = [release.digest] if release.digest else []
    digests = [{"sha256": digest} for name, digest in claimed if name == release.file and digest]
    here = any(name == release.file for name, _ in seen)  # then its contents were compared, and are another's
    kinds = {one.kind for one in known}
    if known and (here or (kinds == {"sha256"} and not all(known[0].fits(digest) for digest in digests))):
        return Evidence(
            None, "", (*notes, f"so nothing is said of the release `{release.file}` of {release.title}")
        )
    return Evidence(release, BY_NAME_ONLY, notes)


def _hashes(paths: list[str]) -> list[tuple[str, str]]:
    """Names and SHA-256 of those paths that are files."""
    return [(os.path.basename(path), sha256_of(path)) for path in paths if os.path.isfile(path)]


def _misfits(files: list[tuple[str, str]], whose: str) -> Iterator[str]:
    """What to say of names with a digest that is not their files'."""
    for name, digest in files:
        told = [match.lower() for match in _DIGEST.findall(name) if not _NUMBER.fullmatch(match)]
        if digest and told and not any(digest.startswith(one) for one in told):
            yield (
                f"the name `{name}` has the digest {told[-1]}, but {whose} SHA-256 begins with "
                f"{digest[: len(told[-1])]}"
            )
