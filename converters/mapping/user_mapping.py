"""Read a user's mapping file: a table from the names of one file to those of another.

Templates with an index expand into a finite list of exact pairs, and every limit is checked before anything is
expanded: such a file comes from anywhere. The grammar is described in ``docs/mapping-files.md``.
"""

from __future__ import annotations

import re
import tomllib
from itertools import chain, groupby, product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.files import SourceFile
from converters.formats.registry import layout_formats
from converters.record import Record
from converters.tensor import ITEMSIZE

from .axis_change import parse_axes
from .parse import Check, TableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .axis_change import AxisChange

LARGEST_FILE = 4 << 20
MOST_ROWS = 50_000
"""Exact rows, and values of one index: many times what the largest known network has."""
LONGEST_NAME = 1000
"""Characters of an expanded name."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,30})\}|[{}]")
_RANGE = re.compile(r"(0|[1-9][0-9]{0,8})(?:-(0|[1-9][0-9]{0,8}))?(?:\*([1-9][0-9]{0,5}))?")

_TEXTS = re.compile(r'"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\'|#[^\n]*+')
_DEEP = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){9}")
"""A dotted key with more parts than the grammar has. The TOML parser needs quadratic time for such keys."""


class MappingError(TableError):
    """A mapping file cannot be read or does not follow the grammar. Names the file and the key. Exit code 3."""

    exit_code = 3


class Constant(NamedTuple):
    """A tensor that the other side's files do not store: its value, and its dtype and shape, or the tensor on its
    own side that it is as large as."""

    value: float
    dtype: str
    shape: tuple[int, ...]
    like: str


class Side(Record):
    """The files of one side. ``left_over`` are tensors that have no row yet; ``slash_keys`` are patterns of the keys of
    nested dictionaries that contain slashes."""

    name: str
    title: str
    format: str
    container: str
    drop: tuple[str, ...]
    constants: Mapping[str, Constant]
    left_over: tuple[str, ...]
    slash_keys: tuple[str, ...]


class Pair(Record):
    """One tensor under both names. ``axes`` is None where they stay as they are.

    The right file's values are the left one's over the number in ``over``, a tensor of the left file alone, and times
    the one in ``times``, a tensor of the right file alone; each may be empty.
    """

    left: str
    right: str
    axes: AxisChange | None
    over: str
    times: str


class UserMapping(Record):
    """A mapping file, expanded: ``left`` are the files it reads, ``right`` those it writes.

    ``unsure`` are proposals that nobody has confirmed, ``accepted_rows`` how many of them are among the pairs now;
    ``sha256`` is that of the file's bytes.
    """

    path: str
    title: str
    left: Side
    right: Side
    pairs: tuple[Pair, ...]
    unsure: tuple[Pair, ...]
    accepted_rows: int
    sha256: str
    reverse: bool

    @property
    def open_points(self) -> int:
        """How many points wait for a person: unsure rows, and tensors left over on a side."""
        return len(self.unsure) + len(self.left.left_over) + len(self.right.left_over)

    def reversed(self) -> UserMapping:
        """The same table from right to left."""
        return self.replace(
            left=self.right,
            right=self.left,
            pairs=tuple(_turned(pair) for pair in self.pairs),
            unsure=tuple(_turned(pair) for pair in self.unsure),
            reverse=not self.reverse,
        )

    def accepted(self) -> UserMapping:
        """The same with the unsure rows as rows, and what is left over dropped."""
        return self.replace(
            pairs=self.pairs + self.unsure,
            unsure=(),
            accepted_rows=len(self.unsure),
            left=self.left.replace(drop=self.left.drop + self.left.left_over, left_over=()),
            right=self.right.replace(left_over=()),
        )


def side_formats() -> tuple[str, ...]:
    """What the files of a side come as. An ONNX model is only read: a mapping has no network that could be written."""
    return (*layout_formats(), "onnx")


def load_mapping(path: str) -> UserMapping:
    """Read a mapping file. Raises `MappingError` where it does not follow the grammar, `BadInput` where it cannot
    be opened."""
    from hashlib import sha256

    with SourceFile(path) as file:
        if file.size > LARGEST_FILE:
            raise MappingError(f"is not a mapping file: it has more than {LARGEST_FILE >> 20} MB", path=path)
        text = file.read_at(0, file.size)
    return parse_mapping(text, path, sha256(text.replace(b"\r\n", b"\n")).hexdigest())


def parse_mapping(text: bytes, path: str, sha256: str = "") -> UserMapping:
    """A mapping from the bytes of its file. Raises `MappingError`."""
    check = Check(path, MappingError)
    try:
        decoded = text.decode()
        check.that(not _DEEP.search(_TEXTS.sub("x", decoded)), "", "is nested too deeply")
        raw = tomllib.loads(decoded)
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise MappingError(f"is not valid TOML: {_short(str(error))}", path=path) from None
    except RecursionError:
        raise MappingError("is nested too deeply", path=path) from None
    check.keys(raw, "", set(), {"title", "from", "to", "index", "tensors", "unsure"})
    check.that(isinstance(raw.get("title", ""), str), "title", "must be a string")
    indexes = _Indexes(check, _table(check, raw.get("index", {}), "index"))
    pairs = tuple(_pairs(check, indexes, raw, "tensors"))
    unsure = tuple(_pairs(check, indexes, raw, "unsure"))
    check.that(bool(pairs or unsure), "tensors", "has no row")
    left, right = (_side(check, indexes, raw, key) for key in ("from", "to"))
    both = (*pairs, *unsure)
    for side, key, stored, divisors in (
        (left, "from", [pair.left for pair in both], {pair.over for pair in both}),
        (right, "to", [pair.right for pair in both], {pair.times for pair in both}),
    ):
        rows, seen = set(stored), set[str]()
        for name in chain(stored, side.constants, side.left_over):
            check.that(name not in divisors, key, f"has a row for {name!r}, which others are multiplied by")
            check.that(name not in seen, key, f"has two rows for {name!r}: a tensor is one row's")
            seen.add(name)
        for name, constant in side.constants.items():
            check.that(
                not constant.like or constant.like in rows,
                f"{key}.constants",
                f"{name!r} is like {constant.like!r}, which no row has",
            )
    for name in indexes.unused():
        check.that(False, f"index.{name}", "is used by no row")
    return UserMapping(
        path=path,
        title=raw.get("title", ""),
        left=left,
        right=right,
        pairs=pairs,
        unsure=unsure,
        accepted_rows=0,
        sha256=sha256,
        reverse=False,
    )


def _turned(pair: Pair) -> Pair:
    return Pair(
        left=pair.right,
        right=pair.left,
        axes=pair.axes.turned() if pair.axes else None,
        over=pair.times,
        times=pair.over,
    )


class _Template(NamedTuple):
    """A name in pieces: literal texts, and placeholders in between. ``texts`` is one longer than ``placeholders``."""

    texts: tuple[str, ...]
    placeholders: tuple[str, ...]

    def fill(self, values: Mapping[str, str]) -> str:
        return self.texts[0] + "".join(
            values[placeholder] + text
            for placeholder, text in zip(self.placeholders, self.texts[1:], strict=True)
        )


_EMPTY = _Template(("",), ())


class _Indexes:
    """The columns that templates are filled with, by index."""

    def __init__(self, check: Check, raw: Mapping[str, Any]) -> None:
        self._check = check
        self._rows = 0
        self._used: set[str] = set()
        self.of_column: dict[str, str] = {}
        self.columns: dict[str, dict[str, list[str]]] = {}
        for name, columns in raw.items():
            where = f"index.{name}"
            check.that(isinstance(columns, dict) and bool(columns), where, "must have columns")
            self.columns[name] = {}
            for column, values in columns.items():
                whole = _PLACEHOLDER.fullmatch(f"{{{column}}}")
                check.that(bool(whole and whole[1]), where, f"{column!r} is not a valid name for a column")
                check.that(column not in self.of_column, where, f"there is a column {column!r} already")
                self.of_column[column] = name
                self.columns[name][column] = _values(check, f"{where}.{column}", values)
            lengths = {len(values) for values in self.columns[name].values()}
            check.that(len(lengths) == 1, where, "has columns of unequal lengths, but they go together")

    def unused(self) -> list[str]:
        return [name for name in self.columns if name not in self._used]

    def template(self, where: str, text: object) -> _Template:
        """A name template. Raises for a brace outside of a placeholder, and for a placeholder without a column."""
        self._check.that(isinstance(text, str) and bool(text), where, "is not a name")
        texts, placeholders, start = [""], [], 0
        for match in _PLACEHOLDER.finditer(str(text)):
            texts[-1] += str(text)[start : match.start()]
            start = match.end()
            if match[1]:
                self._check.that(match[1] in self.of_column, where, f"there is no column {match[1]!r}")
                placeholders.append(match[1])
                texts.append("")
            else:
                self._check.that(
                    len(match[0]) == 2, where, "has a single brace: write {{ or }} for a literal one"
                )
                texts[-1] += match[0][0]
        texts[-1] += str(text)[start:]
        return _Template(tuple(texts), tuple(placeholders))

    def names_of(self, *templates: _Template) -> tuple[str, ...]:
        """The indexes that templates are filled from, in the table's order."""
        used = {
            self.of_column[placeholder] for template in templates for placeholder in template.placeholders
        }
        return tuple(name for name in self.columns if name in used)

    def expansions(self, where: str, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
        """The values of every placeholder, for every combination of the indexes' rows; counted first."""
        sizes = [len(next(iter(self.columns[name].values()))) for name in names]
        self._rows += prod(sizes)
        self._check.that(self._rows <= MOST_ROWS, where, f"expands into more than {MOST_ROWS:,} rows")
        self._used.update(names)
        for places in product(*map(range, sizes)):
            yield {
                column: values[place]
                for name, place in zip(names, places, strict=True)
                for column, values in self.columns[name].items()
            }

    def fill(self, where: str, template: _Template, values: Mapping[str, str]) -> str:
        size = sum(map(len, template.texts)) + sum(
            len(values[placeholder]) for placeholder in template.placeholders
        )
        self._check.that(size <= LONGEST_NAME, where, f"has names of more than {LONGEST_NAME:,} characters")
        return template.fill(values)


def _values(check: Check, where: str, raw: object) -> list[str]:
    """A column: a list of strings or whole numbers, or a string of numbers such as ``"0-2 5 7*3"``."""
    if isinstance(raw, str):
        out: list[str] = []
        for word in raw.split():
            match = _RANGE.fullmatch(word)
            low, high, times = (
                (int(match[1]), int(match[2] or match[1]), int(match[3] or 1)) if match else (0, 0, 0)
            )
            check.that(
                match is not None and low <= high,
                where,
                f"{word!r} is not a number, LOW-HIGH or either*TIMES",
            )
            count = (high - low + 1) * times
            check.that(len(out) + count <= MOST_ROWS, where, f"has more than {MOST_ROWS:,} values")
            out += [str(number) for number in range(low, high + 1)] * times
    else:
        check.that(
            isinstance(raw, list)
            and all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in raw),
            where,
            'must be a string such as "0-3 5*2" or a list of strings and whole numbers',
        )
        listed: list[object] = raw if isinstance(raw, list) else []
        check.that(len(listed) <= MOST_ROWS, where, f"has more than {MOST_ROWS:,} values")
        check.that(
            all(isinstance(value, str) or abs(int(str(value))) < 10**9 for value in listed),
            where,
            "has a number too large",
        )
        out = [str(value) for value in listed]
    check.that(bool(out), where, "has no value")
    check.that(all(len(value) <= LONGEST_NAME for value in out), where, "has a value too long for a name")
    return out


