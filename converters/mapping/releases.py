"""What the authors of released files say of them: the table ``mappings/releases.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.record import Record

from .table_files import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

_HASH = re.compile(r"-([0-9a-f]{8})\.[a-z]+")


class Release(Record):
    """A released file as its authors list it; what the list does not say is empty, 0 or None.

    ``reported`` has the accuracies, in per cent, measured by the authors on the data set ``on``. ``digest`` is the
    beginning of the file's SHA-256 where the name has it. ``converted`` says whose file it was made from, if
    it was.
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
    pretrained: str = ""
    on: str = ""
    reported: Mapping[str, float] = MappingProxyType({})
    converted: str = ""

    @property
    def digest(self) -> str:
        """The first 8 hexadecimal digits of the SHA-256 that are in the name, else nothing."""
        match = _HASH.search(self.file)
        return match[1] if match else ""


def releases() -> list[Release]:
    """Every file of every zoo, in the zoos' order."""
    with open(os.path.join(ROOT, "releases.toml"), "rb") as file:
        table = tomllib.load(file)
    listed = []
    for name, zoo in table.items():
        for row in zoo["files"]:
            attributes: dict[str, Any] = {key: value for key, value in row.items() if key in Release.fields}
            listed.append(
                Release(
                    zoo=name,
                    title=zoo["title"],
                    url=zoo["url"].format_map(row),
                    layout=zoo["layout"],
                    licence=zoo["licence"],
                    **attributes,
                )
            )
    return listed


def release_of(names: list[str], network: str, classes: int) -> Release | None:
    """The release that one of ``names`` is, the first that is any, if it holds that network."""
    known = {release.file: release for release in releases()}
    for name in names:
        release = known.get(name)
        if release and release.network in ("", network) and release.classes in (0, classes):
            return release
    return None
