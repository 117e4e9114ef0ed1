"""Propose a mapping between two checkpoints that no table knows, and write it for a person to review."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.write import refuse_early, refuse_input
from converters.errors import Refused
from converters.formats.open import open_checkpoint
from converters.mapping.globs import glob_matches
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.table_files import layout_names
from converters.mapping.user_mapping import parse_mapping
from converters.printable import printable
from converters.tensor import FLOATS

from .fingerprints import TensorFingerprint, equal_reordered, summarise
from .pairing import propose
from .toml import SideNotes, mapping_text

if TYPE_CHECKING:
    from converters.formats.checkpoint import Checkpoint

    from .axes import AxisOrder
    from .proposal import Proposal

MAX_TENSORS = 2000
"""In each file: the comparison grows with the product of the two numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A proposed mapping. ``rows`` are its pairs, each with its evidence and, where it is not sure, the doubt."""

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

    Equal values, families of names, shapes and the files' order decide, see `suggestion.pairing`; without ``values`` no
    tensor is read. What is unsure is written apart, and is not used until a person moves it. Raises `Refused` where
    the files have nothing in common, and whatever `convert` raises for files that it cannot read.
    """
    left, right, output = os.fspath(left), os.fspath(right), os.fspath(output)
    for path in (left, right):
        refuse_input(path, output)
    refuse_early(output, force=force)
    with open_checkpoint(left) as left_file, open_checkpoint(right) as right_file:
        lefts, rights = _sorted_out(left_file, values=values), _sorted_out(right_file, values=values)

        def equal(source: TensorFingerprint, target: TensorFingerprint, order: AxisOrder) -> bool:
            return equal_reordered(left_file.tensors[source.name], right_file.tensors[target.name], order)

        proposal = propose(lefts.tensors, rights.tensors, equal if values else None)
    if not proposal.pairs:
        raise Refused(
            "has no tensor that could be one of the other file's",
            path=left,
            hint="are they the same network?",
        )
    left_over = (
        tuple(tensor.name for tensor in proposal.left_over) + lefts.rest + lefts.counters,
        tuple(tensor.name for tensor in proposal.right_over) + rights.rest,
    )
    title = f"{printable(os.path.basename(left))} -> {printable(os.path.basename(right))}"
    sides = (
        SideNotes(left_file.format, lefts.drop, left_over[0]),
        SideNotes(right_file.format, rights.drop, left_over[1], rights.counters),
    )
    text = mapping_text(proposal, title, sides)
    _check(text, proposal, output)
    _write(output, text, force=force)
    rows = tuple(
        {"from": pair.left.name, "to": pair.right.name, "why": pair.why, "doubt": pair.doubt}
        for pair in proposal.pairs
    )
    return Suggestion(
        left=left, right=right, output=output, rows=rows, left_over=left_over, notes=proposal.notes
    )


class _SortedTensors(NamedTuple):
    """A file's ``tensors`` to be paired, the patterns of solver state to ``drop``, the names of ``counters``, which are
    integer scalars, and the names of the ``rest``."""

    tensors: list[TensorFingerprint]
    drop: tuple[str, ...]
    counters: tuple[str, ...]
    rest: tuple[str, ...]


def _sorted_out(checkpoint: Checkpoint, *, values: bool) -> _SortedTensors:
    if len(checkpoint.tensors) > MAX_TENSORS:
        raise Refused(f"has more than {MAX_TENSORS:,} tensors", path=checkpoint.path)
    pytorch = checkpoint.format == "pytorch"
    patterns = [
        glob
        for name in layout_names()
        for glob in load_layout(name).storage.ignore
        if load_layout(name).format == checkpoint.format
    ]
    drop: dict[str, None] = {}
    tensors: list[TensorFingerprint] = []
    counters: list[str] = []
    rest: list[str] = []
    for name in (*checkpoint.tensors, *(() if pytorch else checkpoint.other_values)):
        tensor = checkpoint.tensors.get(name)
        pattern = next((glob for glob in patterns if glob_matches(glob, name)), None)
        if pattern is not None:
            drop[pattern] = None
        elif pytorch and name.endswith(f".{BATCHES}"):
            continue
        elif tensor is not None and tensor.dtype in FLOATS and 0 not in tensor.shape:
            summary = summarise(tensor) if values else None
            tensors.append(TensorFingerprint(name, tensor.dtype, tensor.shape, summary))
        elif tensor is not None and not tensor.shape and tensor.dtype == "int64":
            counters.append(name)
        else:
            rest.append(name)
    return _SortedTensors(tensors, tuple(drop), tuple(counters), tuple(rest))


def _check(text: str, proposal: Proposal, output: str) -> None:
    """Read the text as every mapping is read, and compare what it expands into with the proposal."""
    mapping = parse_mapping(text.encode(), output)
    read = (
        {(pair.left, pair.right) for pair in mapping.pairs},
        {(pair.left, pair.right) for pair in mapping.unsure},
    )
    meant = (
        {(pair.left.name, pair.right.name) for pair in proposal.pairs if not pair.doubt},
        {(pair.left.name, pair.right.name) for pair in proposal.pairs if pair.doubt},
    )
    if read != meant:
        raise Refused(
            "cannot be written as a mapping", path=output, hint="please report this; nothing was kept"
        )


def _write(output: str, text: str, *, force: bool) -> None:
    from converters.formats.io.atomic import replacing

    with replacing(output, force=force) as out:
        out.write(text.encode())
