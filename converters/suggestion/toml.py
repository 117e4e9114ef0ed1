"""A proposal written down as a mapping file, for people to read and correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .axes import axes_text
from .templates import Line, escaped, fold, quoted, spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .pairing import Filled, Found, Proposal

WIDTH = 100


def mapping_text(
    proposal: Proposal,
    title: str,
    formats: tuple[str, str],
    drop: tuple[Sequence[str], Sequence[str]],
    left_over: tuple[Sequence[str], Sequence[str]],
    counters: Sequence[str],
) -> str:
    """The mapping file. ``drop`` are patterns that some names of each side match, ``left_over`` names that nothing
    is known of, ``counters`` integers of the right file that start at zero."""
    lines = [f"# Proposed by `convert suggest`: {title}"]
    lines += [f"# {note}" for note in _header(proposal)]
    lines += ["", f"title = {quoted(title)}"]
    found = proposal.found
    rows = [(one.left.name, one.right.name, (axes_text(one.order), bool(one.doubt))) for one in found]
    folded, indexes = fold(rows)
    fills = (proposal.left_filled, proposal.right_filled)
    for number, key in enumerate(("from", "to")):
        lines += ["", f"[{key}]", f'format = "{formats[number]}"']
        if drop[number]:
            lines.append(f"drop = {_list(drop[number])}")
        if left_over[number]:
            lines.append(f"left_over = {_list(left_over[number])}   # nothing is known of these")
        side = [*_constants(fills[number], number, folded, found)]
        if number:
            side += [
                f'{quoted(escaped(name))} = {{ value = 0, dtype = "int64", shape = [] }}' for name in counters
            ]
        if side:
            lines += ["", f"[{key}.constants]            # not stored on the other side", *side]
    for index in indexes:
        lines += [
            "",
            f"[index.{index.name}]",
            *(f"{name} = {spell(values)}" for name, values in index.columns),
        ]
    sure = [line for line in folded if not found[line.rows[0]].doubt]
    unsure = [line for line in folded if found[line.rows[0]].doubt]
    lines += ["", "[tensors]", *_rows(sure, found, comments=False)]
    if unsure:
        lines += ["", "# Look at these, and move those that are right to [tensors].", "[unsure]"]
        lines += _rows(unsure, found, comments=True)
    return "\n".join(lines) + "\n"


def _header(proposal: Proposal) -> Iterator[str]:
    found = proposal.found
    why: dict[str, int] = {}
    for one in found:
        why[one.why] = why.get(one.why, 0) + 1
    told = ", ".join(
        f"{count} by {word}" for word, count in sorted(why.items(), key=lambda item: (-item[1], item[0]))
    )
    yield f"{len(found)} tensors paired: {told}. {sum(bool(one.doubt) for one in found)} of them are unsure."
    yield from proposal.notes


def _rows(lines: Iterable[Line], found: Sequence[Found], *, comments: bool) -> Iterator[str]:
    last = ""
    for line in lines:
        first = found[line.rows[0]]
        if comments and first.doubt != last:
            last = first.doubt
            yield f"# {_plain(first.doubt)}" + (" (and so on)" if len(line.rows) > 1 else "")
        axes = axes_text(first.order)
        right = quoted(line.right)
        yield f"{quoted(line.left)} = " + (f'{{ to = {right}, axes = "{axes}" }}' if axes else right)


def _constants(
    filled: Sequence[Filled], side: int, folded: Sequence[Line], found: Sequence[Found]
) -> Iterator[str]:
    """Constants folded with the templates of the tensors that they are like."""
    by_like = {one.like: one for one in filled}
    done: set[str] = set()
    for line in folded:
        names = [(found[row].left.name, found[row].right.name)[side] for row in line.rows]
        ones = [by_like[name] for name in names if name in by_like]
        template = (line.left, line.right)[side]
        made = _like(template, names, ones) if len(ones) == len(names) > 1 else None
        if made is not None:
            yield f"{quoted(made)} = {{ value = {ones[0].value!r}, like = {quoted(template)} }}"
            done.update(one.item.name for one in ones)
    for one in filled:
        if one.item.name not in done:
            yield f"{quoted(escaped(one.item.name))} = {{ value = {one.value!r}, like = {quoted(escaped(one.like))} }}"


def _like(template: str, names: Sequence[str], ones: Sequence[Filled]) -> str | None:
    """The template of constants whose names differ from their neighbours' behind the same beginning alone; None
    where they do not."""
    cuts = set()
    for name, one in zip(names, ones, strict=True):
        other = one.item.name
        same = next(
            (at for at, (a, b) in enumerate(zip(name, other, strict=False)) if a != b),
            min(len(name), len(other)),
        )
        cuts.add((name[same:], other[same:]))
    values = {one.value for one in ones}
    if len(cuts) != 1 or len(values) != 1:
        return None
    ((end, other),) = cuts
    if not end or not template.endswith(escaped(end)):
        return None
    return template.removesuffix(escaped(end)) + escaped(other)


def _list(names: Sequence[str]) -> str:
    whole = f"[{', '.join(map(quoted, names))}]"
    if len(whole) <= WIDTH:
        return whole
    return "[\n" + "".join(f"    {quoted(name)},\n" for name in names) + "]"


def _plain(text: str) -> str:
    """A comment's text: whatever a name holds, it stays one line."""
    return "".join(c if c.isprintable() else "?" for c in text)
