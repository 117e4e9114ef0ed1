"""Which published release a file is, by hashes of its contents alone: neither its name nor its record counts."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.convert import convert
from converters.conversion.identify import declared_settings
from converters.conversion.provenance import is_true_eps
from converters.conversion.recognize import recognize
from converters.errors import ConverterError
from converters.formats.open import open_checkpoint
from converters.formats.registry import usual_suffix
from converters.hashes import digests_of
from converters.mapping import releases as table
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.network_info import network_info

from .facts import different_facts, network_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.releases import Release

BYTES, TENSORS, DIGITS = "bytes", "tensors", "digits"
"""By what a release is known: the whole hash of the file; the whole hash of the file that its tensors give in the
release's form; or the digits in the release's name, which prove little."""

_PUT_BACK = ("pytorch",)
"""Formats of layouts whose files may be a release in another form."""


class Released(NamedTuple):
    """The release that a file is; ``by`` is `BYTES`, `TENSORS` or `DIGITS`."""

    release: Release
    by: str

    @property
    def whole(self) -> bool:
        """Whether a whole hash proves it: only then are the release's licence and accuracies the file's own."""
        return self.by != DIGITS

    @property
    def words(self) -> str:
        """What to say of the file."""
        what = f"{self.release.title}'s released {self.release.file}"
        if self.by == BYTES:
            return f"this is {what}, byte for byte"
        if self.by == TENSORS:
            return f"its tensors, put back into the release's form, are {what}, byte for byte"
        return f"fits the eight digits in the release's name, {self.release.file} of {self.release.title}"

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        release = self.release
        found: dict[str, Any] = {
            "title": release.title,
            "file": release.file,
            "url": release.url,
            "by": self.by,
            "words": self.words,
        }
        if self.whole:
            found |= {"licence": release.licence, "on": release.on, "reported": dict(release.reported)}
        return found


def released(
    path: str,
    layout: str,
    network: NetworkInfo | None,
    digests: Mapping[str, Mapping[str, str]] | None = None,
    *,
    archive: bool = True,
) -> Released | None:
    """The release that a file is, None if none is known by a hash.

    ``layout`` and ``network`` are what was recognised in it, "" and None if nothing was. ``digests`` are those of its
    files by name and kind (`file_digests`). The files are read if a kind is missing by which a release in the layout's
    format is known. ``archive`` is False if the input is known not to be a file inside another.

    Where they are not a release's, a PyTorch file of a network that was released is converted to the release's form,
    in a temporary folder. That counts only if the file is, bit for bit, what the result converts to: what its record
    says could make any tensors the release's.
    """
    held = [
        release
        for release in table.releases()
        if network is None or release.holds(network.variant, network.classes)
    ]
    alike = [release for release in held if _may_be(release, layout)]
    found = _by_bytes(path, alike, network, digests, archive=archive)
    if found is not None:
        return found
    if network is None or not may_be_put_back(layout):
        return None
    file = _File(path, layout, network)
    return _by_tensors(file, [release for release in held if release.hashes])


def may_be_put_back(layout: str) -> bool:
    """Whether a file of a layout may be a release in another form."""
    return load_layout(layout).format in _PUT_BACK


def kinds_of(held: Iterable[Release]) -> set[str]:
    """The kinds of hashes that must be known of a file to tell these releases."""
    known = [one for release in held for one in (*release.hashes.values(), release.digest) if one]
    return {one.kind for one in known}


def file_digests(path: str, kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    """The digests of each file of a checkpoint, by its name and by kind."""
    with open_checkpoint(path) as checkpoint:
        return {os.path.basename(file.path): digests_of([file], kinds) for file in checkpoint.files}


def _may_be(release: Release, layout: str) -> bool:
    """Whether a file of a layout, "" if it is not known, may have the bytes of a release: the formats are the same."""
    return not layout or load_layout(release.layout).format == load_layout(layout).format


def _by_bytes(
    path: str,
    held: list[Release],
    network: NetworkInfo | None,
    digests: Mapping[str, Mapping[str, str]] | None,
    *,
    archive: bool,
) -> Released | None:
    """The release whose bytes a file, or the one inside it, has."""
    kinds = kinds_of(held)
    if not kinds:
        return None
    if digests is None or not all(kinds <= each.keys() for each in digests.values()):
        digests = file_digests(path, kinds)
    found = _by_digests(held, network, list(digests.values()))
    return found or (_by_inside(path, held, network) if archive else None)


def _by_digests(
    held: Iterable[Release], network: NetworkInfo | None, files: Sequence[Mapping[str, str]]
) -> Released | None:
    """The release that files with these digests are."""
    held = list(held)
    for release in held:
        if release.hashes and _fit(release, files):
            return Released(release, BYTES)
    sole = files[0] if len(files) == 1 else {}
    for release in held:
        if network is not None and release.digest and release.digest.fits(sole):
            return Released(release, DIGITS)
    return None


def _by_inside(path: str, held: list[Release], network: NetworkInfo | None) -> Released | None:
    """The release that the file inside an archive is."""
    with open_checkpoint(path) as checkpoint:
        inside = checkpoint.inside
        return _by_digests(held, network, [digests_of([inside], kinds_of(held))]) if inside else None


def _fit(release: Release, files: Sequence[Mapping[str, str]]) -> bool:
    """Whether these files are those of a release, whatever they are called."""
    hashes = release.hashes.values()
    return len(hashes) == len(files) and all(
        known.whole and any(known.fits(digests) for digests in files) for known in hashes
    )


class _File(NamedTuple):
    """A PyTorch file of a known network."""

    path: str
    layout: str
    network: NetworkInfo


def _by_tensors(file: _File, held: Iterable[Release]) -> Released | None:
    """The release that a file's tensors are once they are in its form."""

    from tempfile import TemporaryDirectory

    def form(release: Release) -> tuple[str, str]:
        return release.layout, release.suffix

    for (layout, suffix), alike in groupby(sorted(held, key=form), key=form):
        # A file that cannot be converted to it is not the release. Nor is one that is refused on the way.
        with TemporaryDirectory() as folder, suppress(ConverterError):
            back = os.path.join(folder, f"back{suffix or usual_suffix(load_layout(layout).format)}")
            convert(file.path, back, source=file.layout, to=layout)
            candidates = list(alike)
            files = list(file_digests(back, kinds_of(candidates)).values())
            release = next((release for release in candidates if _fit(release, files)), None)
            if release and _is_what_converts(file, back, layout, folder):
                return Released(release, TENSORS)
    return None


def _is_what_converts(file: _File, back: str, layout: str, folder: str) -> bool:
    """Whether a file is what a release converts to: its tensors, bit for bit, and what it says of the network."""
    from .diff import diff

    again = os.path.join(folder, f"again{usual_suffix(load_layout(file.layout).format)}")
    convert(back, again, source=layout, to=file.layout)
    compared = diff(file.path, again, layout_a=file.layout, layout_b=file.layout)
    same = all(row.kind == "equal" or row.name.endswith(BATCHES) for row in compared.rows)
    with open_checkpoint(file.path) as checkpoint:
        recorded = checkpoint.provenance is not None
        same = same and is_true_eps(checkpoint.provenance)
        same = same and not recognize(checkpoint, file.layout, ask=False).stray_counters(checkpoint.tensors)
    with open_checkpoint(again) as checkpoint:
        match = recognize(checkpoint, file.layout)
        known = network_info(match, checkpoint.provenance, declared=declared_settings(checkpoint))
    return same and not different_facts(network_facts(file.network), network_facts(known), recorded=recorded)
