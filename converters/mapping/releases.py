"""What the authors of released files say of them: the table ``mappings/releases.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.hashes import SHORT, Hash, parse_hash
from converters.record import Record

from .table_files import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_NAME = re.compile(rf"-([0-9a-f]{{{SHORT}}})\.[a-z]+")


class Release(Record):
    """A released file as its authors list it; what the list does not say is empty, 0 or None.

    ``reported`` has the accuracies, in per cent, measured by the authors on the data set ``on``. ``channels`` are
    those of its input. ``hashes`` are the whole hashes that are public, by the name of each file that the release
    consists of; ``suffix`` is that of the form they are of, where it is not the file's own. ``digits`` is the kind of
    hash whose beginning is in names. ``converted`` says whose file it was made from, if it was, and ``why_not`` what it
    holds that no table has.
    """

    zoo: str
    title: str
    file: str
    url: str
    layout: str
    licence: str
    network: str = ""
    classes: int = 0
    input: str = ""
    channels: int = 0
    pretrained: str = ""
    on: str = ""
    reported: Mapping[str, float] = MappingProxyType({})
    converted: str = ""
    why_not: str = ""
    hashes: Mapping[str, Hash] = MappingProxyType({})
    suffix: str = ""
    digits: str = "sha256"

    @property
    def digest(self) -> Hash | None:
        """The hash whose first 8 hexadecimal digits are in the name; None where a whole one is public."""
        match = None if self.hashes else _IN_NAME.search(self.file)
        return Hash(self.digits, match[1]) if match else None

    @property
    def segments(self) -> int:
        """The frames that its network takes of a video, spread over it; 0 where its list does not say so."""
        match = re.fullmatch(r"(\d+)seg", self.input)
        return int(match[1]) if match else 0

    def holds(self, network: str, classes: int) -> bool:
        """Whether its list says that it holds this network, or does not say what it holds."""
        return self.network in ("", network) and self.classes in (0, classes)


def releases() -> tuple[Release, ...]:
    """Every file of every zoo, in the zoos' order."""
    return _releases(ROOT)


@cache
def _releases(root: str) -> tuple[Release, ...]:
    with open(os.path.join(root, "releases.toml"), "rb") as file:
        table = tomllib.load(file)
    listed = []
    for name, zoo in table.items():
        for row in zoo["files"]:
            attributes: dict[str, Any] = {key: value for key, value in row.items() if key in Release.fields}
            hashes = row.get("hash", {})
            if isinstance(hashes, str):
                hashes = {row["file"]: hashes}
            listed.append(
                Release(
                    zoo=name,
                    title=zoo["title"],
                    url=zoo["url"].format_map(row),
                    layout=zoo["layout"],
                    licence=zoo["licence"],
                    digits=zoo.get("digits", "sha256"),
                    hashes={name: parse_hash(text) for name, text in hashes.items()},
                    **attributes,
                )
            )
    return tuple(listed)


def release_of(names: list[str], network: str, classes: int) -> Release | None:
    """The release that one of ``names`` is, the first that is any, if it holds that network."""
    known = {release.file: release for release in releases()}
    for name in names:
        release = known.get(name)
        if release and release.holds(network, classes):
            return release
    return None
