"""The reports of a batch as static HTML: an index, and a page for each row. No script, nothing from elsewhere."""

from __future__ import annotations

import os
import re
from html import escape
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..report import megabytes
from ..text import shown
from ..write.atomic import replacing
from ..write.output import write_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = dict[str, Any]

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .6rem }
tr:nth-child(even) { background: #f4f4f4 } .failed { color: #b00020 } .skipped { color: #777 }
pre { background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
td.number { text-align: right } code { overflow-wrap: anywhere }"""


def write_pages(folder: str, rows: Sequence[Row]) -> str:
    """Write the index and a page for every row that has something to tell; returns the index's path."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise write_error(error, folder) from None
    for row in rows:
        if row["state"] != "skipped":
            _write(os.path.join(folder, page_name(row["task"])), _page(row))
    index = os.path.join(folder, "index.html")
    _write(index, _index(rows))
    return index


def page_name(task: str) -> str:
    """The name of a row's page: readable, and its own."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", task).strip("-.")[-100:]
    return f"{plain}-{crc32(os.fsencode(task)):08x}.html"


def _write(path: str, text: str) -> None:
    with replacing(path, force=True) as out:
        out.write(text.encode("utf-8", "backslashreplace"))


def _html(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f"<style>\n{STYLE}\n</style></head>\n<body>\n<h1>{_text(title)}</h1>\n{body}\n</body></html>\n"
    )


def _text(value: object) -> str:
    return escape(shown(str(value)))


def _index(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    lines = [
        f"<p>{len(rows)} rows: {words}</p>",
        "<table><tr><th>output</th><th>state</th><th>network</th><th>classes</th><th>size</th><th>seconds</th></tr>",
    ]
    for row in rows:
        name = _text(row["task"])
        link = name if row["state"] == "skipped" else f'<a href="{page_name(row["task"])}">{name}</a>'
        size = megabytes(row["bytes"]) if "bytes" in row else ""
        lines.append(
            f'<tr class="{row["state"]}"><td>{link}</td><td>{row["state"]}</td>'
            f'<td>{_text(row.get("network", ""))}</td><td class="number">{_text(row.get("classes", ""))}</td>'
            f'<td class="number">{size}</td><td class="number">{row["seconds"]:.2f}</td></tr>'
        )
    return _html("Conversions", "\n".join([*lines, "</table>"]))


def _page(row: Row) -> str:
    told: list[tuple[str, object]] = [
        ("state", row["state"]),
        ("seconds", row["seconds"]),
        ("tool", row["tool"]),
    ]
    if "at" in row:
        told.append(("when", row["at"]))
    if "input" in row:
        told += [("input SHA-256", row["input"]["sha256"]), ("input bytes", f"{row['input']['size']:,}")]
    for name, size, digest in row.get("output", {}).get("files", ()):
        told.append((f"{name} SHA-256", digest))
        told.append((f"{name} bytes", f"{size:,}"))
    if "mapping" in row:
        mapping = row["mapping"]
        told.append(("mapping", f"{mapping['source']} -> {mapping['target']}, {mapping['sha256']}"))
    if "verified" in row:
        told.append(("every tensor read back", "yes" if row["verified"] else "no"))
    lines = [f"<tr><th>{_text(name)}</th><td><code>{_text(value)}</code></td></tr>" for name, value in told]
    error = row.get("error")
    texts = [row["text"]] if "text" in row else []
    texts += [row["proof"]["text"]] if "proof" in row else []
    if error:
        texts += ["\n".join([error["text"], *error["faults"]])]
    body = ["<table>", *lines, "</table>"]
    body += [
        f"<pre>{escape(chr(10).join(shown(line) for line in text.splitlines()))}</pre>" for text in texts
    ]
    return _html(row["task"], "\n".join([*body, '<p><a href="index.html">all rows</a></p>']))
