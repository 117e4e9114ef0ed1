"""A model card: Markdown with a YAML header, from a file, its provenance, and the table of releases."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.mapping.settings import setting_text
from converters.printable import shape_text

from .front_matter import front_matter
from .markdown import code, paragraph, prose, text
from .wording import RELEASED_ONLY, classes_text, human_size, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.inspection.inspect import Inspection
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.releases import Release


BY_NAME_ONLY = "by name only; contents not compared"
"""How a release is known whose contents nothing proves."""

SHOWN_LABELS = 5
"""Names of classes that a card shows."""

_LICENCES = frozenset(
    {
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "bsl-1.0",
    }
    | {
        "c-uda",
        "cc",
        "cc0-1.0",
        "isc",
        "mit",
        "mpl-2.0",
        "ms-pl",
        "ncsa",
        "other",
        "unknown",
        "unlicense",
        "zlib",
    }
    | {f"cc-by{more}-{version}" for more in ("", "-sa", "-nc", "-nc-sa") for version in ("2.0", "3.0", "4.0")}
    | {"cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0"}
    | {"gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "openrail", "pddl", "odbl", "wtfpl"}
)
"""The commonest of the names of licences that the Hub takes; it refuses a card with any other."""

_REPOSITORY = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@|/)")

MAX_CHAIN = 16
"""Conversions that are followed back: a record is not trusted to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card says of a published file beside its inspection.

    ``checks`` are lines on what was checked before publishing, ``stripped`` names what was left out,
    ``release_known_by`` says how it is known that the weights are those of ``release``, ``release_proved`` whether a
    whole hash proves it: only then are the release's licence and accuracies the file's own. ``licence`` is what the
    publisher says.
    """

    file: str
    sha256: str
    size: int
    release: Release | None
    checks: tuple[str, ...]
    stripped: tuple[str, ...]
    release_known_by: str = BY_NAME_ONLY
    release_proved: bool = False
    licence: str = ""


def model_card(inspection: Inspection, facts: CardFacts) -> str:
    """The card's text, the same for the same file. The network must be known."""
    network = inspection.network
    if network is None:
        raise ValueError("an unknown network has no card")
    body = [
        f"# {text(network.title)}, {classes_text(network)}",
        "",
        paragraph(
            f"{code(facts.file)} holds {text(network.title)} in the layout of {text(inspection.layout_title)} "
            f"({len(inspection.tensors)} tensors, {human_size(facts.size)})."
        ),
        "",
        *_table("Architecture", _architecture(inspection, network)),
        *_table("Preprocessing", _preprocessing(network.input)),
        *_table(_accuracy_title(facts), _accuracy(facts)),
        *_table("Source", _source(inspection, network, facts)),
        "## Checked before publishing",
        "",
        *(f"- {prose(line)}" for line in facts.checks),
        *(f"- left out: {text(name)}" for name in facts.stripped),
        *(f"- note: {prose(note)}" for note in (inspection.provenance or {}).get("notes", ())),
        "",
        *_table("Hashes", [("SHA-256", f"`{facts.sha256}`"), ("size", f"{facts.size:,} bytes")]),
        "## Use",
        "",
        "```python",
        "from converters import load_model",
        "",
        f"model = load_model({_literal(facts.file)})",
        "```",
    ]
    return f"{front_matter(_front(inspection, network, facts))}\n\n{printable_lines(body)}\n"


def _literal(name: str) -> str:
    """A text in Python, for a block of code: neither its end nor HTML."""
    quoted = json.dumps(name, ensure_ascii=False)
    return re.sub(r"[`<>&\[\]|]", lambda match: f"\\x{ord(match[0]):02x}", quoted)


def _front(inspection: Inspection, network: NetworkInfo, facts: CardFacts) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "pytorch",
        "pipeline_tag": "video-classification",
        "tags": ["action-recognition", network.variant, inspection.layout],
        "architecture": network.variant,
        "classes": network.classes,
        "parameters": inspection.parameters,
    }
    if licence := facts.licence or (facts.release.licence if facts.release and facts.release_proved else ""):
        front = {**_licence(licence), **front}
    if bases := _bases(inspection.provenance):
        front["base_model"] = bases
    if facts.release and facts.release_proved and facts.release.on:
        front["datasets"] = [facts.release.on.lower().replace(" ", "-")]
    if inspection.multiply_adds:
        front["gflops"] = round(inspection.multiply_adds / 1e9, 1)
    if network.input:
        front["preprocessing"] = dict(_described(network.input))
    if facts.release and facts.release.reported:
        front["accuracy"] = {
            "reported_by": facts.release.title,
            "for": facts.release.file,
            "dataset": facts.release.on,
            **facts.release.reported,
        }
    if facts.release:
        front["release"] = {
            "file": facts.release.file,
            "url": facts.release.url,
            "known": facts.release_known_by,
            "byte_for_byte": facts.release_proved,
        }
    front["source"] = [name for name, _ in source_names(inspection.provenance)]
    return front | {"file": facts.file, "size": facts.size, "sha256": facts.sha256}


