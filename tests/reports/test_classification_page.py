"""The page of `convert classify --html`: what is in it, and how a real browser shows it."""

from __future__ import annotations

import pytest

from converters.classification.classify import Classification, Likely
from converters.reports.classification_page import classification_page
from converters.reports.terminal.classification import classification_text
from tests.helpers import chromium

NAME = '<img src=x onerror="alert(1)">&amp;.mp4'
PIXEL = bytes.fromhex(
    "ffd8ffdb004300" + "01" * 64 + "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000ffda0008010100003f0054dfffd9"
)
"""A grey picture of one pixel, as JPEG."""


def found(**changes):
    likely = tuple(
        Likely(f"class </p> {number}" + " long" * 20 * (number == 2), number, probability)
        for number, probability in enumerate((0.75, 0.2, 0.04, 0.009, 0.0))
    )
    return Classification(
        model="/home/me/weights.pth",
        network="I3D (i3d)",
        video=f"/home/me/{NAME}",
        likely=likely,
        classes=400,
        clips=(0, 20),
        frames=64,
        size=(224, 224),
        video_frames=300,
        rate=25.0,
        named=True,
        preprocessing={"frames": 64, "crop": (224, 224), "mean": (127.5,) * 3, "order": "RGB"},
        pictures=(PIXEL,) * 8,
    ).replace(**changes)


def test_all_text_is_escaped_and_nothing_else_is_loaded():
    page = classification_page(found())
    assert NAME not in page
    assert "</p> 0" not in page
    assert "/home/me" not in page
    assert "<script" not in page
    assert page.count("<img ") == page.count('src="data:image/jpeg;base64,') == 8
    assert 'style="width: 75.00%"' in page
    assert "the mean of 2 clips of 64 frames of 224x224" in page
    assert "The checkpoint does not name" not in page
    assert "The checkpoint does not name" in classification_page(found(named=False, pictures=()))
    note = "the file ends early: 3 of 9 frames"
    assert "<p>The file ends early: 3 of 9 frames.</p>" in classification_page(found(notes=(note,)))
    assert note in classification_text(found(notes=(note,))).splitlines()


def test_the_text():
    lines = classification_text(found(clips=(7,), named=False)).splitlines()
    assert lines[0].endswith(".mp4: 300 frames, 25 a second")
    assert lines[1] == "I3D (i3d), 400 classes: 64 frames of 224x224, from frame 7"
    assert lines[2] == "  0.750  class </p> 0"
    assert lines[-1].startswith("the checkpoint does not name its classes: `convert ")
    assert found().as_data()["likely"][0] == {"label": "class </p> 0", "number": 0, "probability": 0.75}


@pytest.mark.full
@pytest.mark.skipif(chromium.PATH is None, reason=chromium.MISSING)
def test_a_browser_shows_it(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(classification_page(found()))
    with chromium.chromium(tmp_path / "profile") as browser:
        for width, media in (
            (1200, {}),
            (1200, {"prefers_color_scheme": "dark"}),
            (360, {}),
            (800, {"type": "print"}),
        ):
            browser.open(path.as_uri(), width=width, phone=width < 500, **media)
            assert browser.complaints() == []
            assert browser.value("document.documentElement.scrollWidth") <= width
            shown = browser.value("[...document.images].every(one => one.naturalWidth > 0)")
            assert shown
            bars = browser.value("[...document.querySelectorAll('.bar > div')].map(one => one.offsetWidth)")
            assert bars == sorted(bars, reverse=True)
            assert bars[0] > 3 * bars[1] > 0 < bars[-1]
            assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []
