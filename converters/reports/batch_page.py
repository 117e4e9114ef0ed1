"""The results of a batch as static HTML: an index, and a page for each row."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from converters.formats.io.output_stream import write_error

from . import html
from .wording import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Row = dict[str, Any]


def write_pages(folder: str, rows: Sequence[Row]) -> str:
    """Write the index and a page for every row that was not skipped; returns the index's path."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise write_error(error, folder) from None
    for row in rows:
        if row["state"] != "skipped":
            html.write_page(os.path.join(folder, page_name(row["task"])), _page(row), force=True)
    index = os.path.join(folder, "index.html")
    html.write_page(index, _index(rows), force=True)
    return index


def page_name(task: str) -> str:
    """The name of a row's page: readable, and unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", task).strip("-.")[-100:]
    return f"{plain}-{crc32(os.fsencode(task)):08x}.html"


def _index(rows: Sequence[Row]) -> str:
    counts = Counter(row["state"] for row in rows)
    summary = ", ".join(f"{number} {state}" for state, number in counts.items())
    heads = ("output", "state", "network", "classes", "size", "seconds")
    table = html.table("rows", heads, map(_index_cells, rows), numbers=(3, 4, 5))
    return html.page("Conversions", f"<h1>Conversions</h1>\n<p>{len(rows)} rows: {summary}</p>\n{table}")


def _index_cells(row: Row) -> tuple[str, ...]:
    name, state = html.text(row["task"]), row["state"]
    return (
        name if state == "skipped" else f'<a href="{page_name(row["task"])}">{name}</a>',
        f'<span class="{state}">{state}</span>',
        html.text(row.get("network", "")),
        html.text(row.get("classes", "")),
        human_size(row["bytes"]) if "bytes" in row else "",
        f"{row['seconds']:.2f}",
    )


def _page(row: Row) -> str:
    texts = [row["text"]] if "text" in row else []
    texts += [row["verification"]["text"]] if "verification" in row else []
    if error := row.get("error"):
        texts += ["\n".join([error["text"], *error["faults"]])]
    body = [
        f"<h1>{html.text(row['task'])}</h1>",
        html.pairs((name, html.code(value)) for name, value in _details(row)),
        *(f"<pre>{chr(10).join(map(html.text, text.splitlines()))}</pre>" for text in texts),
        '<p><a href="index.html">all rows</a></p>',
    ]
    return html.page(row["task"], "\n".join(body))


def _details(row: Row) -> Iterator[tuple[str, object]]:
    yield "state", row["state"]
    yield "seconds", row["seconds"]
    yield "tool", row["tool"]
    if "at" in row:
        yield "when", row["at"]
    if "input" in row:
        yield "input SHA-256", row["input"]["sha256"]
        yield "input bytes", f"{row['input']['size']:,}"
    for name, size, digest in row.get("output", {}).get("files", ()):
        yield f"{name} SHA-256", digest
        yield f"{name} bytes", f"{size:,}"
    if "mapping" in row:
        mapping = row["mapping"]
        yield "mapping", f"{mapping['source']} -> {mapping['target']}, {mapping['sha256']}"
    if "checked" in row:
        yield "every tensor read back", "yes" if row["checked"] else "no"
