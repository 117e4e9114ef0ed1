"""Write a proposal as a mapping file for people to read and correct."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .axes import axes_text
from .proposal import reasons_text
from .templates import escaped, fold, quoted, spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .proposal import FilledTensor, Proposal, ProposedPair
    from .templates import TemplateRow

WIDTH = 100


class SideNotes(NamedTuple):
    """What a mapping says of one side besides pairs: its format, patterns of names to drop, names of unknown meaning,
    and ``counters``, integers that the other side does not have and that start at zero."""

    format: str
    drop: Sequence[str]
    left_over: Sequence[str]
    counters: Sequence[str] = ()


def mapping_text(proposal: Proposal, title: str, sides: tuple[SideNotes, SideNotes]) -> str:
    """The mapping file."""
    pairs = proposal.pairs
    rows, indexes = fold(
        [(pair.left.name, pair.right.name, (axes_text(pair.order), bool(pair.doubt))) for pair in pairs]
    )
    lines = [
        f"# Proposed by `convert suggest`: {title}",
        f"# {_summary(pairs)}",
        *(f"# {note}" for note in proposal.notes),
        "",
        f"title = {quoted(title)}",
    ]
    for number, notes in enumerate(sides):
        lines += _side_lines(proposal, number, notes, rows)
    for index in indexes:
        lines += [
            "",
            f"[index.{index.name}]",
            *(f"{name} = {spell(values)}" for name, values in index.columns),
        ]
    sure = [row for row in rows if not pairs[row.places[0]].doubt]
    unsure = [row for row in rows if pairs[row.places[0]].doubt]
    lines += ["", "[tensors]", *_row_lines(sure, pairs, comments=False)]
    if unsure:
        lines += ["", "# Check these, and move the right ones to [tensors].", "[unsure]"]
        lines += _row_lines(unsure, pairs, comments=True)
    return "\n".join(lines) + "\n"


def _summary(pairs: Sequence[ProposedPair]) -> str:
    unsure = sum(bool(pair.doubt) for pair in pairs)
    return f"{len(pairs)} tensors paired: {reasons_text(pair.why for pair in pairs)}. {unsure} of them are unsure."


def _side_lines(
    proposal: Proposal, number: int, notes: SideNotes, rows: Sequence[TemplateRow]
) -> Iterator[str]:
    key = ("from", "to")[number]
    yield from ("", f"[{key}]", f'format = "{notes.format}"')
    if notes.drop:
        yield f"drop = {_list(notes.drop)}"
    if notes.left_over:
        yield f"left_over = {_list(notes.left_over)}   # nothing is known about these"
    filled = (proposal.left_filled, proposal.right_filled)[number]
    constants = [*_constants(filled, number, rows, proposal.pairs)]
    constants += [
        f'{quoted(escaped(name))} = {{ value = 0, dtype = "int64", shape = [] }}' for name in notes.counters
    ]
    if constants:
        yield from ("", f"[{key}.constants]            # not stored on the other side", *constants)


def _row_lines(
    rows: Iterable[TemplateRow], pairs: Sequence[ProposedPair], *, comments: bool
) -> Iterator[str]:
    last = ""
    for row in rows:
        first = pairs[row.places[0]]
        if comments and first.doubt != last:
            last = first.doubt
            yield f"# {_one_line(first.doubt)}" + (" (and so on)" if len(row.places) > 1 else "")
        axes = axes_text(first.order)
        right = quoted(row.right)
        yield f"{quoted(row.left)} = " + (f'{{ to = {right}, axes = "{axes}" }}' if axes else right)


def _constants(
    filled: Sequence[FilledTensor], side: int, rows: Sequence[TemplateRow], pairs: Sequence[ProposedPair]
) -> Iterator[str]:
    """Constants, folded with the templates of the tensors that they are like."""
    by_like = {constant.like: constant for constant in filled}
    written: set[str] = set()
    for row in rows:
        names = [(pairs[place].left.name, pairs[place].right.name)[side] for place in row.places]
        constants = [by_like[name] for name in names if name in by_like]
        template = (row.left, row.right)[side]
        folded = _fold_like(template, names, constants) if len(constants) == len(names) > 1 else None
        if folded is not None:
            yield f"{quoted(folded)} = {{ value = {constants[0].value!r}, like = {quoted(template)} }}"
            written.update(constant.tensor.name for constant in constants)
    for constant in filled:
        name = constant.tensor.name
        if name not in written:
            like = quoted(escaped(constant.like))
            yield f"{quoted(escaped(name))} = {{ value = {constant.value!r}, like = {like} }}"


def _fold_like(template: str, names: Sequence[str], constants: Sequence[FilledTensor]) -> str | None:
    """The template of constants whose names all differ in the same ending from those of the tensors they are like; None
    where they do not."""
    endings = set()
    for like, constant in zip(names, constants, strict=True):
        name = constant.tensor.name
        common = next(
            (at for at, (a, b) in enumerate(zip(like, name, strict=False)) if a != b),
            min(len(like), len(name)),
        )
        endings.add((like[common:], name[common:]))
    values = {constant.value for constant in constants}
    if len(endings) != 1 or len(values) != 1:
        return None
    ((old, new),) = endings
    if not old or not template.endswith(escaped(old)):
        return None
    return template.removesuffix(escaped(old)) + escaped(new)


def _list(names: Sequence[str]) -> str:
    line = f"[{', '.join(map(quoted, names))}]"
    if len(line) <= WIDTH:
        return line
    return "[\n" + "".join(f"    {quoted(name)},\n" for name in names) + "]"


def _one_line(text: str) -> str:
    """A comment's text: whatever a name contains, it stays one line."""
    return "".join(c if c.isprintable() else "?" for c in text)
