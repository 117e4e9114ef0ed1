"""Propose a mapping between two checkpoints that no table knows, and write it for a person to review."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.write import refuse_early, refuse_input
from converters.errors import Refused
from converters.formats.open import open_checkpoint
from converters.locations import name_of, without_credentials
from converters.mapping.user_mapping import parse_mapping
from converters.printable import printable
from converters.shown import Shown

from .comparison import Comparison
from .factors import find_factors, with_factors
from .not_weights import is_filler, sort_out
from .one_network import refuse_other_network
from .pairing import propose
from .set_aside import doubt_set_aside
from .state import Hints
from .toml import SideNotes, mapping_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.formats.checkpoint import Checkpoint

    from .factors import Factors
    from .not_weights import SortedNames
    from .proposal import Proposal

MAX_TENSORS = 5000
"""In each file."""

CHANNELS_LAST = ("tensorflow",)
"""Formats whose kernels are ``H W I O``."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Suggestion(Shown):
    """A proposed mapping. ``rows`` are its pairs, each with its evidence and, where it is not sure, the doubt.
    ``dropped`` are names, or patterns of names, that are not weights."""

    left: str
    right: str
    output: str
    rows: tuple[dict[str, Any], ...]
    left_over: tuple[tuple[str, ...], tuple[str, ...]]
    dropped: tuple[tuple[str, ...], tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def unsure(self) -> int:
        """How many rows are unsure."""
        return sum(bool(row["doubt"]) for row in self.rows)

    def lines(self) -> tuple[str, ...]:
        """Files, and how sure the rows are."""
        left_over = sum(map(len, self.left_over))
        return (
            f"{self.left} -> {self.right}",
            f"{len(self.rows)} tensors paired, {self.unsure} unsure, {left_over} left over",
            f"wrote {self.output}",
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "left": self.left,
            "right": self.right,
            "output": self.output,
            "tensors": len(self.rows),
            "unsure": self.unsure,
            "rows": list(self.rows),
            "left_over": {"from": list(self.left_over[0]), "to": list(self.left_over[1])},
            "dropped": {"from": list(self.dropped[0]), "to": list(self.dropped[1])},
            "notes": list(self.notes),
        }


def suggest(
    left: str | os.PathLike[str],
    right: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    values: bool = True,
    entry_left: str | None = None,
    entry_right: str | None = None,
    force: bool = False,
) -> Suggestion:
    """Propose a mapping from the names of one checkpoint to those of another, and write it to ``output``.

    Equal values, families of names, shapes and the files' order decide, see `suggestion.pairing`; without ``values`` no
    tensor is read. What is unsure is written apart, and is not used until a person moves it. ``entry_left`` and
    ``entry_right`` name a state dict in a PyTorch file, or averages in a TensorFlow or Flax file. Raises `Refused`
    where the files have nothing in common, and whatever `convert` raises for files that it cannot read.
    """
    left, right, output = os.fspath(left), os.fspath(right), os.fspath(output)
    for path in (left, right):
        refuse_input(path, output)
    refuse_early(output, force=force)
    with (
        open_checkpoint(left, entry=entry_left) as left_file,
        open_checkpoint(right, entry=entry_right) as right_file,
    ):
        left, right = without_credentials(left), without_credentials(right)
        sides = _side(left_file, right_file, values=values), _side(right_file, left_file, values=values)
        proposal = _propose(*sides, values=values)
        refuse_other_network(proposal, left, right)
        left_over = tuple(_left_over(sides, proposal))
        notes = (
            _notes(sides[0], left_over[0], written=False),
            _notes(sides[1], left_over[1], written=True),
        )
    title = f"{printable(name_of(left))} -> {printable(name_of(right))}"
    text = mapping_text(proposal, title, notes)
    _check(text, proposal, output)
    _write(output, text, force=force)
    rows = tuple(
        {"from": pair.left.name, "to": pair.right.name, "why": pair.why, "doubt": pair.doubt}
        for pair in proposal.pairs
    )
    return Suggestion(
        left=left,
        right=right,
        output=output,
        rows=rows,
        left_over=(tuple(notes[0].left_over), tuple(notes[1].left_over)),
        dropped=(tuple(notes[0].drop), tuple(notes[1].drop)),
        notes=proposal.notes,
    )


class _Side(NamedTuple):
    """A file, with its names sorted and its factors."""

    checkpoint: Checkpoint
    names: SortedNames
    factors: Factors


def _side(checkpoint: Checkpoint, other: Checkpoint, *, values: bool) -> _Side:
    if len(checkpoint.tensors) > MAX_TENSORS:
        raise Refused(f"has more than {MAX_TENSORS:,} tensors", path=checkpoint.path)
    if "" in checkpoint.tensors or "" in checkpoint.other_values:
        raise Refused(
            "has a tensor with an empty name, which no mapping can name",
            path=checkpoint.path,
            hint="give it a name, and try again",
        )
    names = sort_out(checkpoint)
    return _Side(checkpoint, names, find_factors(checkpoint, names.weights, other if values else None))


def _propose(left: _Side, right: _Side, *, values: bool) -> Proposal:
    """Pair the weights of both files."""
    sides, factors = (left, right), (left.factors, right.factors)
    compared = Comparison(factors, (left.names.weights, right.names.weights), read=values)
    last = [side.checkpoint.format in CHANNELS_LAST for side in sides]
    hints = Hints(
        explain=compared.explain,
        close=compared.close,
        similar=compared.similar,
        roles=(left.factors.roles, right.factors.roles),
        exchanged=last[0] != last[1],
    )
    lists = [
        [compared.fingerprint(number, name) for name in side.names.weights if name not in side.factors.names]
        for number, side in enumerate(sides)
    ]
    proposal = propose(lists[0], lists[1], compared.equal if values else None, hints)
    pairs = with_factors(proposal.pairs, left.factors, right.factors, compared.fingerprint)
    proposal = replace(proposal, pairs=tuple(pairs))
    files = left.checkpoint, right.checkpoint
    return doubt_set_aside(proposal, files, (left.names.weights, right.names.weights), compared.checksum)


def _left_over(sides: tuple[_Side, _Side], proposal: Proposal) -> Iterator[tuple[str, ...]]:
    """The names of each side that no row, constant or factor has."""
    used = (
        {name for pair in proposal.pairs for name in (pair.left.name, pair.over)},
        {name for pair in proposal.pairs for name in (pair.right.name, pair.times)},
    )
    for side, names, over in zip(sides, used, (proposal.left_over, proposal.right_over), strict=True):
        factors = [name for name in side.names.weights if name in side.factors.names - names]
        yield (*(tensor.name for tensor in over), *factors, *side.names.rest)


def _notes(side: _Side, left_over: tuple[str, ...], *, written: bool) -> SideNotes:
    """What the mapping says of a side. Counters start anew where the files are written, and are dropped else."""
    checkpoint, names = side.checkpoint, side.names
    fillers = [name for name in left_over if is_filler(checkpoint, name)]
    return SideNotes(
        format=checkpoint.format,
        drop=(*names.drop, *fillers, *(() if written else names.counters)),
        left_over=[name for name in left_over if name not in fillers],
        counters=[checkpoint.tensors[name] for name in names.counters] if written else (),
        slash_keys=checkpoint.details.get("slash_keys", ()),
    )


def _check(text: str, proposal: Proposal, output: str) -> None:
    """Read the text as every mapping is read, and compare what it expands into with the proposal."""
    mapping = parse_mapping(text.encode(), output)
    read = [
        {(pair.left, pair.right, pair.axes and pair.axes.text(), pair.over, pair.times) for pair in pairs}
        for pairs in (mapping.pairs, mapping.unsure)
    ]
    meant = [
        {
            (pair.left.name, pair.right.name, pair.axes and pair.axes.text(), pair.over, pair.times)
            for pair in proposal.pairs
            if bool(pair.doubt) == unsure
        }
        for unsure in (False, True)
    ]
    if read != meant:
        raise Refused(
            "cannot be written as a mapping", path=output, hint="please report this; nothing was kept"
        )


def _write(output: str, text: str, *, force: bool) -> None:
    from converters.formats.io.atomic import replacing

    with replacing(output, force=force) as out:
        out.write(text.encode())
