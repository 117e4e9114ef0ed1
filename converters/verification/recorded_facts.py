"""Compare what an output's record says with the source, and name what only the record says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.plan import NOTHING
from converters.conversion.provenance import (
    EPS_ERROR,
    describe_origin,
    describe_source,
    info_after_undo,
    undo_operations,
)
from converters.mapping.network_info import with_clips_of
from converters.mapping.variants import BN_EPS
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified

_PREPROCESSING = ("order", "range", "mean", "std", "mean_cube")
"""What a source says of a clip's values."""

_OF_USERS_FILES = frozenset(("labels", "labels_notice", "labels_file", "mean_file"))
"""What a record has of files of the user's, and labels, which are compared by class."""

_OF_TENSORS = ("family", "variant", "title", "classes", "channels", "sizes", "parts")
"""What the output's own tensors show of its network."""

_OF_SOURCE = ("layout", "format", "container", "scope")
"""What a record says of the form of the file that it was made from."""


def record_faults(source: Identified, output: Identified) -> Iterator[str]:
    """In words, what the output's record says that contradicts the source or the output's own tensors; nothing for a
    file without a record, and of one that was made by a mapping file only what it says of the classes."""
    record = output.checkpoint.provenance
    if not record:
        return
    yield from _preprocessing_faults(source, output)
    if "network" in record:
        yield from _settings_faults(source, output)
        yield from _network_faults(source, output)
    elif record["layout"]:
        yield "nothing of the network"
    yield from _label_faults(source, output)
    if record["layout"]:
        yield from _mapping_faults(source, output)


def unproved_claims(source: Identified, output: Identified) -> Iterator[str]:
    """In words, what the output's record says that this source neither proves nor contradicts."""
    record = output.checkpoint.provenance
    if record and record["layout"] and not any(_names(source, made_from) for made_from in _chain(record)):
        yield (
            f"the record says that it was made from {short_name(record['source']['name'])}, which is another file than "
            "the source: what it says of that file is not proved"
        )


def _recorded(output: Identified) -> Mapping[str, Any]:
    """What a record says of the network, nothing where it does not."""
    return (output.checkpoint.provenance or {}).get("network") or {}


def _preprocessing_faults(source: Identified, output: Identified) -> Iterator[str]:
    network = _recorded(output)
    if not network:
        return
    recorded, expected = network["input"], source.info.input
    own = with_clips_of(source.info, output.match.layout, source.match).input
    names = (
        *_PREPROCESSING,
        *sorted((recorded.keys() | expected.keys()) - {*_PREPROCESSING} - _OF_USERS_FILES),
    )
    for name in names:
        if name in _PREPROCESSING and name not in expected:
            continue
        if recorded.get(name) not in (expected.get(name), own.get(name)):
            found = _value_text(recorded[name]) if name in recorded else "missing"
            wanted = _value_text(expected[name]) if name in expected else "none"
            yield f"{name} {found} instead of {wanted}"


def _network_faults(source: Identified, output: Identified) -> Iterator[str]:
    """What the record says of the network that the output's tensors, its layout or the source's licence contradict."""
    network, shown = _recorded(output), output.info.as_data()
    wanted = {name: shown[name] for name in _OF_TENSORS} | {"licence": source.info.licence}
    for name, value in wanted.items():
        if network.get(name) != value:
            found = _value_text(network[name]) if name in network else "missing"
            yield f"{name} {found} instead of {_value_text(value)}"
    for name, value in output.info.settings.items():
        if name not in network["settings"]:
            yield f"{name} missing instead of {_value_text(value)}"
        elif not _same_setting(name, network["settings"][name], value):
            yield f"{name} {_value_text(network['settings'][name])}, where its layout has {_value_text(value)}"


