"""Describe the differences between two files."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from converters.printable import shape_text
from converters.reports.folding import fold, fold_names
from converters.reports.wording import counted, human_size, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.diff import Difference, TensorComparison


def difference_text(difference: Difference) -> str:
    """The differences, names folded by their numbers, with the worst figures of each group."""
    lines = [
        f"{label} {file.path}: {file.container}, {human_size(file.size)}"
        + (f", {file.network} in layout {file.layout}" if file.layout else ", not a known network")
        for label, file in (("A", difference.a), ("B", difference.b))
    ]
    if difference.canonical:
        lines.append("compared under canonical names, without batch counters")
    lines += [f"note: {note}" for note in difference.notes]
    lines += _group_lines(difference)
    lines += _other_lines(difference)
    lines.append(_verdict(difference))
    return printable_lines(lines)


def _verdict(difference: Difference) -> str:
    """One line, which calls nothing equal where the files differ beside the tensors."""
    equal = sum(1 for row in difference.rows if row.kind == "equal")
    differ = len(difference.rows) - equal
    others = sum(1 for other in difference.others if other.kind != "equal")
    same = f"{counted(equal, 'tensor')} {_verb(equal, 'is', 'are')} equal bit for bit"
    beside = f"{counted(others, 'other value')} {_verb(others, 'differs', 'differ')}"
    if differ:
        return f"{same}, {differ} {_verb(differ, 'differs', 'differ')}" + (f"; {beside}" if others else "")
    if others:
        agree = f"{counted(equal, 'tensor')} {_verb(equal, 'agrees', 'agree')}"
        return f"the files differ: {agree}, {beside}"
    left_out = "; what was not compared is named above" if any(difference.not_compared) else ""
    return f"{'all ' if equal > 1 else ''}{same}{left_out}"


def _verb(count: int, singular: str, plural: str) -> str:
    return singular if count == 1 else plural


def _other_lines(difference: Difference) -> Iterator[str]:
    """What differs beside the tensors, and what was not compared."""
    for other in difference.others:
        change = (
            f"{other.a} -> {other.b}" if other.a and other.b and other.a != other.b else other.a or other.b
        )
        if other.kind != "equal":
            yield f"{other.kind:<9}  {other.name}  {change}"
    for label, names in zip("AB", difference.not_compared, strict=True):
        if names:
            yield f"not compared, of {label}: {', '.join(fold_names(names))}"


def _group_lines(difference: Difference) -> Iterator[str]:
    by_name = {row.name: row for row in difference.rows}
    for folded in fold(
        (row.name, (row.kind, _change(row))) for row in difference.rows if row.kind != "equal"
    ):
        kind, change = folded.key
        rows = [by_name[name] for name in folded.names()]
        line = f"{kind:<9}  {folded}  {change}"
        if kind == "values":
            line += f"  {_distances(rows)}"
        yield line + (f"  ({len(rows)} tensors)" if len(rows) > 1 else "")


def _distances(rows: list[TensorComparison]) -> str:
    """How far unequal values are apart. Truth values, NaN payloads and signs of zero have no distance."""
    unequal = sum(row.unequal for row in rows)
    if not unequal:
        return "bits differ"
    if all(row.a and row.b and row.a[0] == row.b[0] == "bool" for row in rows):
        return f"{unequal:,} values, bits differ"
    text = f"{unequal:,} values, by up to {max(row.largest for row in rows):.3g}"
    cosines = [row.cosine for row in rows if not isnan(row.cosine)]
    return f"{text}, cosine {min(cosines):.9g}" if cosines else text


def _change(row: TensorComparison) -> str:
    """The dtypes, and the shapes where they differ or only one file has the tensor."""
    if row.a is None or row.b is None:
        dtype, shape = row.a or row.b or ("", ())
        return f"{shape_text(shape)} {dtype}"
    dtypes = row.a[0] if row.a[0] == row.b[0] else f"{row.a[0]} -> {row.b[0]}"
    if row.kind == "shape":
        return f"{shape_text(row.a[1])} -> {shape_text(row.b[1])} {dtypes}"
    return dtypes
