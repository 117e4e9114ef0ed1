"""What all HTML pages have in common: one file each, no script, nothing loaded from elsewhere, all text escaped."""

from __future__ import annotations

from html import escape
from itertools import chain, repeat
from typing import TYPE_CHECKING

from converters.formats.io.atomic import replacing
from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1f26; --soft: #57606a; --line: #d4d9df; --panel: #f5f7f9;
  --good: #19703a; --bad: #b3261e; --mark: #0b5cad; --band: #0b5cad1c }
@media (prefers-color-scheme: dark) { :root { --paper: #13161b; --ink: #e6e9ed; --soft: #a3acb7; --line: #353c46;
  --panel: #1c2128; --good: #5ccf82; --bad: #ff938a; --mark: #7fb8ff; --band: #7fb8ff24 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem }
h3 { font-size: 1rem; margin: 1rem 0 .25rem } a { color: var(--mark) } p { max-width: 46rem; margin: .5rem 0 }
.soft { color: var(--soft) } .good { color: var(--good) } .bad, .failed { color: var(--bad) }
.skipped { color: var(--soft) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line) }
tr > :last-child { padding-right: 0 } thead th { color: var(--soft); white-space: nowrap }
tbody th { font-weight: 400 } .pairs th { color: var(--soft); width: 11rem }
.wide, .wide code { overflow-wrap: normal } .wide code { white-space: nowrap }
.wide td:last-child:not(.number) { min-width: 11rem }
.wide code.long { white-space: normal; overflow-wrap: anywhere; display: inline-block; min-width: 16rem }
.whole { white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code, pre { font: .875em/1.5 ui-monospace, monospace }
pre { background: var(--panel); padding: .75rem 1rem; border-radius: .4rem; white-space: pre-wrap }
.cards { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  margin: 1.25rem 0; padding: 0; list-style: none }
.cards > * { background: var(--panel); border-radius: .4rem; border-top: .25rem solid var(--soft); padding: .75rem 1rem;
  margin: 0; min-width: 0 }
.cards > .good { border-color: var(--good) } .cards > .bad { border-color: var(--bad) }
.cards > .good, .cards > .bad { color: inherit } .cards strong { display: block }
figure { margin: 1rem 0 } figcaption { color: var(--soft); font-size: .875rem }
svg { display: block; width: 100%; overflow: visible; font: 12px system-ui, sans-serif; fill: currentColor }
.over { paint-order: stroke; stroke: var(--paper); stroke-width: 4px }
details { margin: .75rem 0 } summary { cursor: pointer }
@media (max-width: 40rem) { .pairs th { width: 34% } }
@media print { @page { margin: 15mm } :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444;
  --line: #bbb; --panel: #f3f3f3; --good: #145c2f; --bad: #98140d; --mark: #084a8d; --band: #084a8d1c }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .wide { overflow-x: visible; font-size: 8.5pt } thead th { white-space: normal }
  .wide code.long { min-width: 0 } td, th { padding-right: .6rem }
  .wide td:last-child:not(.number) { min-width: 0 }
  figure, tr, .cards > * { break-inside: avoid } h2, h3 { break-after: avoid } }"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a browser may load for a page: only the icon and the style in it."""

LONG = 36
"""Longer names may be broken."""


def page(title: str, body: str, style: str = "") -> str:
    """A whole page. ``body`` is HTML and has its own heading, ``style`` its own CSS."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><title>{text(title)}</title>\n'
        f"<style>\n{STYLE}\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def text(value: object) -> str:
    """Any text as HTML, with markup, control characters and lone surrogates escaped."""
    return escape(printable(str(value)))


def code(value: object) -> str:
    """A name or a hash; a long one may be broken anywhere."""
    shape = ' class="long"' if len(str(value)) > LONG else ""
    return f"<code{shape}>{text(value)}</code>"


def cards(rows: Iterable[tuple[str, str, str]]) -> str:
    """Boxes side by side: a class (``good``, ``bad`` or none), a heading, and HTML."""
    items = [f'<li class="{kind}"><strong>{head}</strong>{words}</li>' for kind, head, words in rows]
    return f'<ul class="cards">\n{chr(10).join(items)}\n</ul>'


def table(
    label: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    classes: Sequence[str] = (),
) -> str:
    """A table that scrolls on its own where it is too wide. Cells are HTML; ``heads`` and ``label``, which screen
    readers read out, are text; ``numbers`` are the columns aligned to the right, ``classes`` those of the rows, if any.
    The first cell of a row is its heading."""
    right = set(numbers)
    columns = [' class="number"' if column in right else "" for column in range(len(heads))]
    head = "".join(
        f'<th scope="col"{css}>{text(name)}</th>' for css, name in zip(columns, heads, strict=True)
    )
    lines = [
        (f'<tr class="{names}">' if names else "<tr>")
        + f'<th scope="row"{columns[0]}>{first}</th>'
        + "".join(f"<td{css}>{cell}</td>" for css, cell in zip(columns[1:], cells, strict=True))
        + "</tr>"
        for (first, *cells), names in zip(rows, chain(classes, repeat("")), strict=False)
    ]
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(label)}"><table><thead><tr>{head}</tr></thead>'
        "<tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns: names, as text, and values, as HTML."""
    lines = [f'<tr><th scope="row">{text(name)}</th><td>{cell}</td></tr>' for name, cell in rows]
    return '<table class="pairs"><tbody>\n' + "\n".join(lines) + "\n</tbody></table>"


def write_page(path: str, content: str, *, force: bool) -> None:
    """Write a page, whole or not at all; see `formats.io.atomic.replacing`."""
    with replacing(path, force=force) as out:
        out.write(content.encode("utf-8", "backslashreplace"))
