#!/usr/bin/env python3
"""Write docs/formats.md: every file format that is read and written, and those that are only recognised.

Everything in it follows from the formats' records and from the table of foreign kinds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from converters.formats.foreign.kinds import KINDS
from converters.formats.registry import formats
from converters.mapping.layout_tables import load_layout
from converters.mapping.table_files import layout_names
from converters.reports import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.formats.format import Format

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"

HEAD = """\
# File formats

Generated from the formats' records by `make reference`; a test keeps it up to date. A file is recognised by its
contents, never by its suffix; the suffix of an output says what is written. No framework is needed for any of them.

## Read and written

{formats}
HDF5 needs the extra `hdf5`. An output named `.onnx` is the source framework's network, see [ONNX](convert.md#onnx).
Other details are under [Convert a file](convert.md), and what is refused for safety under
[What a hostile file can do](security.md).

## Recognised, and not read

Such a file or folder is refused with exit code 3, by what it is, and with what to do.

{kinds}"""


def layouts_of(record: Format) -> str:
    """The layouts whose tensors a format can hold."""
    if record.layout_formats == ("pytorch",):
        return "every PyTorch layout"
    names = [name for name in layout_names() if load_layout(name).format in record.layout_formats]
    return ", ".join(f"`{name}`" for name in names) or "with a [mapping file](mapping-files.md)"


def format_rows() -> Iterator[tuple[str, str, str]]:
    """Each format: what it is, its suffixes, its layouts."""
    for record in formats():
        suffixes = ", ".join(f"`{suffix}`" for suffix in (*record.suffixes, *record.other_suffixes))
        title = record.title.removeprefix("a ").removeprefix("an ")
        yield f"{title[0].upper()}{title[1:]}", suffixes, layouts_of(record)


def kind_rows() -> Iterator[tuple[str, str]]:
    """Each foreign kind: what it is, and what to do. What is filled in by the file's own names is in capitals."""
    for kind in KINDS:
        hint = re.sub(r"(?<!\{)\{(\w+)\}", lambda place: place[1].upper(), kind.hint)
        yield kind.what, hint.replace("{{", "{").replace("}}", "}")


def escaped(rows: Iterator[tuple[str, ...]]) -> Iterator[list[str]]:
    """Rows without what would end a cell, or count as HTML."""
    for row in rows:
        yield [cell.replace("|", "&#124;").replace("<", "&lt;") for cell in row]


def text() -> str:
    """The whole page."""
    return HEAD.format(
        formats=markdown.table(("format", "suffixes", "layouts"), escaped(format_rows())),
        kinds=markdown.table(("such a file", "what to do"), escaped(kind_rows())),
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
