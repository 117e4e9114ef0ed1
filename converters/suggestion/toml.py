"""Write a proposal as a mapping file for people to read and correct."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .proposal import reasons_text
from .templates import escaped, fold, quoted, spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from converters.tensor import Tensor

    from .proposal import FilledTensor, Proposal, ProposedPair
    from .templates import Index, TemplateRow

WIDTH = 100


class SideNotes(NamedTuple):
    """What a mapping says of one side besides pairs: its format, patterns of names to drop, names of unknown meaning,
    ``counters``, integers that the other side does not have and that start at zero, and ``slash_keys``, the keys of
    nested dictionaries that contain slashes."""

    format: str
    drop: Sequence[str]
    left_over: Sequence[str]
    counters: Sequence[Tensor] = ()
    slash_keys: Sequence[str] = ()


def mapping_text(proposal: Proposal, title: str, sides: tuple[SideNotes, SideNotes]) -> str:
    """The mapping file."""
    pairs = proposal.pairs
    rows, indexes = _folded(pairs)
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
    if notes.slash_keys:
        yield f"slash_keys = {_list(notes.slash_keys)}"
    if notes.drop:
        yield f"drop = {_list(notes.drop)}"
    if notes.left_over:
        yield f"left_over = {_list(notes.left_over)}   # nothing is known about these"
    filled = (proposal.left_filled, proposal.right_filled)[number]
    constants = [*_constants(filled, number, rows, proposal.pairs)]
    constants += [
        f'{quoted(escaped(one.name))} = {{ value = 0, dtype = "{one.dtype}", shape = {list(one.shape)} }}'
        for one in notes.counters
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
        yield f"{quoted(row.left)} = {_row_value(row, pairs)}"


def _row_value(row: TemplateRow, pairs: Sequence[ProposedPair]) -> str:
    """The right side of a row: a name, or a table with its axes and factors."""
    first = pairs[row.places[0]]
    entries = {"to": quoted(row.right)}
    if first.axes:
        entries["axes"] = quoted(first.axes.text())
        if first.axes.sizes:
            sizes = ", ".join(f"{letter} = {size}" for letter, size in first.axes.sizes.items())
            entries["sizes"] = f"{{ {sizes} }}"
    for word, template, name, factor in (
        ("over", row.left, first.left.name, first.over),
        ("times", row.right, first.right.name, first.times),
    ):
        if factor:
            old, new = _endings(name, factor)
            entries[word] = quoted(template.removesuffix(escaped(old)) + escaped(new))
    if len(entries) == 1:
        return entries["to"]
    return f"{{ {', '.join(f'{word} = {text}' for word, text in entries.items())} }}"


def _alike(pair: ProposedPair) -> object:
    """What pairs have in common that may be one row."""
    sizes = tuple(pair.axes.sizes.items()) if pair.axes else ()
    factors = (
        pair.over and _endings(pair.left.name, pair.over),
        pair.times and _endings(pair.right.name, pair.times),
    )
    return (pair.axes.text() if pair.axes else "", sizes, bool(pair.doubt), factors)


def _folded(pairs: Sequence[ProposedPair]) -> tuple[list[TemplateRow], list[Index]]:
    """The rows and indexes. A template must name its tensors' factors too; pairs that it cannot stay as they are."""
    alike: list[object] = [_alike(pair) for pair in pairs]
    while True:
        rows, indexes = fold(
            [(pair.left.name, pair.right.name, key) for pair, key in zip(pairs, alike, strict=True)]
        )
        others = [row for row in rows if not _names_factors(row, pairs[row.places[0]])]
        if not others:
            return rows, indexes
        for row in others:
            for place in row.places:
                alike[place] = place


def _names_factors(row: TemplateRow, first: ProposedPair) -> bool:
    """Whether the names of factors follow from a row's templates."""
    return all(
        not factor or template.endswith(escaped(_endings(name, factor)[0]))
        for template, name, factor in (
            (row.left, first.left.name, first.over),
            (row.right, first.right.name, first.times),
        )
    )


def _endings(name: str, other: str) -> tuple[str, str]:
    """What two names end in after what they begin with in common."""
    common = next(
        (at for at, (a, b) in enumerate(zip(name, other, strict=False)) if a != b),
        min(len(name), len(other)),
    )
    return name[common:], other[common:]


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
    endings = {_endings(like, constant.tensor.name) for like, constant in zip(names, constants, strict=True)}
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