def _licence(licence: str) -> dict[str, str]:
    """A licence as the Hub writes it: one of its own names, or another with a name."""
    name = licence.lower()
    return {"license": name} if name in _LICENCES else {"license": "other", "license_name": name}


def _bases(provenance: Any) -> list[str]:
    """The repositories on the Hub that a chain of conversions began with."""
    chain = [record.get("address") for _, record in source_names(provenance)]
    found = [match[1] for each in chain if isinstance(each, str) and (match := _REPOSITORY.match(each))]
    return list(dict.fromkeys(found))


def source_names(provenance: Any) -> list[tuple[str, Any]]:
    """The files that a chain of conversions came from, the last conversion's source first, each with its record."""
    names: list[tuple[str, Any]] = []
    source = (provenance or {}).get("source")
    while isinstance(source, dict) and isinstance(source.get("name"), str) and len(names) < MAX_CHAIN:
        names.append((source["name"], source))
        source = source.get("converted_from")
    return names


def _architecture(inspection: Inspection, network: NetworkInfo) -> Iterator[tuple[str, str]]:
    yield "network", f"{text(network.title)} ({code(network.variant)})"
    yield "parameters", f"{inspection.parameters / 1e6:.1f} M ({inspection.parameters:,})"
    if inspection.multiply_adds:
        clip = shape_text(network.input["clip"])
        yield "cost", f"{inspection.multiply_adds / 1e9:.1f} GFLOPs (multiply-adds) for a clip of {clip}"
    if labels := network.input.get("labels"):
        shown = ", ".join(map(str, labels[:SHOWN_LABELS]))
        more = f" and {len(labels) - SHOWN_LABELS} more" if len(labels) > SHOWN_LABELS else ""
        yield "classes", f"{text(shown)}{more}"
    for name, value in network.settings.items():
        yield code(name), text(setting_text(value))


def _preprocessing(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in _described(described):
        words = _BETWEEN.get(key, " ").join(map(str, value)) if isinstance(value, list) else str(value)
        yield text(key.replace("_", " ")), text(words + _UNITS.get(key, ""))


_BETWEEN = {"clip": "x", "range": " to "}
_UNITS = {"rate": " frames per second"}


def _described(described: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a card tells of the input: neither the labels, which are many, nor where the cost was counted."""
    for key, value in described.items():
        if not key.startswith(("label", "counted")) and _shallow(value):
            yield key, value


def _licence_rows(network: NetworkInfo, facts: CardFacts) -> Iterator[tuple[str, str]]:
    """What the publisher says, else the licence of the release that the weights are known to be; that of a release that
    they are only said to come from is no more than that."""
    if facts.licence:
        yield "licence", f"{text(facts.licence)}, as the publisher says"
    elif facts.release and facts.release_proved:
        if facts.release.licence:
            yield "licence", f"{text(facts.release.licence)}, of these weights"
    elif network.licence:
        yield "licence", f"{text(network.licence)}, {RELEASED_ONLY}"


def _accuracy_title(facts: CardFacts) -> str:
    whose = "of these weights" if facts.release_proved else "of the released file"
    return f"Accuracy {whose}, as reported by the authors"


def _accuracy(facts: CardFacts) -> Iterator[tuple[str, str]]:
    release = facts.release
    if release is None or not release.reported:
        return
    for name, value in release.reported.items():
        yield text(name), f"{value:g} % on {text(release.on)}"
    yield "reported by", f"{text(release.title)} for {code(release.file)}; not measured here"
    yield "known", text(facts.release_known_by)


def _source(inspection: Inspection, network: NetworkInfo, facts: CardFacts) -> Iterator[tuple[str, str]]:
    release = facts.release
    provenance = inspection.provenance
    for name, source in source_names(provenance):
        digest = f", SHA-256 {code(source['sha256'])}" if isinstance(source.get("sha256"), str) else ""
        size = f", {source['size']:,} bytes" if isinstance(source.get("size"), int) else ""
        container = f", {text(source['container'])}" if isinstance(source.get("container"), str) else ""
        yield "made from", f"{code(name)}{container}{size}{digest}"
    if release:
        known = f" ({text(facts.release_known_by)})"
        yield "released by", f"{text(release.title)}, <{release.url}>{known}"
        if release.converted:
            yield "converted from", text(release.converted) + known
    yield from _licence_rows(network, facts)
    if provenance:
        tool, mapping = provenance["tool"], provenance["mapping"]
        made_by = f"{text(tool['name'])} {text(tool['version'])}"
        yield "converted by", f"{made_by}, mapping {code(mapping['sha256'])}"


def _table(title: str, rows: Any) -> list[str]:
    """A heading and a table of two columns of Markdown; nothing without rows."""
    lines = [f"| {name} | {value} |" for name, value in rows]
    return [f"## {title}", "", "| | |", "| --- | --- |", *lines, ""] if lines else []


def _shallow(value: Any, levels: int = 3) -> bool:
    """Whether data of a record are nested as little as those that this tool writes."""
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list) or (levels > 0 and all(_shallow(item, levels - 1) for item in value))
