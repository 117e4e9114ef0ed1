"""A model card: Markdown with YAML in front, from what a file, its provenance and the zoo's table say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.mapping.settings import setting_text
from converters.printable import printable

from .terminal import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.inspect import Inspection
    from converters.mapping.releases import Release


class CardFacts(NamedTuple):
    """What a card tells of a published file beside the inspection.

    ``checks`` are lines on what was verified before it was published, ``stripped`` what was left out.
    """

    file: str
    sha256: str
    size: int
    release: Release | None
    checks: tuple[str, ...]
    stripped: tuple[str, ...]


def model_card(found: Inspection, card: CardFacts) -> str:
    """The card's text, the same for the same file. ``found`` must be of a known network."""
    network = found.network
    if network is None:
        raise ValueError("an unknown network has no card")
    front = ["---", *_yaml(_front(found, card)), "---"]
    body = [f"# {network.title}, {f'{network.classes} classes' if network.classes else 'no head'}", ""]
    body += [
        f"`{card.file}` holds {network.title} in the layout of {found.layout_title} "
        f"({len(found.tensors)} tensors, {megabytes(card.size)}).",
        "",
        *_table("Architecture", _architecture(found)),
        *_table("Preprocessing", _preprocessing(network.input)),
        *_table("Accuracy, as its authors report it", _accuracy(card.release)),
        *_table("Source", _source(found, card)),
        "## Verified before publishing",
        "",
        *(f"- {line}" for line in card.checks),
        *(f"- left out: {line}" for line in card.stripped),
        *(f"- note: {note}" for note in (found.provenance or {}).get("notes", ())),
        "",
        *_table("Hashes", [("SHA-256", f"`{card.sha256}`"), ("size", f"{card.size:,} bytes")]),
        "## Use",
        "",
        "```python",
        "from converters import load_model",
        "",
        f"model = load_model({json.dumps(card.file)})",
        "```",
    ]
    return "\n".join(printable(line) for line in (*front, "", *body)) + "\n"


def _front(found: Inspection, card: CardFacts) -> dict[str, Any]:
    network = found.network
    assert network is not None
    front: dict[str, Any] = {
        "license": network.licence.lower() or "unknown",
        "library_name": "pytorch",
        "pipeline_tag": "video-classification",
        "tags": ["action-recognition", network.variant, found.layout],
        "architecture": network.variant,
        "classes": network.classes,
        "parameters": found.parameters,
    }
    if found.multiply_adds:
        front["gflops"] = round(found.multiply_adds / 1e9, 1)
    if network.input:
        front["preprocessing"] = {
            key: value for key, value in network.input.items() if not key.startswith(("label", "counted"))
        }
    if card.release and card.release.reported:
        front["accuracy"] = {
            "reported_by": card.release.title,
            "for": card.release.file,
            "dataset": card.release.on,
            **card.release.reported,
        }
    front["source"] = [name for name, _ in source_names(found.provenance)]
    front |= {"file": card.file, "size": card.size, "sha256": card.sha256}
    return front


def source_names(provenance: Any) -> list[tuple[str, Any]]:
    """The files that a chain of conversions came from, the first one last, each with what is known of it."""
    found: list[tuple[str, Any]] = []
    source = (provenance or {}).get("source")
    while isinstance(source, dict) and isinstance(source.get("name"), str) and len(found) < 16:
        found.append((source["name"], source))
        source = source.get("converted_from")
    return found


def _architecture(found: Inspection) -> Iterator[tuple[str, str]]:
    network = found.network
    assert network is not None
    yield "network", f"{network.title} (`{network.variant}`)"
    yield "parameters", f"{found.parameters / 1e6:.1f} M ({found.parameters:,})"
    if found.multiply_adds:
        clip = "x".join(map(str, network.input["clip"]))
        yield "cost", f"{found.multiply_adds / 1e9:.1f} GFLOPs (multiply-adds) for a clip of {clip}"
    for name, value in network.settings.items():
        yield name, setting_text(value)


def _preprocessing(told: Any) -> Iterator[tuple[str, str]]:
    for key, value in told.items():
        if not key.startswith(("label", "counted")):
            yield (
                key.replace("_", " "),
                " ".join(map(str, value)) if isinstance(value, list) else str(value),
            )


def _accuracy(release: Release | None) -> Iterator[tuple[str, str]]:
    if release is None or not release.reported:
        return
    for name, value in release.reported.items():
        yield name, f"{value:g} % on {release.on}"
    yield "reported by", f"{release.title} for `{release.file}`; not measured here"


def _source(found: Inspection, card: CardFacts) -> Iterator[tuple[str, str]]:
    for name, source in source_names(found.provenance):
        digest = f", SHA-256 `{source['sha256']}`" if isinstance(source.get("sha256"), str) else ""
        size = f", {source['size']:,} bytes" if isinstance(source.get("size"), int) else ""
        container = f", {source['container']}" if isinstance(source.get("container"), str) else ""
        yield "made from", f"{_code(name)}{container}{size}{digest}"
    if card.release:
        yield "released by", f"{card.release.title}, {card.release.url}"
        if card.release.converted:
            yield "converted from", card.release.converted
    network = found.network
    assert network is not None
    if network.licence:
        yield "licence", f"{network.licence}, of the released weights"
    if found.provenance:
        tool, mapping = found.provenance["tool"], found.provenance["mapping"]
        yield "converted by", f"{tool['name']} {tool['version']}, mapping `{mapping['sha256']}`"


def _code(name: str) -> str:
    return f"`{name.replace('`', chr(39))}`"


def _table(title: str, rows: Any) -> list[str]:
    """A heading and a table of two columns; nothing where there are no rows. Texts are from files: no markup."""
    lines = [f"| {name} | {text.replace('|', chr(92) + '|').replace('<', '&lt;')} |" for name, text in rows]
    return [f"## {title}", "", "| | |", "| --- | --- |", *lines, ""] if lines else []


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Plain data as YAML in block style. JSON's numbers are YAML's; of its texts the escapes are not all."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{indent}{key}:"
            yield from _yaml(item, indent + "  ")
        elif isinstance(item, (list, tuple)):
            yield f"{indent}{key}: [{', '.join(map(_scalar, item))}]"
        else:
            yield f"{indent}{key}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    plain = (c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
    return f'"{"".join(plain)}"'
