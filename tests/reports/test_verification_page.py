"""The report of `convert verify --html`: what is in it, and how a real browser shows it."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from converters import convert, verify
from converters.cli.main import main
from converters.files import CHUNK
from converters.reports import html
from converters.reports.batch_page import write_pages
from converters.reports.verification_page import verification_page
from converters.tensor import Held, Repeated, Tensor
from converters.verification.evidence import MAX_HISTOGRAMS
from converters.verification.outcome import BlockResult, Verification
from converters.verification.suspect_values import BINS, faults_of, histogram
from tests.helpers import chromium, vmz_files
from tests.helpers.paths import REPOSITORY
from tests.verification.test_verify import File, exchanged_mean_and_bias, one_nan

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = '<img src=x onerror="alert(1)">&amp;.pkl'
NOTE = "</style><script>alert(2)</script>"


def verification(source: Path, output: Path, report: Path, clip: Path, *more: str) -> int:
    words = ["verify", source, output, "--clip", clip, "--quiet", "--html", report, *more]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> SimpleNamespace:
    """A source whose name is markup, a right and a wrong output, and the report of each."""
    root = tmp_path_factory.mktemp("reports")
    found = SimpleNamespace(
        source=root / NAME,
        right=root / "right.pth",
        wrong=root / "wrong.safetensors",
        clip=root / "clip.npy",
        good=root / "good.html",
        bad=root / "bad.html",
    )
    np.save(found.clip, np.random.default_rng(5).standard_normal((1, 3, 8, 64, 64), np.float32))
    vmz_files.write(found.source, "ir-csn-26", seed=8)
    convert(found.source, found.right, source="vmz")
    convert(found.source, found.wrong, source="vmz", to="native")
    file = File(found.wrong)
    exchanged_mean_and_bias(file)
    one_nan(file)
    file["layer1.0.conv1.bn.weight"][:7] = 0
    file["layer2.0.conv1.conv.weight"][:] = 0
    file["layer2.0.conv2.bn.running_var"][3] = -1
    file.record["notes"] = [NOTE]
    file.record["source"]["name"] = NAME
    file.write()
    assert verification(found.source, found.right, found.good, found.clip) == 0
    assert verification(found.source, found.wrong, found.bad, found.clip) == 1
    return found


@pytest.fixture(scope="module")
def outcome(folder) -> Verification:
    """What the report of the right output was made of."""
    return verify(folder.source, folder.right, clip=folder.clip, evidence=True)


class Outline(HTMLParser):
    """Every tag with its attributes, properly nested, and the text under each heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {"": ""}
        self._open: list[str] = []
        self._title = ""
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "rect", "line", "circle", "path"):
            self._open.append(tag)
        if tag == "h2":
            self._title = ""

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "circle", "path"):
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["h2"]:
            self._title += data
            self.text.setdefault(self._title, "")
        else:
            self.text[self._title] += data + " "


# What is in it


def test_a_right_conversion(folder) -> None:
    page = Outline(folder.good.read_text())
    assert list(page.text)[1:] == [
        "Files",
        "Coverage",
        "Block by block",
        "The five most likely classes",
        "Suspect values",
        "Input",
        "What the weights do not show",
        "Provenance",
        "Reproduce this",
    ]
    for path in (folder.source, folder.right, folder.clip):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest in page.text["Files"]
        assert f"{digest}  {path.name}" in page.text["Reproduce this"]
    assert "142 tensors, mapped one to one" in page.text["Coverage"]
    assert "28, not used for inference" in page.text["Coverage"]
    assert "All 142 tensors" in page.text["Coverage"]
    assert "comp_7_spatbn_4_b" in page.text["Coverage"]
    for name in ("stem", "layer4.1", "last_out_L400", "tolerance", "float32 noise"):
        assert name in page.text["Block by block"]
    assert "differs" not in page.text["Block by block"]
    assert "No NaN, no Inf" in page.text["Suspect values"]
    assert "RGB, values from 0 to 255" in page.text["Input"]
    assert "32 frames of 224×224 pixels, every 2nd frame" in page.text["Input"]
    assert "minus 110.201, 100.64, 95.9966, divided by 58.1489" in page.text["Input"]
    assert f"pickle, protocol 2, {folder.source.stat().st_size:,} bytes" in page.text["Provenance"]
    assert f"PyTorch {torch.__version__}" in page.text["Provenance"]
    words = f"convert verify '{NAME}' right.pth --clip clip.npy"
    assert words in page.text["Reproduce this"]


