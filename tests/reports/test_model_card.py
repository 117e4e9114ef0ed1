"""Model cards: whatever a file says is text in them, in YAML, in Markdown and in HTML."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt

from converters import ConverterError, convert, inspect, publish
from converters.mapping.releases import releases
from converters.printable import printable
from converters.reports.front_matter import front_matter
from converters.reports.markdown import code, prose, text
from converters.reports.model_card import CardFacts, model_card
from tests.helpers import chromium

HOSTILE = (
    "two\nlines",
    "---",
    "\n---\nlicense: mine\n---\n",
    "\r---\r# title\r",
    "`",
    "a`b``c```",
    "\\` <b>bold</b>",
    "a | b \\| c",
    "<script>alert(1)</script>",
    "<!-- -->",
    "![x](https://example.org/x.png)",
    "[a](javascript:alert(1))",
    "[a]: https://example.org",
    "<https://example.org>",
    "https://example.org www.example.org a@example.org",
    "*a* **b** _c_ __d__ ~~e~~ $f$",
    "&lt;i&gt; &amp; &#60;script&#62;",
    "a: b",
    "# comment",
    "a #b",
    "!!python/object/apply:os.system ['true']",
    "&anchor *anchor",
    "{a: [b, c]}",
    "- item",
    "1. item",
    "12) item",
    "+ item",
    "# title",
    "===",
    "    indented",
    "```",
    "``` a ```",
    "~~~",
    "***",
    "<https://a.b> `c` <i>",
    "> quote",
    "%TAG ! tag:",
    "@at",
    "'single' \"double\"",
    "next\x85line\u2028and\u2029paragraph",
    "\ufeffmark",
    "bell\x07 null\0 escape\x1b[31m",
    "right\u202eto left",
    "\U0001f600 \udcff",
    "no",
    "null",
    "1e3",
    "0x1f",
    "2026-11-28",
    "=",
    "<<",
    "~",
    "",
    " space ",
    "\ttab\t",
    "x" * 300,
)


HEAD_END = "---\n"


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert tag == "a" or not [name for name, _ in attributes if name != "class"]

    def handle_data(self, data):
        self.text += data


def page(markdown):
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


@pytest.mark.parametrize("write", [text, code, prose])
def test_text_stays_text(write):
    for words in HOSTILE:
        for line in (f"- note: {write(words)} end", f"| | |\n| --- | --- |\n| {write(words)} | end |"):
            found = page(line)
            assert found.tags <= {"ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}, words
            said = printable(words)
            if write is prose:
                said = said.replace("`", "")
                found.text = found.text.replace("`", "")
            assert " ".join(said.split()) in " ".join(found.text.split())
            assert found.text.rstrip().endswith("end")


def test_front_matter_is_what_went_in():
    data = {word or "empty": word for word in HOSTILE} | {
        "list": list(HOSTILE),
        "nested": {word: [word, 1, 2.5e-5, None, True] for word in HOSTILE},
        "same": [HOSTILE[0], HOSTILE[0]],
        "numbers": [1, -0.0, 1e-5, 1e30, 110.201, 2**70],
    }
    written = front_matter(data)
    assert written.isascii()
    lines = written.split("\n")
    assert lines[0] == lines[-1] == "---"
    assert not [line for line in lines[1:-1] if line.lstrip().startswith(("-", "!", "&", "*", "%", "..."))]
    assert yaml.safe_load("\n".join(lines[1:-1])) == data


@pytest.fixture(scope="module")
def found(zoo, tmp_path_factory):
    output = tmp_path_factory.mktemp("card") / "net.pth"
    convert(zoo / "vmz" / "ir-csn-26-0.pkl", output, source="vmz")
    return inspect(output)


def hostile(found, words):
    """The inspection of a file whose record says ``words`` wherever it may say something."""
    record = json.loads(json.dumps(dict(found.provenance)))
    record["tool"] = {"name": words, "version": words}
    record["mapping"]["sha256"] = words
    record["source"] |= {
        "name": words,
        "container": words,
        "sha256": words,
        "converted_from": {"name": words},
    }
    record["notes"] = [words, f"see `{words}`"]
    network = found.network.replace(
        licence=words,
        title=words,
        variant=words,
        model=words,
        settings={**found.network.settings, words: words},
        input={
            **found.network.input,
            "order": words,
            words: [words, 1],
            "mean_file": {"name": words},
            "labels": [words, words],
        },
    )
    return replace(found, provenance=record, network=network, layout=words, layout_title=words)


def facts_with(words):
    return CardFacts(
        file=words,
        sha256="0" * 64,
        size=1,
        release=releases()[0],
        checks=(f"what `{words}` converts to", words),
        stripped=(words,),
        licence=words,
    )


@pytest.mark.parametrize("words", HOSTILE)
def test_a_card_of_a_hostile_record(found, words):
    facts = facts_with(words)
    card = model_card(hostile(found, words), facts)
    assert all(line.isprintable() for line in card.split("\n"))
    empty, front, body = card.split("---\n", 2)
    assert not empty
    told = yaml.safe_load(front)
    assert told["source"] == [words, words]
    assert told.get("license", "other") == "other"
    assert told.get("license_name", "") == words.lower()
    assert told["file"] == told["architecture"] == told["tags"][2] == words
    assert told["preprocessing"]["mean_file"] == {"name": words}
    shown = page(body)
    plain = model_card(
        hostile(found, "fine"), replace(facts, file="x.pth", checks=("fine", "fine"), stripped=("x",))
    )
    assert shown.tags == page(plain.split("---\n", 2)[2]).tags
    headings = [line for line in body.split("\n") if line.startswith("#")]
    assert len(headings) == sum(line.startswith("#") for line in plain.split("\n"))
    assert "<script" not in body
    assert "![" not in body


@pytest.mark.full
@pytest.mark.skipif(chromium.PATH is None, reason=chromium.MISSING)
def test_hostile_cards_in_a_browser(found, tmp_path):
    """All of them in one page, with raw HTML allowed: there is no element but those of a harmless card, no address but
    the release's, and every text is there to be read."""
    render = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render
    cards = [model_card(hostile(found, words), facts_with(words)) for words in ("fine", *HOSTILE)]
    sections = [f"<section>{render(card.split(HEAD_END, 2)[2])}</section>" for card in cards]
    path = tmp_path / "cards.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{''.join(sections)}", encoding="utf-8")
    with chromium.chromium(tmp_path / "profile") as browser:
        browser.open(path.as_uri())
        elements, attributes, texts = browser.value(
            "(() => {const of = (s, f) => [...s.querySelectorAll('*')].map(f);"
            "const all = [...document.querySelectorAll('section')];"
            "return [all.map(s => [...new Set(of(s, e => e.localName))].sort()),"
            "all.map(s => of(s, e => [...e.attributes].map(a => [a.name, a.value])).flat()),"
            "all.map(s => s.textContent)]})()"
        )
        assert browser.requests() == [path.as_uri()]
        assert browser.complaints() == []
    assert len(texts) == len(cards)
    wanted = ["class", "language-python"], ["href", releases()[0].url]
    for words, names, found_attributes, shown in zip(
        ("fine", *HOSTILE), elements, attributes, texts, strict=True
    ):
        assert names == elements[0], words
        assert all(one in wanted for one in found_attributes), words
        assert " ".join(printable(words).split()) in " ".join(shown.split())


def test_a_deep_record_does_not_hang_a_card(found):
    deep = 0
    for _ in range(400):
        deep = [deep]
    network = found.network.replace(
        input={**found.network.input, "deep": deep, "other": {"a": {"b": {"c": {}}}}}
    )
    facts = CardFacts(file="x.pth", sha256="0" * 64, size=1, release=None, checks=(), stripped=())
    assert "deep" not in model_card(replace(found, network=network), facts)


def test_without_pyyaml_nothing_is_published(zoo, tmp_path, monkeypatch):
    convert(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path / "net.pth", source="vmz")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConverterError, match="needs the package PyYAML") as caught:
        publish(tmp_path / "net.pth")
    assert "[publish]" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]
