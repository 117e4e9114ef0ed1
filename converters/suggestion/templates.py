"""Fold exact rows of a mapping into templates: rows whose names differ only in numbers that change together."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations, count, islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NUMBER = re.compile(r"(\d+[a-z]?(?![A-Za-z0-9])|\d+)")
"""A number, with one letter after it where it ends a word: ``3b``."""

_LETTERS = "nmkijlpqrstuvwxyzabcdefgho"

MAX_NUMBERS = 12
"""Numbers in a pair of names; pairs with more stay as they are."""


class TemplateRow(NamedTuple):
    """A row of a mapping with placeholders. ``places`` are those of the exact pairs that it stands for."""

    left: str
    right: str
    places: tuple[int, ...]


class Index(NamedTuple):
    """An index of a mapping: its name, and columns of values that go together."""

    name: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]


def fold(pairs: Sequence[tuple[str, str, object]]) -> tuple[list[TemplateRow], list[Index]]:
    """Template rows for pairs of names, in the order of the first pair of each, and the indexes that they use.

    Pairs are folded together only where their third items are equal. Every template expands into exactly the pairs that
    it stands for.
    """
    alike: dict[object, list[int]] = defaultdict(list)
    split = [(_NUMBER.split(left), _NUMBER.split(right)) for left, right, _ in pairs]
    for place, (left, right) in enumerate(split):
        many = len(left) // 2 + len(right) // 2 > MAX_NUMBERS
        alike[place if many else (tuple(left[::2]), tuple(right[::2]), pairs[place][2])].append(place)
    indexes: dict[tuple[tuple[str, ...], ...], Index] = {}
    names = map(_column_name, count())
    rows: list[TemplateRow] = []
    for places in alike.values():
        numbers = [(*split[place][0][1::2], *split[place][1][1::2]) for place in places]
        for members, columns in _groups(numbers):
            group = tuple(places[member] for member in members)
            own = [numbers[member] for member in members]
            rows.append(TemplateRow(*_templates(split[group[0]], own, columns, indexes, names), group))
    rows.sort(key=lambda row: row.places[0])
    return rows, list(indexes.values())


def _groups(numbers: list[tuple[str, ...]]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Group rows of numbers, each group with the columns that vary in it and go together. Of all choices of one or two
    leading columns it is the one that is shortest to write."""
    varying = [column for column in range(len(numbers[0])) if len({row[column] for row in numbers}) > 1]
    if not varying:
        return [([place], ()) for place in range(len(numbers))]
    best: list[tuple[list[int], tuple[int, ...]]] = []
    cost = 0
    for leading in (*((column,) for column in varying), *combinations(varying, 2)):
        groups = _led(numbers, varying, leading)
        if groups is None:
            continue
        indexes = {
            tuple(tuple(numbers[place][c] for place in members) for c in columns)
            for members, columns in groups
        }
        size = 80 * len(groups) + sum(len(spell(column)) + 8 for index in indexes for column in index)
        if not best or size < cost:
            best, cost = groups, size
    return best


def _led(
    numbers: list[tuple[str, ...]], varying: list[int], leading: tuple[int, ...]
) -> list[tuple[list[int], tuple[int, ...]]] | None:
    """Groups in which only the leading columns vary, and those that they determine; None where rows would be alike."""
    led = [c for c in varying if c in leading or _determines(numbers, leading, c)]
    by_rest: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(numbers):
        by_rest[tuple(row[c] for c in varying if c not in led)].append(place)
    groups = []
    for members in by_rest.values():
        columns = tuple(c for c in led if len({numbers[place][c] for place in members}) > 1)
        if len({tuple(numbers[place][c] for c in led) for place in members}) != len(members):
            return None
        groups.append((members, columns))
    return groups


def _determines(numbers: list[tuple[str, ...]], leading: tuple[int, ...], column: int) -> bool:
    known: dict[tuple[str, ...], str] = {}
    return all(
        known.setdefault(tuple(row[c] for c in leading), row[column]) == row[column] for row in numbers
    )


def _templates(
    split: tuple[list[str], list[str]],
    numbers: list[tuple[str, ...]],
    columns: tuple[int, ...],
    indexes: dict[tuple[tuple[str, ...], ...], Index],
    names: Iterator[str],
) -> tuple[str, str]:
    """The templates of both sides for one group; its index is added to ``indexes``, with the next of
    all ``names`` of columns."""
    if len(numbers) == 1:
        return escaped("".join(split[0])), escaped("".join(split[1]))
    values = [tuple(row[column] for row in numbers) for column in columns]
    distinct = tuple(dict.fromkeys(values))
    left_numbers = len(split[0]) // 2
    # What only one side distinguishes could not be restored: each side's columns must tell all rows apart.
    for side in (True, False):
        own = [column for c, column in zip(columns, values, strict=True) if (c < left_numbers) == side]
        assert len(set(zip(*own, strict=True))) == len(numbers)
    if distinct not in indexes:
        columns_of_index = tuple(zip(islice(names, len(distinct)), distinct, strict=True))
        indexes[distinct] = Index(f"index{len(indexes) + 1}", columns_of_index)
    names_of = {column: name for name, column in indexes[distinct].columns}
    placeholders = {c: names_of[column] for c, column in zip(columns, values, strict=True)}
    return _template(split[0], 0, placeholders), _template(split[1], left_numbers, placeholders)


def _template(pieces: list[str], first: int, placeholders: dict[int, str]) -> str:
    """A name with placeholders for some of its numbers, which are counted from ``first``."""
    text = escaped(pieces[0])
    for number in range(len(pieces) // 2):
        name = placeholders.get(first + number)
        text += f"{{{name}}}" if name else escaped(pieces[2 * number + 1])
        text += escaped(pieces[2 * number + 2])
    return text


def _column_name(number: int) -> str:
    letter, round_ = _LETTERS[number % len(_LETTERS)], number // len(_LETTERS)
    return f"{letter}{round_ + 1}" if round_ else letter


def escaped(name: str) -> str:
    """A name as a template that expands into itself."""
    return name.replace("{", "{{").replace("}", "}}")


def spell(values: Sequence[str]) -> str:
    """A column as mapping files write it, in TOML: ``"0-2*2 5"`` for whole numbers, otherwise a list of strings."""
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
    """Text as a TOML basic string."""
    out = []
    for c in text:
        if c in '"\\':
            out.append(f"\\{c}")
        elif c.isprintable() or c == " ":
            out.append(c)
        else:
            out.append(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}")
    return f'"{"".join(out)}"'