def _pairs(check: Check, indexes: _Indexes, raw: Mapping[str, Any], section: str) -> Iterator[Pair]:
    """Every pair of a section. Rows of one index that stand together expand block by block."""
    rows = [
        _row(check, indexes, section, key, value)
        for key, value in _table(check, raw.get(section, {}), section).items()
    ]
    for first, group in groupby(rows, key=lambda row: row.indexes[:1]):
        group_rows = list(group)
        blocks = [list(_expanded(indexes, section, row)) for row in group_rows]
        if not first:
            yield from chain.from_iterable(blocks)
            continue
        length = len(next(iter(indexes.columns[first[0]].values())))
        for block in range(length):
            for pairs in blocks:
                count = len(pairs) // length
                yield from pairs[block * count : (block + 1) * count]


class _Row(Record):
    """A row with its templates; ``over`` and ``times`` are empty where it has none."""

    indexes: tuple[str, ...]
    left: _Template
    right: _Template
    axes: AxisChange | None
    over: _Template
    times: _Template


def _row(check: Check, indexes: _Indexes, section: str, key: str, value: object) -> _Row:
    where = f"{section}.{_short(key)}"
    if isinstance(value, str):
        value = {"to": value}
    check.that(isinstance(value, dict), where, 'must be a name, or { to = "name", axes = "..." }')
    row: dict[str, Any] = value if isinstance(value, dict) else {}
    check.keys(row, where, {"to"}, {"axes", "sizes", "over", "times"})
    left, right = indexes.template(where, key), indexes.template(where, row["to"])
    names = indexes.names_of(left, right)
    for side in (left, right):
        check.that(
            indexes.names_of(side) == names,
            where,
            "must use the same index on both sides: the table is read in both directions",
        )
    factors = {
        word: indexes.template(where, row[word]) if word in row else _EMPTY for word in ("over", "times")
    }
    check.that(set(indexes.names_of(*factors.values())) <= set(names), where, "has a factor of another index")
    check.that("axes" in row or "sizes" not in row, where, "has sizes but no axes")
    return _Row(
        indexes=names,
        left=left,
        right=right,
        axes=parse_axes(check, where, row["axes"], row.get("sizes", {})) if "axes" in row else None,
        **factors,
    )


