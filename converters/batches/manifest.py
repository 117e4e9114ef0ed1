"""A manifest: which files become what. TOML, checked; every error names the line and the key."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.output_names import fill, holes
from converters.conversion.write import output_format
from converters.errors import BadInput, UsageError
from converters.files import SourceFile
from converters.mapping.catalog import layout_names, load_layout
from converters.mapping.network_info import LONGEST_STRIDE
from converters.tensor import FLOATS

from .storage import PROTOCOLS, is_remote, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOLES = ("stem", "folder", "to", "source")
"""What an output's name may have: the input's name without suffix, the folder it lies in, the two layouts."""

RUN = "run"
"""The value of ``verify`` that asks for `verification.verify`."""

LIMIT = 16 << 20
"""Bytes that a manifest may have."""

_HEADER = re.compile(r"\s*\[\[\s*convert\s*\]\]")


class Row(NamedTuple):
    """One ``[[convert]]``. ``options`` are keywords of `converters.convert`, ``line`` is where the row begins."""

    line: int
    source: str
    input: str
    sha256: str
    to: tuple[str, ...]
    output: str
    options: Mapping[str, Any]


class Manifest(NamedTuple):
    """A manifest's rows. Paths in it are relative to ``folder``."""

    path: str
    folder: str
    rows: tuple[Row, ...]


