"""Options as the command line spells them (``--variant NAME``), said as Python or a batch's manifest does.

Messages are written once, for the command line. In Python, where they are an exception's text, an option is a keyword
(``variant=``); in a manifest it is a key (``variant = "NAME"``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_COMMANDS = re.compile(r"(`[^`]*`)")
_SOURCE = re.compile(r"`convert (\S+) \.\.\.`")
_SOURCES = re.compile(rf"(?:use|say which:) {_SOURCE.pattern}(?: or {_SOURCE.pattern})*")
_PATTERNS = re.compile(r"--drop '([^']*)'(?: --drop '([^']*)')*")
_PATTERN = re.compile(r"--drop '([^']*)'")
_SETTING = re.compile(r"--set ([a-z]\w*)=(\w+)")
_OPTION = re.compile(
    r"(?<![\w-])(?P<leave>leave )?--(?P<name>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)"
    r"(?P<value> [^\s`'\"]+?(?=[,;:)]|\.?$|\. ))?(?![\w-])"
)

_SWITCHES = (
    *("accept-unsure", "backbone", "check", "dry-run", "fail-fast", "force", "hash", "inverse-std", "resume"),
    *("reverse", "sha256", "stats", "strict", "verify", "wrap"),
)
_VALUES = (
    *("channels", "clip", "device", "drop", "dtype", "entry", "entry-a", "entry-b", "folder", "head", "html"),
    *("jobs", "junit", "labels", "layout", "layout-a", "layout-b", "license", "mapping", "mean", "memory"),
    *("model", "name", "push", "require", "results", "retries", "scheduler", "seed", "source", "to"),
    "variant",
)
_KEYWORDS = {
    **{name: name.replace("-", "_") for name in (*_SWITCHES, *_VALUES)},
    "inflate": "rule",
    "set": "settings",
}
_OFF = {"no-checksum": "checksum", "no-inverse-std": "inverse_std", "no-values": "values"}


class _Spelling(NamedTuple):
    """How options are said: ``value`` with what they are set to, ``name`` alone. ``known`` are those that there are."""

    value: Callable[[str, str], str]
    name: Callable[[str], str]
    patterns: Callable[[list[str]], str]
    setting: str
    faults: str
    known: Container[str]


_PYTHON = _Spelling(
    value=lambda keyword, value: f"{keyword}={value}",
    name=lambda keyword: f"{keyword}=",
    patterns=lambda patterns: f"drop={patterns!r}",
    setting=r'settings={"\1": "\2"}',
    faults="the exception's .faults lists",
    known={*_KEYWORDS.values(), *_OFF.values()},
)


def in_python(text: str) -> str:
    """A message with its options as keywords: ``variant=``, ``force=True``. Commands in backticks stay as they are,
    save those that only name a source's layout."""
    return _said(_with_layouts(text), _PYTHON, on="True", off="False")


def in_manifest(text: str, keys: Container[str]) -> str:
    """A message with its options as keys of a manifest's row: ``'variant'``, ``check = true``. Whatever is none of the
    ``keys`` stays as it is."""
    spelling = _Spelling(
        value=lambda key, value: f"{key} = {value}",
        name=lambda key: f"'{key}'",
        patterns=lambda patterns: f"drop = {patterns!r}",
        setting=r'settings = { \1 = "\2" }',
        faults="its page lists",
        known=keys,
    )
    return _said(_with_layouts(text), spelling, on="true", off="false")


def _with_layouts(text: str) -> str:
    """A message that names layouts, where for the command line it names commands that begin with them."""
    return _SOURCES.sub(
        lambda found: "name the layout: " + " or ".join(map(repr, _SOURCE.findall(found[0]))), text
    )


def _said(text: str, spelling: _Spelling, *, on: str, off: str) -> str:
    if "--" not in text:
        return text

    def option(found: re.Match[str]) -> str:
        name, leave, value = found["name"], found["leave"] or "", found["value"] or ""
        keyword = _OFF.get(name) or _KEYWORDS.get(name, "")
        if keyword not in spelling.known:
            return found[0]
        if leave:
            return f"{leave}{spelling.name(keyword).rstrip('=')}{value}"
        if name in _OFF:
            return f"{spelling.value(keyword, off)}{value}"
        if name in _SWITCHES:
            return f"{spelling.value(keyword, on)}{value}"
        return spelling.value(keyword, f'"{value.strip()}"') if value else spelling.name(keyword)

    def translated(text: str) -> str:
        text = text.replace("--json lists", spelling.faults)
        text = _PATTERNS.sub(lambda found: spelling.patterns(_PATTERN.findall(found[0])), text)
        text = _SETTING.sub(spelling.setting, text)
        return _OPTION.sub(option, text)

    pieces = _COMMANDS.split(text)
    return "".join(piece if index % 2 else translated(piece) for index, piece in enumerate(pieces))