def test_a_wrong_conversion(folder) -> None:
    page = Outline(folder.bad.read_text())
    assert "✗ not verified" in page.text[""]
    assert "layer1.0  is the first block to differ: off by 0." in page.text[""]
    assert page.text["Block by block"].count("first to differ") == 2  # in the picture and in the table
    assert "differs : NaN or Inf on the output's side" in page.text["Block by block"]
    assert "6 tensors that cannot be restored" in page.text["Coverage"]
    values = page.text["Suspect values"]
    for name, why in (
        ("layer1.0.conv1.bn.weight", "7 of 64 scales dead"),
        ("layer2.0.conv1.conv.weight", "all zero"),
        ("layer2.0.conv2.bn.running_var", "1 negative variance"),
        ("layer4.1.conv3.bn.bias", "1 NaN"),
        ("layer3.0.conv2.bn.bias", "not the source's values"),
    ):
        assert f"{name} {why}" in values
    assert len([tag for tag, _ in page.tags if tag == "figure"]) == 1 + 6


def test_texts_from_files_are_text(folder) -> None:
    for path in (folder.good, folder.bad):
        page = Outline(path.read_text())
        assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "a", "form"}
        assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
        links = [attrs.get("href") or attrs.get("src") for _, attrs in page.tags]
        assert set(filter(None, links)) == {"data:,"}
        assert NAME in page.text[""]
    assert NOTE in page.text["Provenance"]
    assert NAME in page.text["Provenance"]
    assert html.text("a\x1b[2J\u202e\udc80<b>") == "a\\x1b[2J\\u202e\\udc80&lt;b&gt;"


def test_the_same_outcome_gives_the_same_bytes(folder, outcome) -> None:
    again = replace(outcome, timings=dict.fromkeys(outcome.timings, 99.0))
    words = ["convert", "verify", NAME, "right.pth", "--clip", "clip.npy"]
    assert verification_page(outcome, words) == verification_page(again, words) == folder.good.read_text()
    assert str(folder.source.parent) not in folder.good.read_text()
    with pytest.raises(ValueError, match="evidence"):
        verification_page(replace(outcome, evidence=None), words)


def test_other_outcomes(folder, outcome, tmp_path: Path) -> None:
    """Neither a record nor a network to run; blocks with no difference at all; declared differences."""
    torch.save(torch.load(folder.right, weights_only=True), tmp_path / "bare.pth")
    found = verify(folder.right, tmp_path / "bare.pth", clip=folder.clip, evidence=True)
    page = Outline(verification_page(found, ["convert", "verify", "a b"]))
    assert "both as our reference networks in PyTorch" in page.text["Block by block"]
    idle = replace(found, functional=None, skipped="the files are in the wrong order")
    bytes_only = Outline(verification_page(idle, ["convert", "verify", "a b"]))
    assert "Not run: the files are in the wrong order." in bytes_only.text["Block by block"]
    assert "bytes only" in bytes_only.text[""]
    assert "verified" not in bytes_only.text[""]
    assert "The output has no record" in page.text["Provenance"]
    assert "pip install '.[torch]'" in page.text["Reproduce this"]
    assert "pip install ." in bytes_only.text["Reproduce this"]
    assert "convert verify 'a b'" in page.text["Reproduce this"]
    block = BlockResult(name="stem", source_name="s", shape=(1,), largest=1.0, relative=0.0, cosine=1.0)
    ran = replace(outcome.functional, blocks=(block,), source_top=(), output_top=())
    declared = outcome.declared._replace(notes=("pads <otherwise>",), first="stem", relative=0.5)
    page = Outline(verification_page(replace(outcome, functional=ran, declared=declared), []))
    assert "pads <otherwise>" in page.text["What the weights do not show"]
    assert "first differs at  stem ; its logits differ by 0.5 of the largest" in " ".join(page.text.values())


# How it is written


def test_an_existing_report_is_kept(folder, tmp_path: Path, capsys) -> None:
    report = tmp_path / "report.html"
    report.write_text("mine")
    assert verification(folder.source, folder.right, report, folder.clip) == 1
    assert "the output exists already\nhint: --force replaces it" in capsys.readouterr().err
    assert report.read_text() == "mine"
    assert verification(folder.source, folder.right, report, folder.clip, "--force") == 0
    assert report.read_bytes() == folder.good.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_is_not_written_over_what_is_read(folder, tmp_path: Path, capsys) -> None:
    before = folder.right.read_bytes()
    for path in (folder.source, folder.right, folder.clip):
        assert verification(folder.source, folder.right, path, folder.clip, "--force") == 2
        assert "input and output are the same file" in capsys.readouterr().err
    assert folder.right.read_bytes() == before
    path = tmp_path / "x"
    assert verification(folder.source, folder.right, path, folder.clip, "--junit", str(path)) == 2
    assert verification(folder.source, folder.right, tmp_path / "no" / "x", folder.clip) == 1
    assert not list(tmp_path.iterdir())


def test_a_workflow_as_the_page_shows_it(folder, tmp_path: Path, monkeypatch, capsys) -> None:
    """Every option in it is accepted, and the files that it keeps are written."""
    import yaml

    page = (REPOSITORY / "docs" / "verify.md").read_text()
    text = page.split("```yaml\n")[2].split("```")[0]
    assert len(text.splitlines()) <= 10
    steps = yaml.safe_load(text)["jobs"]["weights"]["steps"]
    (line,) = (step["run"] for step in steps if " verify " in step.get("run", ""))
    command, verb, source, output, *words = line.partition(" > ")[0].split()
    assert (command, verb) == ("video-checkpoint-convert", "verify")
    monkeypatch.chdir(tmp_path)
    (tmp_path / source).symlink_to(folder.source)
    (tmp_path / output).symlink_to(folder.right)
    assert main([verb, source, output, *words, "--clip", str(folder.clip)]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    assert {path.name for path in tmp_path.iterdir()} == {source, output, "proof.xml", "proof.html"}


# Values


def tensor(values: Any, name: str = "x") -> Tensor:
    array = np.ascontiguousarray(values)
    return Tensor(name, str(array.dtype), array.shape, Held(memoryview(array).cast("B")))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_what_is_wrong_with_values(dtype: str) -> None:
    weight = np.random.default_rng(1).standard_normal((70, 3, 5, 5, 117)).astype(dtype)  # several pieces
    assert list(faults_of(tensor(weight), "conv", "weight")) == []
    weight[[0, 31, 69]] = 0
    weight[5] *= 1e-7 if dtype != "float16" else 0
    assert list(faults_of(tensor(weight), "conv", "weight")) == ["4 of 70 channels dead"]
    weight[7, 1, 2, 3, 4], weight[8, 0, 0, 0, :2], weight[31, 0] = np.nan, np.inf, np.nan
    nan = 1 + 5 * 5 * 117
    assert list(faults_of(tensor(weight), "conv", "weight")) == [
        f"{nan:,} NaN",
        "2 infinite",
        "3 of 70 channels dead",
    ]
    zero = np.zeros((4, 2), dtype)
    assert list(faults_of(tensor(zero), "fc", "weight")) == ["all zero"]
    assert list(faults_of(tensor(zero[0]), "fc", "bias")) == []
    assert list(faults_of(tensor(zero[0]), "bn", "running_var")) == ["all zero"]
    assert list(faults_of(tensor(-np.ones(3, dtype)), "bn", "running_var")) == ["3 negative variances"]
    assert list(faults_of(tensor(-np.ones(3, dtype)), "bn", "running_mean")) == []


def test_histograms_are_of_both_sides() -> None:
    one = np.concatenate([np.linspace(0, 1, 4001), [np.nan, np.inf]]).astype("f4")
    low, high, source, output = histogram(tensor(one), tensor(one[:4001] / 2 - 0.5))
    assert (low, high) == (-0.5, 1.0)
    assert (sum(source), sum(output)) == (4001, 4001)
    assert len(source) == len(output) == BINS
    assert (source[0], source[-1] > 0, output[0] > 0, output[-1]) == (0, True, True, 0)
    assert histogram(None, tensor(np.full(3, np.nan))) is None
    whole = np.float64([-1, 1]) * np.finfo("f8").max
    *_, output = histogram(None, tensor(whole))
    assert (output[0], output[-1], sum(output)) == (1, 1, 2)
    *_, output = histogram(None, tensor(np.float64([3, 3])))
    assert sum(output) == 2


def test_values_are_read_in_bounded_memory() -> None:
    large = Tensor("x", "float32", (512, 64, 1024), Repeated(b"\0\0\x80\x3f", 512 * 64 * 1024))
    tracemalloc.start()
    try:
        assert list(faults_of(large, "conv", "weight")) == []
        *_, output = histogram(None, large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(output) == 512 * 64 * 1024
    assert peak < 20 * CHUNK < large.nbytes / 20


def test_of_many_suspects_only_the_first_get_a_histogram(folder, tmp_path: Path) -> None:
    state = torch.load(folder.right, weights_only=True)
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    torch.save(half, tmp_path / "half.pth")
    found = verify(folder.source, tmp_path / "half.pth", clip=folder.clip, evidence=True)
    assert len(found.evidence.suspects) == 142
    assert sum(bool(one.histogram) for one in found.evidence.suspects) == MAX_HISTOGRAMS
    assert len(verification_page(found, [])) < 400_000


# In a browser

MODES: dict[str, dict[str, Any]] = {
    "light": {"prefers_color_scheme": "light"},
    "dark": {"prefers_color_scheme": "dark"},
    "phone": {"width": 360, "height": 740, "phone": True},
    "print": {"width": 680, "type": "print", "prefers_color_scheme": "dark"},
}

# The smallest contrast of a text with its background, as WCAG 2 defines it.
CONTRAST = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let least = [99, ""];
  for (const node of document.body.querySelectorAll("*")) {
    if (![...node.childNodes].some(one => one.nodeType == 3 && one.data.trim()) || node.tagName == "title") continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node instanceof SVGElement ? style.fill : style.color), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, node.outerHTML.slice(0, 200)];
  }
  return least;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[chromium.Chromium]:
    if chromium.PATH is None:
        pytest.skip(chromium.MISSING)
    with chromium.chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["good", "bad"])
