"""The results of a batch as static HTML: an index, and a page for each row. No page holds a time of day or a path
beyond what the manifest says."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from zlib import crc32

from converters.formats.io.output_stream import write_error

from . import html
from .block_chart import error_text
from .wording import counted, human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Row = dict[str, Any]

_DONE = ("converted", "adopted", "kept")
_PAGE = re.compile(r".*-[0-9a-f]{8}\.html")

_FILTERS = (
    ("all", "all", ""),
    ("failed", "failed", ".failed"),
    ("verified", "verified", ".verified"),
    ("checked", "checked", ".checked"),
    ("unproved", "neither", ".done:not(.verified):not(.checked)"),
)
"""What the index can be narrowed down to: a name, its word, and the class of the rows that stay."""


def write_pages(folder: str, rows: Sequence[Row], *, title: str = "Conversions") -> str:
    """Write the index and a page for every row that was not skipped, and remove the pages of rows that are gone;
    returns the index's path.

    A row is a `JobResult`, with what its manifest asked for under ``asked``: ``input``, ``source`` and ``to``.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise write_error(error, folder) from None
    written = set()
    for row in rows:
        if row["state"] != "skipped":
            written.add(page_name(row["task"]))
            html.write_page(os.path.join(folder, page_name(row["task"])), _page(row), force=True)
    for name in os.listdir(folder):
        if _PAGE.fullmatch(name) and name not in written:
            with suppress(OSError):
                os.remove(os.path.join(folder, name))
    index = os.path.join(folder, "index.html")
    html.write_page(index, _index(rows, title), force=True)
    return index


def page_name(task: str) -> str:
    """The name of a row's page: readable, and unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", task).strip("-.")[-100:]
    return f"{plain}-{crc32(os.fsencode(task)):08x}.html"


def _index(rows: Sequence[Row], title: str) -> str:
    heads = ("output", "proof", "target", "network", "input", "classes", "size", "seconds")
    table = html.table(
        "rows", heads, map(_index_cells, rows), numbers=(5, 6, 7), classes=[_classes(row) for row in rows]
    )
    body = f"<p class='soft'>convert batch</p>\n<h1>{html.text(title)}</h1>\n{_cards(rows)}\n{_filtered(table, rows)}"
    return html.page(title, body, style=_filter_style())


def _cards(rows: Sequence[Row]) -> str:
    states = Counter(row["state"] for row in rows)
    failed = states["failed"] + states["skipped"]
    done = sum(states[state] for state in _DONE)
    proofs = Counter(proof for row in rows for proof in _proofs(row))
    verified, checked = proofs["verified"], proofs["checked"]
    size = sum(row.get("bytes", 0) for row in rows if row["state"] in _DONE)
    words = ", ".join(f"{number} {state}" for state, number in states.items()) or "no rows"
    return html.cards(
        (
            (
                "bad" if failed else "good",
                f"{'✗' if failed else '✓'} {counted(len(rows), 'row')}",
                f"{words}; {human_size(size)} of weights",
            ),
            (
                "good" if done and verified == done else "",
                "Verified",
                f"both networks were run for {verified} of {done}",
            ),
            ("good" if done and checked == done else "", "Checked", f"{checked} of {done} were read back"),
        )
    )


def _filtered(table: str, rows: Sequence[Row]) -> str:
    """The table, with buttons that hide rows by style alone: no page has a script."""
    counts = Counter(name for row in rows for name in _classes(row).split())
    counts |= {"all": len(rows), "unproved": sum(_classes(row) == "done" for row in rows)}
    buttons = [
        f'<label><input type="radio" name="shown" id="show-{name}"{" checked" if name == "all" else ""}>'
        f"{word} ({counts[name]})</label>"
        for name, word, _ in _FILTERS
        if name == "all" or counts[name]
    ]
    return f'<form class="filter">{chr(10).join(buttons)}\n{table}</form>' if len(buttons) > 2 else table


def _filter_style() -> str:
    hidden = ", ".join(
        f".filter:has(#show-{name}:checked) tbody tr:not({kept})" for name, _, kept in _FILTERS if kept
    )
    return (
        f"{hidden} {{ display: none }}\n.filter {{ margin: 1rem 0 }}\n"
        "@media (max-width: 40rem) { .wide thead, .wide .number, .wide td:empty { display: none }\n"
        "  .wide :is(table, tbody, tr, tbody th) { display: block } .wide tr { border-bottom: 1px solid var(--line) }\n"
        "  .wide td { display: inline-block } .wide :is(td, tbody th) { border: 0; overflow-wrap: anywhere } }\n"
        "@media print { .filter > label { display: none } .wide { overflow-wrap: anywhere } }\n"
        ".filter > label { margin: 0 1rem .5rem 0; display: inline-block } .filter input { margin: 0 .4rem 0 0 }"
    )


def _classes(row: Row) -> str:
    """What the row can be found by: failed; or done, and how it was proved."""
    if row["state"] not in _DONE:
        return str(row["state"])
    return " ".join(("done", *_proofs(row)))


def _ran(row: Row) -> bool:
    """Whether both networks ran: where no network of the source is known, only bytes are compared."""
    return row.get("verification", {}).get("worst") is not None


def _index_cells(row: Row) -> tuple[str, ...]:
    name, state, asked = html.text(row["task"]), row["state"], row.get("asked", {})
    network = html.text(row.get("network", ""))
    output = name if state == "skipped" else f'<a href="{page_name(row["task"])}">{name}</a>'
    if state not in ("converted", "planned"):
        reason = f": {html.text(_reason(row))}" if "error" in row else ""
        output += f'<br><span class="{state}">{state}</span><span class="soft">{reason}</span>'
    return (
        output,
        "<br>".join(f'<span class="good">✓</span>&nbsp;{word}' for word in _proofs(row)),
        html.text(asked.get("to") or row.get("mapping", {}).get("target", "")),
        f'<span class="whole">{network}</span>' if network else "",
        html.text(asked.get("input", "")),
        html.text(row.get("classes", "")),
        human_size(row["bytes"]) if "bytes" in row else "",
        f"{row['seconds']:.2f}",
    )


def _proofs(row: Row) -> list[str]:
    """How a row that is done was proved, in words."""
    if row["state"] not in _DONE:
        return []
    return [word for word, proved in (("verified", _ran(row)), ("checked", row.get("checked"))) if proved]


def _reason(row: Row) -> str:
    """Why a row failed, without the input's path, which stands beside it."""
    text: str = row["error"]["text"]
    path, colon, rest = text.partition(": ")
    return (
        rest
        if colon and os.path.basename(path) == os.path.basename(row.get("asked", {}).get("input", path))
        else text
    )


def _page(row: Row) -> str:
    texts = [row["text"]] if "text" in row else []
    texts += [row["verification"]["text"]] if "verification" in row else []
    if error := row.get("error"):
        texts += ["\n".join([_reason(row), *error["faults"]])]
    body = [
        '<p class="soft"><a href="index.html">all rows</a></p>',
        f"<h1>{html.text(row['task'])}: {_verdict(row)}</h1>",
        _proof_cards(row),
        *_file_table(row),
        "<h2>What was done</h2>",
        html.pairs((name, html.code(value)) for name, value in _details(row)),
        *(f"<pre>{chr(10).join(map(html.text, text.splitlines()))}</pre>" for text in texts),
    ]
    return html.page(row["task"], "\n".join(filter(None, body)))


def _verdict(row: Row) -> str:
    if row["state"] == "failed":
        return '<span class="bad">✗ failed</span>'
    if row["state"] not in _DONE:
        return html.text(row["state"])
    word = (*_proofs(row), row["state"])[0]
    return f'<span class="good">✓ {word}</span>'


def _proof_cards(row: Row) -> str:
    if row["state"] not in _DONE:
        return ""
    verification = row.get("verification", {})
    if _ran(row):
        worst = error_text(verification["worst"])
        ran = f"Both networks ran: {counted(verification['blocks'], 'block')} agree, the worst to {worst}."
    else:
        ran = "Only bytes were compared." if verification else "The networks were not run: add verify = true."
    back = (
        "Every tensor was read back and compared."
        if row.get("checked")
        else "Not read back: add check = true."
    )
    return html.cards(
        (
            ("good" if _ran(row) else "", f"{'✓ ' if _ran(row) else ''}Verified", ran),
            ("good" if row.get("checked") else "", f"{'✓ ' if row.get('checked') else ''}Checked", back),
        )
    )


def _file_table(row: Row) -> Iterator[str]:
    """The row's files and their hashes; those of a kind that is known of none have no column."""
    files = list(_files(row))
    kinds = [kind for kind in ("CRC-32", "SHA-256") if any(kind in hashes for *_, hashes in files)]
    if files:
        yield "<h2>Files</h2>"
        yield html.table(
            "files",
            ("file", "role", "bytes", *kinds),
            [
                (html.code(name), role, f"{size:,}", *(_code(hashes.get(kind)) for kind in kinds))
                for name, role, size, hashes in files
            ],
            numbers=(2,),
        )


def _files(row: Row) -> Iterator[tuple[str, str, int, dict[str, str]]]:
    """Name, role, bytes and hashes by kind of each file."""
    if given := row.get("input"):
        name = row.get("asked", {}).get("input", "")
        sha256 = {"SHA-256": given["sha256"]} if "sha256" in given else {}
        yield name, "source", given["size"], {"CRC-32": given["crc32"], **sha256}
    for name, size, crc in row.get("output", {}).get("files", ()):
        yield name, "output", size, {"CRC-32": crc}
    if published := row.get("published"):
        yield published["file"], "published", published["size"], {"SHA-256": published["sha256"]}


def _code(value: str | None) -> str:
    return "" if value is None else html.code(value)


def _details(row: Row) -> Iterator[tuple[str, object]]:
    asked = row.get("asked", {})
    yield "state", row["state"]
    if "input" in asked:
        yield "input", asked["input"]
    if "network" in row:
        yield (
            "network",
            f"{row['network']}, {counted(row['classes'], 'class') if row['classes'] else 'no head'}",
        )
    if "mapping" in row:
        mapping = row["mapping"]
        yield "layouts", f"{mapping['source']} -> {mapping['target']}"
        yield "tables' SHA-256", mapping["sha256"]
    elif asked:
        yield "layouts", f"{asked['source']} -> {asked['to'] or 'the default'}"
    if "release" in row:
        yield "release", row["release"].get("file", row["release"])
    yield "tool", row["tool"]
    yield "seconds", row["seconds"]
