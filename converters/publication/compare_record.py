"""A file's record against the one that our own conversion of its source writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.inspection.facts import different_facts, network_facts
from converters.locations import name_of
from converters.printable import short_name
from converters.reports.model_card import source_names

from .checks import network_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.inspection.inspect import Inspection

_WRITTEN = ("layout", "dropped", "restore", "origin")
"""What the record of a file that was made directly from the source must have as ours has it, beside its notes."""

LABELS_FILE = "labels_file"
"""Where a record names the user's file of class names."""

_SHOWN = 3
"""Differences that a message names."""


def compare_records(
    staged: Inspection, claimed: Mapping[str, Any] | None, ours: Inspection, source: str
) -> tuple[str, ...]:
    """What was found equal, in words, and what the record alone says.

    ``staged`` is the file to be published, ``claimed`` the record of the file that the user has, ``ours`` what
    ``source`` was converted to. Raises `Refused` where network, preprocessing, licence or source differ, or what the
    conversion did. What a file without a record is taken to be must be the source's, too.
    """
    base = name_of(source)
    assert ours.provenance is not None
    given = _given(_input(staged))
    told, known = (_without(network_facts(network_of(each)), given) for each in (staged, ours))
    different = [
        f"{name} is {_words(told, name)}, should be {_words(known, name)}"
        for name in different_facts(told, known, recorded=claimed is not None)
    ]
    if claimed is not None:
        different += _of_source(claimed, ours.provenance, base)
    if different:
        raise Refused(
            f"its record or settings are not those that converting {base} gives",
            path=staged.path,
            where="; ".join(different[:_SHOWN]),
            hint="convert the source again, with --set for settings that no file shows",
        )
    lines = _found(claimed, base)
    if claimed is not None and "mean_file" in _input(staged):
        lines += ("the mean file is named according to the record alone; the source does not hold it",)
    if claimed is not None and LABELS_FILE in _input(staged):
        lines += (f"the classes' names are those of `{_input(staged)[LABELS_FILE]}`, on the record's word",)
    return lines


def _given(described: Mapping[str, Any]) -> set[str]:
    """The parts of a network's input that files of the user's gave, and that no source says."""
    labels = {"labels", "labels_notice", LABELS_FILE} if LABELS_FILE in described else set()
    return {"mean_file", *labels}


def _without(described: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name not in names}


def _found(claimed: Mapping[str, Any] | None, base: str) -> tuple[str, ...]:
    if claimed is None:
        return (f"it has no record; its settings and licence are those of `{base}`",)
    return (
        f"its record is that of a conversion of `{base}`: settings, preprocessing, licence, and the source's size and "
        "checksums",
    )


def _input(inspection: Inspection) -> Mapping[str, Any]:
    return inspection.network.input if inspection.network else {}


def _of_source(claimed: Mapping[str, Any], ours: Mapping[str, Any], base: str) -> Iterator[str]:
    """What differs in the source's description, and in what was done to it."""
    chain = [record for _, record in source_names(claimed)]
    source = ours["source"]
    if not any(_fits(record, source) for record in chain):
        name = short_name(chain[0]["name"]) if chain else "nothing"
        yield f"it was made from {name}, of another size, checksum or SHA-256 than {base}"
        return
    if not _fits(chain[0], source) or claimed["mapping"]["source"] != ours["mapping"]["source"]:
        return
    network = dict(claimed.get("network") or {})
    described = network.get("input", {})
    given = _given(described)
    network["input"] = {name: value for name, value in described.items() if name not in given}
    if network != {**ours["network"], "input": _without(ours["network"]["input"], given - {"mean_file"})}:
        yield "its record describes the network wrongly"
    for name in _WRITTEN:
        if claimed.get(name) != ours.get(name):
            yield f"its record of what the conversion did ({name}) is another"
    if network["input"] == described and claimed["notes"] != ours["notes"]:
        yield "its notes differ"


def _fits(record: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    """Whether a recorded source is the one at hand, by all that both descriptions have."""
    if record.get("size") != source["size"] or record.get("sha256", source["sha256"]) != source["sha256"]:
        return False
    recorded, found = record.get("crc32", {}), source.get("crc32", {})
    return isinstance(recorded, dict) and all(
        recorded[name] == value for name, value in found.items() if name in recorded
    )


def _words(facts: Mapping[str, Any], name: str) -> str:
    if name not in facts:
        return "missing"
    value = facts[name]
    return " ".join(map(short_name, value[:4])) if isinstance(value, list) else short_name(value)