def test_a_browser_shows_it(name: str, mode: str, folder, browser, tmp_path: Path) -> None:
    url = getattr(folder, name).as_uri()
    browser.open(url, **MODES[mode])
    assert browser.complaints() == []
    assert browser.requests() == [url]
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.value("innerWidth") == MODES[mode].get("width", 1200)
    ratio, where = browser.value(CONTRAST)
    assert ratio >= 4.5, where
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (mode != "dark")
    # The picture is as wide as there is room, and nothing of it or of its letters is cut off.
    sizes = browser.value(
        "[...document.querySelectorAll('svg[role=img] text, svg[role=img] circle')].map(e => e.getBoundingClientRect())"
        ".filter(r => r.left < 0 || r.right > innerWidth).length"
    )
    assert sizes == 0
    # Tables that are too wide scroll in themselves; on paper none is.
    wide = browser.value(
        "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert wide > 0 if mode == "phone" else wide == 0
    picture = browser.picture()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(picture[16:20], "big") == MODES[mode].get("width", 1200) * (
        2 if mode == "phone" else 1
    )


def test_light_and_dark_are_two_pictures(folder, browser) -> None:
    pictures = set()
    for scheme in ("light", "dark", "light"):
        browser.open(folder.good.as_uri(), prefers_color_scheme=scheme)
        pictures.add(browser.picture())
    assert len(pictures) == 2


def test_screen_readers_can_read_it(folder, browser) -> None:
    browser.open(folder.bad.as_uri())
    tree = browser("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert len(named["image"]) == 7
    assert all(len(name) > 30 for name in named["image"])
    assert "First to differ: layer1.0." in named["image"][0]
    assert all(named["region"])
    levels = browser.value("[...document.querySelectorAll('h1,h2,h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert browser.value("document.documentElement.lang") == "en"
    assert browser.value("[...document.querySelectorAll('.wide th')].every(e => e.scope)")


@pytest.mark.parametrize("mode", MODES)
def test_the_pages_of_a_batch(mode: str, browser, tmp_path: Path) -> None:
    rows = [
        {"task": NAME * 3, "state": "done", "seconds": 1.0, "tool": "x", "text": NOTE, "bytes": 5},
        {
            "task": "b",
            "state": "failed",
            "seconds": 1.0,
            "tool": "x",
            "error": {"text": NOTE, "faults": ["f" * 300]},
        },
        {"task": "c", "state": "skipped", "seconds": 0.0, "tool": "x"},
        {
            "task": "d",
            "state": "converted",
            "seconds": 1.0,
            "tool": "x",
            "asked": {"input": NAME, "source": "vmz", "to": NOTE},
            "network": NOTE,
            "classes": 400,
            "bytes": 5,
            "checked": True,
            "verification": {"text": NOTE, "blocks": 3, "worst": 1e-6},
            "input": {"size": 5, "crc32": "a" * 8, "sha256": "a" * 64},
            "output": {"files": [["d", 5, "b" * 8]]},
            "mapping": {"source": "vmz", "target": "vmz-pt", "sha256": "c" * 64},
        },
    ]
    write_pages(str(tmp_path), rows, title=NAME)
    assert len(list(tmp_path.iterdir())) == 4
    for path in tmp_path.iterdir():
        browser.open(path.as_uri(), **MODES[mode])
        assert browser.complaints() == []
        assert browser.requests() == [path.as_uri()]
        assert browser.value("document.documentElement.scrollWidth <= innerWidth")
        assert browser.value("document.querySelectorAll('script, img').length") == 0
        assert browser.value(CONTRAST)[0] >= 4.5


def test_the_rows_of_a_batch_can_be_narrowed_down(browser, tmp_path: Path) -> None:
    shared = {"seconds": 1.0, "tool": "x"}
    rows = [
        {"task": "a", "state": "converted", "checked": True, **shared},
        {"task": "b", "state": "kept", "verification": {"text": "", "blocks": 1, "worst": 0.0}, **shared},
        {"task": "c", "state": "failed", "error": {"text": "no", "faults": []}, **shared},
        {"task": "d", "state": "adopted", **shared},
    ]
    browser.open(Path(write_pages(str(tmp_path), rows)).as_uri())
    seen = "[...document.querySelectorAll('tbody tr')].filter(e => e.offsetHeight).map(e => e.innerText[0]).join('')"
    found = {"": browser.value(seen)}
    for name in ("failed", "verified", "checked", "unproved", "all"):
        browser.value(f"document.getElementById('show-{name}').click()")
        found[name] = browser.value(seen)
    right = {"": "abcd", "failed": "c", "verified": "b", "checked": "a", "unproved": "d", "all": "abcd"}
    assert found == right