class _Wrong(Exception):
    """What is wrong at a key of the manifest."""

    def __init__(self, what: str, *key: str | int, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.key = key
        self.hint = hint


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a manifest.

    Raises `BadInput` where it cannot be read or is no TOML, `UsageError` where a row is wrong.
    """
    path = os.fspath(path)
    with SourceFile(path) as file:
        if file.size > LIMIT:
            raise BadInput("is too long for a manifest", path=path)
        data = file.read_at(0, file.size)
    try:
        text = data.decode("utf-8-sig")  # some editors begin a text with a mark
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise BadInput("is not UTF-8", path=path, where=f"byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        where = where.rstrip(")").replace("end of document", f"line {len(text.splitlines())}, the end")
        raise BadInput(f"is not valid TOML: {what}", path=path, where=where) from None
    except RecursionError:
        raise BadInput("is not valid TOML: nested too deeply", path=path) from None
    try:
        rows = _rows(text, table)
    except _Wrong as error:
        line = line_of(text, error.key)
        where = f"line {line}, {_spelled(error.key)}" if error.key else ""
        raise UsageError(error.what, path=path, where=where, hint=error.hint) from None
    return Manifest(path, os.path.dirname(os.path.abspath(path)), tuple(rows))


def line_of(text: str, key: tuple[str | int, ...]) -> int:
    """The line at which a key of a TOML document stands, ``("convert", 2, "to")`` for that of the third row.

    Ever longer beginnings of the document are parsed until the key is there: quotes and brackets are TOML's to
    understand.
    """
    lines = text.splitlines(keepends=True)
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    # Some of these may be inside a text, so the row's own is this one or a later one.
    row = key[1] if len(key) > 1 and key[0] == "convert" else None
    before = headers[row] if isinstance(row, int) and row < len(headers) else 0
    for end in range(before + 1, len(lines) + 1):
        found = _parsed(lines[:end])
        if found is not None:
            if _has(found, key):
                break
            before = end
    while before < len(lines) - 1 and re.fullmatch(r"\s*(#.*)?", lines[before].rstrip("\r\n")):
        before += 1
    return before + 1


def _parsed(lines: list[str]) -> Any:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _has(found: Any, key: tuple[str | int, ...]) -> bool:
    for part in key:
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _spelled(key: tuple[str | int, ...]) -> str:
    text = str(key[0])
    for part in key[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _rows(text: str, table: Mapping[str, Any]) -> list[Row]:
    for key in table:
        if key not in ("convert", "defaults"):
            raise _Wrong(f"there is no {key!r} in a manifest", key, hint="[defaults] and [[convert]] are")
    defaults = table.get("defaults", {})
    if not isinstance(defaults, dict):
        raise _Wrong("must be a table", "defaults")
    _check(defaults, "defaults", without=("input", "sha256"))
    listed = table.get("convert", [])
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise _Wrong("must be tables: [[convert]]", "convert")
    if not listed:
        raise _Wrong("has no [[convert]]: nothing to do")
    starts = _starts(text, len(listed))
    return [_row(row, defaults, number, starts[number]) for number, row in enumerate(listed)]


def _starts(text: str, count: int) -> list[int]:
    """The line of each ``[[convert]]``, where they are all written so; else those found by parsing."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if _HEADER.match(line)]
    return found if len(found) == count else [line_of(text, ("convert", number)) for number in range(count)]


def _row(raw: Mapping[str, Any], defaults: Mapping[str, Any], number: int, line: int) -> Row:
    _check(raw, "convert", number)
    row = {**defaults, **raw}

    def place(key: str) -> tuple[str | int, ...]:
        return ("convert", number, key) if key in raw else ("defaults", key)

    for key in ("input", "to", "output"):
        if key not in row:
            raise _Wrong(f"has no {key!r}", "convert", number)
    to = (row["to"],) if isinstance(row["to"], str) else tuple(row["to"])
    source = row.get("source", "auto")
    known = {"stem": "stem", "folder": "folder", "source": source}
    if len(to) > 1 and "to" not in holes(row["output"]):
        raise _Wrong("needs {to}: there are several layouts", *place("output"))
    for name in to:
        try:
            kind = output_format(fill(row["output"], {**known, "to": name}), load_layout(name))
        except UsageError as error:
            raise _Wrong(error.what, *place("output"), hint=error.hint) from None
        if kind == "tensorflow" and is_remote(row["output"]):
            raise _Wrong("a TensorFlow checkpoint is several files: write it to a folder", *place("output"))
        if row.get("wrap") and kind != "pth":
            raise _Wrong("only a .pth has a wrapper", *place("wrap"))
    for key in ("input", "output"):
        if is_remote(row[key]) and protocol(row[key]) not in PROTOCOLS:
            raise _Wrong(
                f"{protocol(row[key])}:// is not supported",
                *place(key),
                hint=f"there are {', '.join(PROTOCOLS)}",
            )
    if is_remote(row["output"]) and protocol(row["output"]) != "s3":
        raise _Wrong("outputs go to folders and s3://", *place("output"))
    if protocol(row["input"]) == "http" and "sha256" not in row:
        raise _Wrong("http:// needs a sha256: anybody on the way can change it", *place("input"))
    if row.get("verify") == RUN and "dtype" in row:
        raise _Wrong('a cast does not come back: no verify = "run"', *place("verify"))
    options = {key: value for key, value in row.items() if key in _OPTIONS}
    return Row(line, source, row["input"], row.get("sha256", "").lower(), to, row["output"], options)


def _check(row: Mapping[str, Any], *key: str | int, without: tuple[str, ...] = ()) -> None:
    """Every key known, every value of its kind."""
    for name, value in row.items():
        if name not in _KEYS or name in without:
            from difflib import get_close_matches

            names = [one for one in _KEYS if one not in without]
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise _Wrong(f"there is no key {name!r} here", *key, name, hint=hint)
        fault = _KEYS[name](value)
        if fault:
            raise _Wrong(fault, *key, name)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        return "must be a text that is not empty"
    return ""


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _verify(value: Any) -> str:
    return "" if isinstance(value, bool) or value == "run" else 'must be true, false or "run"'


def _layout(value: Any) -> str:
    if _text(value):
        return _text(value)
    if value not in layout_names():
        return f"there is no layout {value!r}; there are {', '.join(layout_names())}"
    return ""


def _source(value: Any) -> str:
    return "" if value == "auto" else _layout(value)


def _layouts(value: Any) -> str:
    if isinstance(value, str):
        return _layout(value)
    if not isinstance(value, list) or not value:
        return "must be a layout or several"
    if len(set(map(str, value))) != len(value):
        return "names a layout twice"
    return next((fault for one in value if (fault := _layout(one))), "")


def _digest(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{64})", value):
        return ""
    return "must be a SHA-256, or its first 8 hexadecimal digits"


def _pattern(value: Any) -> str:
    if _text(value):
        return _text(value)
    try:
        fill(value, dict.fromkeys(HOLES, ""))
    except UsageError as error:
        return f"{error.what}; {error.hint}" if error.hint else error.what
    return ""


def _dtype(value: Any) -> str:
    return "" if value in FLOATS else f"must be one of {', '.join(FLOATS)}"


def _stride(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_STRIDE:
        return ""
    return f"must be a whole number from 1 to {LONGEST_STRIDE}"


_OPTIONS: dict[str, Callable[[Any], str]] = {
    "verify": _verify,
    "dtype": _dtype,
    "variant": _text,
    "entry": _text,
    "head": _text,
    "backbone": _flag,
    "inverse_std": _flag,
    "pool1": _flag,
    "stem_stride": _stride,
    "wrap": _flag,
    "strict": _flag,
    "checksum": _flag,
}
"""The keywords of `converters.convert` that a row may have; ``verify`` may be ``"run"`` as well."""

_KEYS: dict[str, Callable[[Any], str]] = {
    "source": _source,
    "input": _text,
    "sha256": _digest,
    "to": _layouts,
    "output": _pattern,
    **_OPTIONS,
}