def _expanded(indexes: _Indexes, section: str, row: _Row) -> Iterator[Pair]:
    where = f"{section}.{_short(''.join(row.left.texts))}"
    for values in indexes.expansions(where, row.indexes):
        names = {
            word: indexes.fill(where, getattr(row, word), values)
            for word in ("left", "right", "over", "times")
        }
        yield Pair(axes=row.axes, **names)


def _side(check: Check, indexes: _Indexes, raw: Mapping[str, Any], key: str) -> Side:
    row = _table(check, raw.get(key, {}), key)
    check.keys(row, key, set(), {"format", "drop", "constants", "left_over", "slash_keys"})
    format_ = row.get("format", "pytorch")
    check.that(
        isinstance(format_, str) and format_ in side_formats(),
        f"{key}.format",
        f"is not one of {', '.join(side_formats())}",
    )
    lists: dict[str, list[str]] = {word: row.get(word, []) for word in ("drop", "left_over", "slash_keys")}
    for word, texts in lists.items():
        check.that(
            isinstance(texts, list)
            and len(texts) <= MOST_ROWS
            and all(isinstance(text, str) and 0 < len(text) <= LONGEST_NAME for text in texts),
            f"{key}.{word}",
            "must be a list of names",
        )
    constants: dict[str, Constant] = {}
    for name, value in _table(check, row.get("constants", {}), f"{key}.constants").items():
        where = f"{key}.constants.{_short(name)}"
        for exact, constant in _constants(check, indexes, where, name, value):
            check.that(exact not in constants, where, f"there are two constants {exact!r}")
            constants[exact] = constant
    return Side(
        name=key,
        title=key,
        format=format_,
        container="state_dict",
        drop=tuple(lists["drop"]),
        constants=constants,
        left_over=tuple(lists["left_over"]),
        slash_keys=tuple(lists["slash_keys"]),
    )


