"""What the authors of released files say of them: the table ``releases.toml``, ours and those of further folders."""

from __future__ import annotations

import os
import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.hashes import SHORT, Hash, parse_hash
from converters.record import Record
from converters.spelling import did_you_mean

from . import table_files
from .parse import Fault, TableError, parse
from .table_files import layout_names, parse_toml, roots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IN_NAME = re.compile(rf"-([0-9a-f]{{{SHORT}}})\.[a-z]+")


class _Row(Record):
    """What a row of the table says of its file; see `Release`."""

    file: str
    network: str = ""
    classes: int = 0
    input: str = ""
    channels: int = 0
    pretrained: str = ""
    on: str = ""
    reported: Mapping[str, float] = MappingProxyType({})
    converted: str = ""
    why_not: str = ""
    suffix: str = ""


class Release(_Row):
    """A released file as its authors list it; what the list does not say is empty, 0 or None.

    ``reported`` has the accuracies, in per cent, measured by the authors on the data set ``on``. ``channels`` are
    those of its input. ``hashes`` are the whole hashes that are public, by the name of each file that the release
    consists of; ``suffix`` is that of the form they are of, where it is not the file's own. ``digits`` is the kind of
    hash whose beginning is in names. ``converted`` says whose file it was made from, if it was, and ``why_not`` what it
    holds that no table has.
    """

    zoo: str
    title: str
    url: str
    layout: str
    licence: str
    hashes: Mapping[str, Hash] = MappingProxyType({})
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


class _Zoo(Record):
    """A section of the table. ``url`` has columns of the rows in braces; ``pages`` are where the list was read."""

    title: str
    licence: str
    layout: str
    url: str
    files: tuple[Mapping[str, Any], ...]
    digits: str = "sha256"
    pages: tuple[str, ...] = ()


def releases() -> tuple[Release, ...]:
    """Every file of every zoo, in the zoos' order. Tables that are wrong are passed over: see `release_errors`."""
    return tuple(release for root in roots() for release in _read(root, roots())[0])


def release_errors() -> tuple[TableError, ...]:
    """What is wrong with the tables that `releases` passed over, a table's first fault; empty if it was not called."""
    read = roots() if _read.cache_info().currsize else ()
    return tuple(error for root in read if (error := _read(root, roots())[1]) is not None)


@cache
def _read(root: str, _roots: table_files.Roots) -> tuple[tuple[Release, ...], TableError | None]:
    """The releases in a folder of tables, or what is wrong with them, among the tables of all folders in use."""
    path = os.path.join(root, "releases.toml")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return (), None
    try:
        return tuple(_parsed(parse_toml(path, text), checked=root != table_files.ROOT)), None
    except Fault as fault:
        return (), fault.at(path, text.decode())
    except TableError as error:
        return (), error


def _parsed(table: Mapping[str, Any], *, checked: bool) -> Iterator[Release]:
    """The releases of a table. Raises `Fault` where one that is to be ``checked`` does not follow the grammar."""
    for name, zoo in table.items():
        section = parse(_Zoo, zoo, (name,)) if checked else None
        if section is not None and section.layout not in layout_names():
            near = did_you_mean(section.layout, layout_names())
            raise Fault((name, "layout"), f"there is no layout {section.layout!r}", near)
        for place, row in enumerate(zoo["files"]):
            if checked:
                columns = {key: value for key, value in row.items() if key in _Row.fields}
                parse(_Row, columns, (name, "files", place))
            try:
                yield _release(name, zoo, row)
            except (LookupError, ValueError, AttributeError, TypeError) as error:
                raise Fault((name, "files", place), f"is not a release: {error}") from None


def _release(name: str, zoo: Mapping[str, Any], row: Mapping[str, Any]) -> Release:
    attributes: dict[str, Any] = {key: value for key, value in row.items() if key in Release.fields}
    hashes = row.get("hash", {})
    if isinstance(hashes, str):
        hashes = {row["file"]: hashes}
    return Release(
        zoo=name,
        title=zoo["title"],
        url=zoo["url"].format_map(row),
        layout=zoo["layout"],
        licence=zoo["licence"],
        digits=zoo.get("digits", "sha256"),
        hashes={name: parse_hash(text) for name, text in hashes.items()},
        **attributes,
    )


def release_of(names: list[str], network: str, classes: int) -> Release | None:
    """The release that one of ``names`` is, the first that is any, if it holds that network."""
    known = {release.file: release for release in reversed(releases())}  # ours before others'
    for name in names:
        release = known.get(name)
        if release and release.holds(network, classes):
            return release
    return None