def _mapping_faults(source: Identified, output: Identified) -> Iterator[str]:
    """What the record says of the conversion that the two files contradict."""
    record = output.checkpoint.provenance or {}
    layout, mapping = output.match.layout.name, record["mapping"]
    names = {"layout": (record["layout"], layout), "mapping's target": (mapping["target"], layout)}
    names["mapping's network"] = (mapping["network"], output.match.variant.family)
    for name, (found, wanted) in names.items():
        if found != wanted:
            yield f"{name} {short_name(found)} instead of {wanted}"
    chain = [*_chain(record)]
    if _names(source, chain[0]):
        described = describe_source(source.checkpoint, source.match, sha256=False)
        for name in _OF_SOURCE:
            if chain[0].get(name) != described[name]:
                found = _value_text(chain[0].get(name, "missing"))
                yield f"source's {name} {found} instead of {described[name]}"
        if mapping["source"] != source.match.layout.name:
            yield f"mapping's source {short_name(mapping['source'])} instead of {source.match.layout.name}"
    if _names(source, chain[0]) or _names(source, chain[-1]):
        yield from _origin_faults(source, record)


def _origin_faults(source: Identified, record: Mapping[str, Any]) -> Iterator[str]:
    """What the record says of the first file of its chain, of which the source is the first or has the same record."""
    tensors, provenance = source.checkpoint.tensors, source.checkpoint.provenance
    eps = info_after_undo(source.info, provenance, undo_operations(provenance, tensors)).bn_eps
    expected = describe_origin(source.match, tensors, NOTHING, eps, source.checkpoint.details, provenance)
    recorded = record.get("origin")
    if recorded is None:
        yield "no origin"
        return
    for name in sorted((expected.keys() | recorded.keys()) - {"lossy"}):
        if recorded.get(name) != expected.get(name):
            yield f"an origin that does not match the source: {short_name(name)}"


def _chain(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The files that an output was made from, its own source first."""
    made_from = record["source"]
    while isinstance(made_from, dict):
        yield made_from
        made_from = made_from.get("converted_from")


def _names(source: Identified, made_from: Mapping[str, Any]) -> bool:
    """Whether a recorded file is the source, by its size and checksums."""
    found = describe_source(source.checkpoint, source.match, sha256=False)
    recorded = made_from.get("crc32") or {}
    return made_from.get("size") == found["size"] and all(
        isinstance(recorded, dict) and recorded.get(name, crc) == crc
        for name, crc in (found.get("crc32") or {}).items()
    )


def _label_faults(source: Identified, output: Identified) -> Iterator[str]:
    network, expected = _recorded(output), source.info.input
    recorded = network.get("input", {})
    if "labels_file" in recorded:  # the user's, of which the source says nothing
        if len(recorded.get("labels", ())) != output.info.classes:
            yield f"{len(recorded.get('labels', ()))} labels for {output.info.classes} classes"
        return
    if network and output.info.classes and len(recorded.get("labels", ())) != len(expected.get("labels", ())):
        yield f"{len(recorded.get('labels', ()))} labels instead of {len(expected.get('labels', ()))}"
    labels = zip(recorded.get("labels", ()), expected.get("labels", ()), strict=False)
    if wrong := [number for number, (label, other) in enumerate(labels) if label != other]:
        yield f"{len(wrong)} wrong labels, the first of class {wrong[0]}"


def _settings_faults(source: Identified, output: Identified) -> Iterator[str]:
    """Which settings of the output's network, as its record says them or leaves them out, are not the source's once the
    conversions that the records tell of are undone."""
    found, wanted = _settings_before(output), _settings_before(source)
    for name, expected in wanted.items():
        value = found.get(name, expected)
        if not _same_setting(name, value, expected):
            yield f"{name} {_value_text(value)} instead of {_value_text(expected)}"


def _settings_before(side: Identified) -> Mapping[str, Any]:
    """The settings of the file that a side was first converted from."""
    record = side.checkpoint.provenance
    undo = undo_operations(record, side.checkpoint.tensors)
    return info_after_undo(side.info, record, undo).settings


def _same_setting(name: str, value: Any, expected: Any) -> bool:
    return abs(value - expected) <= EPS_ERROR if name == BN_EPS else bool(value == expected)


def _value_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_value_text, (item for item in value[:4] if not isinstance(item, (list, tuple)))))
    return f"{value:g}" if isinstance(value, float) else short_name(value)
