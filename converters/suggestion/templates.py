"""Exact rows folded into templates: rows whose names differ in numbers only, numbers that go together."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"(\d+[a-z]?(?![A-Za-z0-9])|\d+)")
"""A number, with one letter behind it where it ends a word: ``3b``."""

_LETTERS = "nmkijlpqrstuvwxyzabcdefgho"

MOST_NUMBERS = 12
"""Numbers in a pair of names that are looked at; names with more stay as they are."""


class Line(NamedTuple):
    """A template row of a mapping. ``rows`` are the places of the exact rows that it stands for."""

    left: str
    right: str
    rows: tuple[int, ...]


class Index(NamedTuple):
    """An index of a mapping: a name, and columns that go together."""

    name: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]


def fold(pairs: Sequence[tuple[str, str, object]]) -> tuple[list[Line], list[Index]]:
    """Template rows for pairs of names, in the order of the first pair of each, and the indexes that they use.

    Pairs are folded together only where their third part is equal, and every template expands into exactly the
    pairs it stands for.
    """
    alike: dict[object, list[int]] = defaultdict(list)
    cut = [(_NUMBER.split(left), _NUMBER.split(right)) for left, right, _ in pairs]
    for place, (left, right) in enumerate(cut):
        many = len(left) // 2 + len(right) // 2 > MOST_NUMBERS
        alike[place if many else (tuple(left[::2]), tuple(right[::2]), pairs[place][2])].append(place)
    indexes: dict[tuple[tuple[str, ...], ...], Index] = {}
    lines: list[Line] = []
    for places in alike.values():
        numbers = [(*cut[place][0][1::2], *cut[place][1][1::2]) for place in places]
        for members, columns in _groups(numbers):
            rows = tuple(places[member] for member in members)
            lines.append(_line(cut[rows[0]], [numbers[member] for member in members], columns, rows, indexes))
    lines.sort(key=lambda line: line.rows[0])
    return lines, list(indexes.values())


def _groups(numbers: list[tuple[str, ...]]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Rows of numbers put into groups, each with the columns that vary in it and go together. Of all choices of one
    or two leading columns the one that takes the least room to write."""
    varying = [column for column in range(len(numbers[0])) if len({row[column] for row in numbers}) > 1]
    if not varying:
        return [([place], ()) for place in range(len(numbers))]
    best: list[tuple[list[int], tuple[int, ...]]] = []
    cost = 0
    for leading in (*((column,) for column in varying), *combinations(varying, 2)):
        found = _led(numbers, varying, leading)
        if found is None:
            continue
        held = {
            tuple(tuple(numbers[place][c] for place in members) for c in columns)
            for members, columns in found
        }
        size = 80 * len(found) + sum(len(spell(column)) + 8 for index in held for column in index)
        if not best or size < cost:
            best, cost = found, size
    return best


def _led(
    numbers: list[tuple[str, ...]], varying: list[int], leading: tuple[int, ...]
) -> list[tuple[list[int], tuple[int, ...]]] | None:
    """Groups in which the leading columns, and those that they decide, vary, and no others."""
    led = [c for c in varying if c in leading or _decides(numbers, leading, c)]
    apart: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(numbers):
        apart[tuple(row[c] for c in varying if c not in led)].append(place)
    found = []
    for members in apart.values():
        columns = tuple(c for c in led if len({numbers[place][c] for place in members}) > 1)
        if len({tuple(numbers[place][c] for c in led) for place in members}) != len(members):
            return None
        found.append((members, columns))
    return found


def _decides(numbers: list[tuple[str, ...]], leading: tuple[int, ...], column: int) -> bool:
    known: dict[tuple[str, ...], str] = {}
    return all(
        known.setdefault(tuple(row[c] for c in leading), row[column]) == row[column] for row in numbers
    )


def _line(
    cut: tuple[list[str], list[str]],
    numbers: list[tuple[str, ...]],
    columns: tuple[int, ...],
    rows: tuple[int, ...],
    indexes: dict[tuple[tuple[str, ...], ...], Index],
) -> Line:
    values = [tuple(row[column] for row in numbers) for column in columns]
    distinct = tuple(dict.fromkeys(values))
    left_numbers = len(cut[0]) // 2
    sides = [
        {c < left_numbers for c, column in zip(columns, values, strict=True) if column == one}
        for one in distinct
    ]
    # What one side alone tells apart would not come back: such rows stay apart.
    telling = [
        [one for one, where in zip(distinct, sides, strict=True) if side in where] for side in (True, False)
    ]
    assert all(len(set(zip(*one, strict=True))) == len(numbers) for one in telling) or len(numbers) == 1
    if len(numbers) == 1:
        return Line(escaped("".join(cut[0])), escaped("".join(cut[1])), rows)
    if distinct not in indexes:
        used = sum(len(index.columns) for index in indexes.values())
        names = [_column_name(used + number) for number in range(len(distinct))]
        indexes[distinct] = Index(f"index{len(indexes) + 1}", tuple(zip(names, distinct, strict=True)))
    holes = {values: name for name, values in indexes[distinct].columns}
    pieces = [list(cut[0]), list(cut[1])]
    texts = []
    for side, piece in enumerate(pieces):
        out = escaped(piece[0])
        for number in range(len(piece) // 2):
            column = number + side * left_numbers
            hole = holes[values[columns.index(column)]] if column in columns else ""
            out += f"{{{hole}}}" if hole else escaped(piece[2 * number + 1])
            out += escaped(piece[2 * number + 2])
        texts.append(out)
    return Line(texts[0], texts[1], rows)


def _column_name(number: int) -> str:
    letter, round_ = _LETTERS[number % len(_LETTERS)], number // len(_LETTERS)
    return f"{letter}{round_ + 1}" if round_ else letter


def escaped(name: str) -> str:
    """A name as a template for itself."""
    return name.replace("{", "{{").replace("}", "}}")


def spell(values: Sequence[str]) -> str:
    """A column as a mapping writes it, in TOML: ``"0-2*2 5"`` for whole numbers, else a list of texts."""
    if not all(
        value.isascii() and value.isdigit() and str(int(value)) == value and len(value) < 10
        for value in values
    ):
        return f"[{', '.join(quoted(value) for value in values)}]"
    numbers = [int(value) for value in values]
    words: list[tuple[int, int, int]] = []
    place = 0
    while place < len(numbers):
        low, end = numbers[place], place + 1
        if end < len(numbers) and numbers[end] == low:
            while end < len(numbers) and numbers[end] == low:
                end += 1
            words.append((low, low, end - place))
        else:
            while end < len(numbers) and numbers[end] == numbers[end - 1] + 1:
                end += 1
            word = (low, numbers[end - 1], 1)
            if words and words[-1][:2] == word[:2]:
                word = (*word[:2], words.pop()[2] + 1)
            words.append(word)
        place = end
    return quoted(
        " ".join(
            f"{low}{f'-{high}' if high > low else ''}{f'*{times}' if times > 1 else ''}"
            for low, high, times in words
        )
    )


def quoted(text: str) -> str:
    """A text as a TOML basic string."""
    out = []
    for c in text:
        if c in '"\\':
            out.append(f"\\{c}")
        elif c.isprintable() or c == " ":
            out.append(c)
        else:
            out.append(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}")
    return f'"{"".join(out)}"'