def _constants(
    check: Check, indexes: _Indexes, where: str, name: str, value: object
) -> Iterator[tuple[str, Constant]]:
    """``{ value = 1.0, like = "..." }``, or with ``dtype`` and ``shape`` in place of ``like``."""
    row = _table(check, value, where)
    check.keys(row, where, {"value"}, {"like", "dtype", "shape"})
    number, dtype, shape = row["value"], row.get("dtype", ""), row.get("shape", [])
    check.that(
        isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e30,
        where,
        "value must be a number",
    )
    check.that(("like" in row) != ("shape" in row), where, "needs a shape, or a tensor that it is like")
    check.that(isinstance(dtype, str) and dtype in ("", *ITEMSIZE), where, "has an unknown dtype")
    check.that(
        isinstance(shape, list)
        and len(shape) <= 8
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 20 for size in shape)
        and prod(shape) < 1 << 20,
        where,
        "shape must be a list of a few sizes",
    )
    template = indexes.template(where, name)
    like = indexes.template(where, row["like"]) if "like" in row else _EMPTY
    indexes_used = set(indexes.names_of(template))
    check.that(indexes_used >= set(indexes.names_of(like)), where, "is like a tensor of another index")
    for values in indexes.expansions(where, indexes.names_of(template)):
        constant = Constant(
            float(number),
            dtype or ("" if like.texts != ("",) else "float32"),
            tuple(shape),
            indexes.fill(where, like, values),
        )
        yield indexes.fill(where, template, values), constant


def _table(check: Check, value: object, where: str) -> dict[str, Any]:
    check.that(isinstance(value, dict), where, "must be a table")
    return value if isinstance(value, dict) else {}


def _short(key: str) -> str:
    return key if len(key) <= 60 else f"{key[:57]}..."
