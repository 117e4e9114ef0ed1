"""Choose the layout of an output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.mapping.layout_tables import known_layout, load_layout, readable_layouts
from converters.mapping.names import families
from converters.mapping.table_files import layout_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.match import Match
    from converters.mapping.schema import LayoutTable


def choose_target(match: Match, to: str | None, provenance: Mapping[str, Any] | None = None) -> LayoutTable:
    """The layout to write: ``to``, or the first of the source layout's defaults that supports the network.

    ``"onnx"`` stands for a layout of a source framework: the file's own, else its recorded origin's, else the first
    that has the network. Raises `Refused` if no layout fits, `UsageError` if there is no layout ``to``.
    """
    if to == "onnx":
        return _source_layout(match, provenance)
    if to is not None:
        return known_layout(to)
    for name in match.layout.targets_for(match.variant.name):
        table = load_layout(name)
        if match.variant.family in families(table) and not table.support_for(match.variant.name).unsupported:
            return table
    raise Refused(f"no default layout holds {match.variant.title}", hint="choose one with --to")


def _source_layout(match: Match, provenance: Mapping[str, Any] | None) -> LayoutTable:
    origin = ((provenance or {}).get("origin") or {}).get("layout")
    preferred = [load_layout(name) for name in (match.layout.name, origin) if name in layout_names()]
    for table in (*preferred, *readable_layouts()):
        if table.format == "pytorch" or table.support_for(match.variant.name).unsupported:
            continue
        if match.variant.family in families(table):
            return table
    raise Refused(
        f"no source framework has {match.variant.title}",
        hint="an .onnx holds a source framework's network: write a .pth or .safetensors",
    )
