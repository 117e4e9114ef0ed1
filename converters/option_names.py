"""Options as the command line spells them (``--variant NAME``), said as Python does (``variant=``).

Messages are written once, for the command line. In Python, where they are an exception's text, an option is a keyword.
"""

from __future__ import annotations

import re

_COMMANDS = re.compile(r"(`[^`]*`)")
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
    *("model", "name", "require", "results", "retries", "scheduler", "seed", "source", "to", "variant"),
)
_KEYWORDS = {
    **{name: name.replace("-", "_") for name in (*_SWITCHES, *_VALUES)},
    "inflate": "rule",
    "set": "settings",
}
_OFF = {"no-checksum": "checksum", "no-inverse-std": "inverse_std", "no-values": "values"}


def in_python(text: str) -> str:
    """A message with its options as keywords: ``variant=``, ``force=True``. Commands in backticks stay as they are."""
    pieces = _COMMANDS.split(text)
    return "".join(piece if index % 2 else _translated(piece) for index, piece in enumerate(pieces))


def _translated(text: str) -> str:
    if "--" not in text:
        return text
    text = text.replace("--json lists", "the exception's .faults lists")
    text = _PATTERNS.sub(lambda found: f"drop={_PATTERN.findall(found[0])!r}", text)
    text = _SETTING.sub(r'settings={"\1": "\2"}', text)
    return _OPTION.sub(_keyword, text)


def _keyword(found: re.Match[str]) -> str:
    name, leave, value = found["name"], found["leave"] or "", found["value"] or ""
    if name in _OFF:
        keyword = f"{_OFF[name]}=False"
    elif name not in _KEYWORDS:
        return found[0]
    else:
        keyword = _KEYWORDS[name]
        if leave:
            return f"{leave}{keyword}{value}"
        if name in _SWITCHES:
            keyword += "=True"
        elif value:
            return f'{keyword}="{value.strip()}"'
        else:
            keyword += "="
    return f"{leave}{keyword}{value}"
