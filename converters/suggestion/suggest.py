"""Propose a mapping between two checkpoints that no table knows, and write it down for a person to look at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.write import refuse_early, refuse_input
from converters.errors import Refused
from converters.formats.open import open_checkpoint
from converters.mapping.catalog import layout_names, load_layout
from converters.mapping.globs import glob_matches
from converters.mapping.names import BATCHES
from converters.mapping.user_mapping import parse_mapping
from converters.printable import printable
from converters.tensor import FLOATS

from .fingerprints import Item, equal, look
from .pairing import Proposal, propose
from .toml import mapping_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.checkpoint import Checkpoint

    from .fingerprints import Order

MOST_TENSORS = 2000
"""Of each file: the comparison grows with the product of the two numbers."""


class Suggestion(NamedTuple):
    """A proposed mapping. ``rows`` are its pairs with what tells them and, where it is not sure, why not."""

    left: str
    right: str
    output: str
    rows: tuple[dict[str, Any], ...]
    left_over: tuple[tuple[str, ...], tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def unsure(self) -> int:
        """How many rows are unsure."""
        return sum(bool(row["doubt"]) for row in self.rows)

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
            "notes": list(self.notes),
        }


def suggest(
    left: str | os.PathLike[str],
    right: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    values: bool = True,
    force: bool = False,
) -> Suggestion:
    """Propose a mapping from the names of one checkpoint to those of another, and write it to ``output``.

    Equal values, families of names, shapes and the files' order decide, see `proposal.match`; without ``values`` no
    tensor is read. What is unsure stands apart in the file, and is not used before a person has moved it. Raises
    `Refused` where the files have nothing in common, and what `convert` raises for files it cannot read.
    """
    left, right, output = os.fspath(left), os.fspath(right), os.fspath(output)
    for path in (left, right):
        refuse_input(path, output)
    refuse_early(output, force=force)
    with open_checkpoint(left) as here, open_checkpoint(right) as there:
        sides = (_Sorted(here, values), _Sorted(there, values))

        def same(one: Item, other: Item, order: Order) -> bool:
            return equal(here.tensors[one.name], there.tensors[other.name], order)

        proposal = propose(sides[0].items, sides[1].items, same if values else None)
    if not proposal.found:
        raise Refused(
            "has no tensor that could be one of the other file's",
            path=left,
            hint="are they the same network?",
        )
    over = (
        tuple(one.name for one in proposal.left_over) + sides[0].rest + sides[0].scalars,
        tuple(one.name for one in proposal.right_over) + sides[1].rest,
    )
    title = f"{printable(os.path.basename(left))} -> {printable(os.path.basename(right))}"
    text = mapping_text(
        proposal,
        title,
        (here.format, there.format),
        (sides[0].drop, sides[1].drop),
        over,
        sides[1].scalars,
    )
    _check(text, proposal, output)
    _write(output, text, force=force)
    rows = tuple(
        {"from": one.left.name, "to": one.right.name, "why": one.why, "doubt": one.doubt}
        for one in proposal.found
    )
    return Suggestion(left, right, output, rows, over, proposal.notes)


class _Sorted:
    """A file's tensors, sorted out: ``items`` to be paired, ``drop`` the patterns of solver state that names match,
    ``scalars`` integers that count something, ``rest`` what else it holds."""

    def __init__(self, checkpoint: Checkpoint, values: bool) -> None:
        if len(checkpoint.tensors) > MOST_TENSORS:
            raise Refused(f"has more than {MOST_TENSORS:,} tensors", path=checkpoint.path)
        patterns = [
            glob
            for name in layout_names()
            for glob in load_layout(name).storage.ignore
            if load_layout(name).format == checkpoint.format
        ]
        used: dict[str, None] = {}
        items: list[Item] = []
        scalars: list[str] = []
        rest: list[str] = []
        outside = () if checkpoint.format == "pytorch" else tuple(checkpoint.other_values)
        tensors = checkpoint.tensors
        for name in (*tensors, *outside):
            tensor = tensors.get(name)
            glob = next((glob for glob in patterns if glob_matches(glob, name)), None)
            if glob is not None:
                used[glob] = None
            elif checkpoint.format == "pytorch" and name.endswith(f".{BATCHES}"):
                continue
            elif tensor is not None and tensor.dtype in FLOATS and 0 not in tensor.shape:
                items.append(Item(name, tensor.dtype, tensor.shape, look(tensor) if values else None))
            elif tensor is not None and not tensor.shape and tensor.dtype == "int64":
                scalars.append(name)
            else:
                rest.append(name)
        self.items: Sequence[Item] = items
        self.drop = tuple(used)
        self.scalars = tuple(scalars)
        self.rest = tuple(rest)


def _check(text: str, proposal: Proposal, output: str) -> None:
    """Read the text as every mapping is read, and compare what it expands into with the proposal."""
    mapping = parse_mapping(text.encode(), output)
    read = (
        {(pair.left, pair.right) for pair in mapping.pairs},
        {(pair.left, pair.right) for pair in mapping.unsure},
    )
    meant = (
        {(one.left.name, one.right.name) for one in proposal.found if not one.doubt},
        {(one.left.name, one.right.name) for one in proposal.found if one.doubt},
    )
    if read != meant:
        raise Refused(
            "cannot be written as a mapping", path=output, hint="please report this; nothing was kept"
        )


def _write(output: str, text: str, *, force: bool) -> None:
    from converters.formats.io.atomic import replacing

    with replacing(output, force=force) as out:
        out.write(text.encode())
