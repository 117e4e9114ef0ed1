#!/usr/bin/env python3
"""Write docs/layouts.md: every file of the model zoos and every network, with the layouts that hold it.

Everything in it follows from the tables: releases.toml lists the files, and the layouts say what they hold. ``--check``
writes nothing and exits with 1 where the file is not what would be written. ``--tables DIR --out PAGE.md`` writes
another page: with the tables of that folder beside ours.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from converters.inspection.support_table import KINDS, exactness
from converters.mapping.further_tables import only_our_tables, use_tables
from converters.mapping.layout_tables import load_layout, readable_layouts
from converters.mapping.names import families
from converters.mapping.readable_networks import readable_variants
from converters.mapping.releases import releases
from converters.mapping.table_files import network_names
from converters.mapping.variants import BN_EPS
from converters.reports import markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from converters.mapping.releases import Release
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

SUPPORT = Path(__file__).parent.parent / "docs" / "layouts.md"
NOT_YET = "-"
"""In place of layouts."""

HEAD = """\
# Networks and layouts

This page answers what a file can become. On the site, a box above each table filters its rows. The word before a layout
says what the weights compute there:

{kinds}

Every layout can be read as well as written: `convert LAYOUT IN OUT --to LAYOUT` converts any of them to any other, and
`load_model` runs each of them as its own project's network does. This page is generated from the tables by
`make reference`.

## The zoos' files

Networks, inputs and accuracies (in per cent) are those of the authors' pages. We measured none of them and have not
seen the files themselves. If a file holds something other than its page says, it is refused with a list of all faults.
"none" in place of layouts means that no table describes the file, or that its page does not say what it is.
"""


def networks() -> dict[str, Variant]:
    """Every variant by name."""
    return {variant.name: variant for variant in readable_variants(network_names())}


def layouts_cell(
    variant: Variant | None, source: LayoutTable, tables: Iterable[LayoutTable], file: Release | None = None
) -> str:
    """The layouts that hold a network, by what its weights are there; `NOT_YET` where the source's files of it are
    not read. ``file`` says which frames and channels it was made for."""
    if (
        variant is None
        or variant.family not in families(source)
        or source.support_for(variant.name).unsupported
    ):
        return NOT_YET
    targets_by_kind: dict[str, list[str]] = {}
    for target in tables:
        if target.name != source.name:
            frames, channels = (file.segments, file.channels) if file else (0, 0)
            what = exactness(variant, source, target, frames=frames, channels=channels)
            targets_by_kind.setdefault(what.kind, []).append(f"`{target.name}`")
    return "; ".join(
        f"{kind}: {', '.join(targets_by_kind[kind])}"
        for kind in KINDS
        if kind in targets_by_kind and kind != "refused"
    )


def rows_of(files: Iterable[Release], tables: list[LayoutTable]) -> Iterator[tuple[str, ...]]:
    """A zoo's files as rows."""
    known = networks()
    for file in files:
        source = f"`{file.layout}`{f' (made from {file.converted})' if file.converted else ''}"
        reported = ", ".join(f"{name} {value:g}" for name, value in file.reported.items())
        yield (
            f"`{file.file}`",
            f"`{file.network}`" if file.network else "-",
            str(file.classes or "-"),
            file.input or "-",
            file.pretrained or "-",
            f"{file.on}: {reported}" if reported else "-",
            source,
            f"none: {file.why_not}"
            if file.why_not
            else layouts_cell(known.get(file.network), load_layout(file.layout), tables, file),
        )


def network_rows(tables: list[LayoutTable]) -> Iterator[tuple[str, str, str]]:
    """Every network: names, the layouts that its weights come in, and where they go; alike depths together."""
    rows = []
    for variant in networks().values():
        supporting = [
            table
            for table in tables
            if variant.family in families(table) and not table.support_for(variant.name).unsupported
        ]

        def place(table: LayoutTable, variant: Variant = variant) -> tuple[bool, bool, bool]:
            support = table.support_for(variant.name)
            others = {*support.settings, *support.config} - {BN_EPS}
            return table.format == "pytorch", table.identity, bool(others)

        first = min(supporting, key=place)
        depths = "/".join(map(str, variant.values.get("depths", ())))
        rows.append(
            (
                variant.values["title"].replace("{depth}", depths),
                first.name,
                layouts_cell(variant, first, tables),
                variant.name,
            )
        )
    for (title, source, cell), alike in groupby(rows, key=lambda row: row[:3]):
        yield title, f"{', '.join(f'`{row[3]}`' for row in alike)}", f"`{source}`; {cell}"


def notes(tables: list[LayoutTable]) -> Iterator[tuple[str, str, str, str]]:
    """What users must know about layouts, as rows: why they refuse a network, and what reports say of its weights."""
    for table in tables:
        for row in table.supports:
            text = row.unsupported or row.differs or row.note
            if text:
                names = ", ".join(f"`{glob}`" for glob in row.variants)
                what = "refused" if row.unsupported else "differs" if row.differs else "note"
                yield f"`{table.name}`", names if names != "`*`" else "all others", what, text


def text() -> str:
    """The whole page."""
    tables = readable_layouts()
    kinds = "\n".join(f"- **{kind}**: {meaning}" for kind, meaning in KINDS.items() if kind != "refused")
    parts = [HEAD.format(kinds=kinds)]
    for title, files in groupby(releases(), key=lambda file: file.title):
        heads = ("file", "network", "classes", "input", "first trained on", "reported", "source", "layouts")
        parts.append(f"### {title}\n\n{markdown.table(heads, rows_of(files, tables))}")
    parts.append(
        "## Networks\n\nFor each: the first layout that it comes in, and what its weights are in the others.\n"
    )
    parts.append(markdown.table(("network", "variants", "layouts"), network_rows(tables)))
    parts.append("## Notes on the layouts\n")
    parts.append(markdown.table(("layout", "networks", "", "why, or what else to do"), notes(tables)))
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    parser = ArgumentParser(description="Write docs/layouts.md from the tables.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--tables", metavar="DIR", action="append", default=[], help="know these tables too")
    parser.add_argument("--out", metavar="PAGE.md", type=Path, help="the page (needed with --tables)")
    options = parser.parse_args(arguments)
    if bool(options.tables) != bool(options.out):
        parser.error("--tables and --out go together: docs/layouts.md is of our own tables")
    with only_our_tables(), use_tables(*options.tables):
        page = text()
    if options.out:
        options.out.write_text(page, encoding="utf-8")
        return 0
    if options.check:
        if SUPPORT.read_text(encoding="utf-8") == page:
            return 0
        print("docs/layouts.md is not up to date: run make reference", file=sys.stderr)
        return 1
    SUPPORT.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
