"""A page on what a network says of a video: pictures, and a bar for each of the likeliest classes."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

from converters.printable import shape_text

from .html import page, pairs, text
from .terminal.classification import clips_words, video_words
from .wording import counted, values_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.classification.classify import Classification, Likely

STYLE = """\
.strip { display: grid; grid-template-columns: repeat(8, 1fr); gap: .25rem; margin: 1rem 0; padding: 0;
  list-style: none }
@media (max-width: 40rem) { .strip { grid-template-columns: repeat(4, 1fr) } }
.strip img { display: block; width: 100%; border-radius: .25rem }
.bars { margin: 1.25rem 0; padding: 0; list-style: none }
.bars li { margin: .6rem 0 } .bars p { display: flex; justify-content: space-between; gap: 1rem; max-width: none;
  margin: 0 }
.bar { background: var(--panel); border-radius: .25rem; height: .75rem; overflow: hidden }
.bar > div { background: var(--mark); height: 100%; border-radius: .25rem; min-width: 2px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact }
.bars li:first-child p { font-weight: 600 }"""


def classification_page(found: Classification) -> str:
    """The page. Everything is in it, the pictures too."""
    name = os.path.basename(os.path.normpath(found.video))
    first = found.likely[0]
    body = [
        f"<h1>{text(first.label)}</h1>",
        f'<p class="soft">What {text(found.network)} says of {text(name)}, with {first.probability:.1%}.</p>',
        _strip(found),
        '<ol class="bars">',
        *map(_bar, found.likely),
        "</ol>",
        *(f"<p>{text(note[:1].upper() + note[1:])}.</p>" for note in found.notes),
        *([] if found.named else ["<p>The checkpoint does not name its classes.</p>"]),
        "<h2>How</h2>",
        pairs(_rows(found)),
    ]
    return page(f"{first.label}: {name}", "\n".join(filter(None, body)), STYLE)


def _strip(found: Classification) -> str:
    """Some frames as the network saw them."""
    if not found.pictures:
        return ""
    sources = (f"data:image/jpeg;base64,{b64encode(data).decode()}" for data in found.pictures)
    count = len(found.pictures)
    items = (
        f'<li><img src="{source}" alt="picture {number} of {count} that the network saw"></li>'
        for number, source in enumerate(sources, 1)
    )
    return f'<ul class="strip">{"".join(items)}</ul>'


def _bar(likely: Likely) -> str:
    width = f"{100 * likely.probability:.2f}%"
    return (
        f'<li><p><span>{text(likely.label)}</span><span class="number">{likely.probability:.3f}</span></p>'
        f'<div class="bar" aria-hidden="true"><div style="width: {width}"></div></div></li>'
    )


def _rows(found: Classification) -> Iterator[tuple[str, str]]:
    yield "video", text(f"{os.path.basename(os.path.normpath(found.video))}: {video_words(found)}")
    yield "weights", text(os.path.basename(found.model))
    yield "network", text(f"{found.network}, {counted(found.classes, 'class')}")
    yield "seen", text(clips_words(found))
    for name, value in found.preprocessing.items():
        if name not in ("frames", "crop"):
            words = values_text(value) if isinstance(value, tuple) else str(value)
            if name == "resize":
                words = shape_text(value) if isinstance(value, tuple) else f"short side {value}"
            yield name.replace("_", " "), text(words)
