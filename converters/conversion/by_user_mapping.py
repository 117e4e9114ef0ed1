"""Match and plan by a user's mapping file, which has names and axes but no network."""

from __future__ import annotations

import os
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.errors import Refused
from converters.formats.provenance_record import VERSION
from converters.mapping.agreement import Fault
from converters.mapping.globs import glob_matches
from converters.mapping.mismatch import nearest
from converters.mapping.names import BATCHES
from converters.mapping.user_mapping import MappingError, load_mapping
from converters.record import Record
from converters.tensor import FLOATS, ITEMSIZE

from .mapped_factors import factor_record, recorded_factors
from .mapped_rows import factor_row, mapped_row, row_faults
from .plan import Plan
from .provenance import restore_data
from .rounding import is_exact
from .row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from converters.formats.other_value import OtherValue
    from converters.mapping.user_mapping import Constant, Pair, UserMapping
    from converters.tensor import Tensor

    from .mapped_factors import RecordedFactors

_NO_OTHERS: Mapping[str, OtherValue] = MappingProxyType({})

MOST_CONSTANTS = 16 << 20
"""Bytes that a mapping's constants may take beside a file that is smaller itself."""


class Matched(Record):
    """A file compared with a mapping's left side.

    ``matched`` rows have a tensor of the right number of axes; ``dropped`` are left out by name, ``counters``
    the batch counters of PyTorch files, which carry nothing. ``faults`` are all that does not agree,
    ``open_points`` those in the mapping that nobody has confirmed.
    """

    mapping: UserMapping
    matched: int
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    faults: tuple[Fault, ...]
    open_points: int = 0

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "mapping": self.mapping.path,
            "sha256": self.mapping.sha256,
            "reverse": self.mapping.reverse,
            "rows": len(self.mapping.pairs),
            "matched": self.matched,
            "open_points": self.open_points,
            "dropped": list(self.dropped),
            "faults": [str(fault) for fault in self.faults],
        }


def open_mapping(path: str, *, reverse: bool = False, accept_unsure: bool = False) -> UserMapping:
    """Read a mapping file for use, left side first. Raises `Refused` where points are open in it, unless
    ``accept_unsure`` takes its unsure rows as they are and drops what is left over."""
    mapping = load_mapping(path)
    if reverse:
        mapping = mapping.reversed()
    if accept_unsure:
        return mapping.accepted()
    if mapping.open_points:
        raise Refused(
            "has points that nobody has confirmed",
            path=path,
            where=f"{len(mapping.unsure)} rows under [unsure], "
            f"{len(mapping.left.left_over) + len(mapping.right.left_over)} tensors left over",
            hint="review them and move the correct rows to [tensors], or use --accept-unsure",
        )
    return mapping


def match(
    mapping: UserMapping, tensors: Mapping[str, Tensor], other_values: Mapping[str, OtherValue] = _NO_OTHERS
) -> Matched:
    """Compare a file's names and shapes with a mapping's left side; lists every fault.

    ``other_values`` are what the file holds that is not converted: what stands beside the tensors is left out, others
    must be dropped by name.
    """
    left = mapping.left
    wanted = {
        name for pair in mapping.pairs for name in (pair.left, pair.over) if name
    } | left.constants.keys()
    dropped, counters, unused = [], [], []
    for name in (*tensors, *(name for name, other in other_values.items() if not other.beside)):
        if name in wanted:
            continue
        if left.format == "pytorch" and name.endswith(f".{BATCHES}"):
            counters.append(name)
        elif any(glob_matches(glob, name) for glob in left.drop):
            dropped.append(name)
        else:
            unused.append(name)
    unconverted = {name: other.kind for name, other in other_values.items() if name in wanted}
    missing = [name for name in wanted if name not in tensors and name not in unconverted]
    faults = [
        *(Fault("dtype", name, f"{kind}, which is not converted") for name, kind in unconverted.items()),
        *(Fault("missing", name, near) for name, near in nearest(missing, unused)),
        *(Fault("unused", name, near) for name, near in nearest(unused, missing)),
    ]
    matched = 0
    for pair in mapping.pairs:
        if pair.left in tensors and (not pair.over or pair.over in tensors):
            found = list(row_faults(pair, tensors))
            faults += found
            matched += not found
    return Matched(
        mapping=mapping,
        matched=matched,
        dropped=tuple(dropped),
        counters=tuple(counters),
        faults=tuple(faults),
    )


def match_either(
    mapping: UserMapping, tensors: Mapping[str, Tensor], others: Mapping[str, OtherValue] = _NO_OTHERS
) -> Matched:
    """Compare a file with both sides of a mapping, unsure rows included, and return the better side: the left one if
    both are equal."""
    sides = mapping.accepted(), mapping.reversed().accepted()
    better = min((match(side, tensors, others) for side in sides), key=lambda side: len(side.faults))
    return better.replace(open_points=mapping.open_points)


def mapped_plan(
    matched: Matched,
    tensors: Mapping[str, Tensor],
    *,
    dtype: str | None = None,
    path: str = "",
    record: Mapping[str, Any] | None = None,
) -> Plan:
    """The rows of a conversion by a mapping. ``record`` is the file's own provenance. Raises `Refused` with every fault
    where the file does not fit."""
    mapping = matched.mapping
    if matched.faults:
        raise _unfit(matched, tensors, path)
    rows = _rows(mapping, tensors, recorded_factors(mapping, record, tensors, dtype), dtype)
    _check_constants(rows, mapping.right.constants, tensors, mapping.path)
    # An integer counts something that takes no part in inference: its value need not come back.
    implied = tuple(
        (name, constant.value)
        for name, constant in mapping.left.constants.items()
        if tensors[name].dtype in FLOATS
    )
    return Plan(
        rows=tuple(rows),
        implied=implied,
        dropped=matched.dropped,
        notes=tuple(_notes(rows, tensors, dtype)),
        eps_shift=0.0,
    )


def _unfit(matched: Matched, tensors: Mapping[str, Tensor], path: str) -> Refused:
    """The error for a file that does not fit, with every fault."""
    mapping, count = matched.mapping, len(matched.faults)
    hint = "--json lists every fault"
    if all(fault.kind == "unused" for fault in matched.faults):
        hint = "add rows for the unused names, or list them under drop"
    elif not match(mapping.reversed(), tensors).faults:
        side, way = (
            ("left", "leave --reverse out") if mapping.reverse else ("right", "convert it with --reverse")
        )
        hint = f"it has the names of the {side} side: {way}"
    return Refused(
        f"does not fit the mapping {os.path.basename(mapping.path)}",
        path=path,
        where=f"{count} fault{'' if count == 1 else 's'}; {matched.matched} of {len(mapping.pairs)} rows match",
        hint=hint,
        faults=tuple(str(fault) for fault in matched.faults),
    )


def _rows(
    mapping: UserMapping, tensors: Mapping[str, Tensor], factors: RecordedFactors, dtype: str | None
) -> list[Row]:
    constants_like: dict[str, list[tuple[str, Constant]]] = {}
    for name, constant in mapping.right.constants.items():
        constants_like.setdefault(constant.like, []).append((name, constant))
    targets = {pair.right for pair in mapping.pairs} | mapping.right.constants.keys()
    rows: list[Row] = []
    last_use = {pair.times: pair for pair in mapping.pairs if pair.times}
    for pair in mapping.pairs:
        row = mapped_row(pair, tensors, factors, dtype)
        rows += [
            _constant(name, constant, row, tensors[pair.left].dtype, dtype)
            for name, constant in constants_like.get(pair.right, ())
        ]
        rows.append(row)
        if last_use.get(pair.times) is pair:
            rows.append(factor_row(pair, row, factors))
        if mapping.right.format == "pytorch" and pair.right.endswith(".running_var"):
            counter = pair.right.removesuffix("running_var") + BATCHES
            if counter not in targets:
                rows.append(Row(_counter(mapping, pair, tensors), counter, "int64", (), ()))
    rows += [
        _constant(name, constant, None, constant.dtype, dtype)
        for name, constant in constants_like.get("", ())
    ]
    return rows


def mapped_record(
    matched: Matched,
    plan: Plan,
    source: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """The record of a conversion by a mapping file, without the checksums; see `provenance.record`. A dry run reads no
    tensor."""
    mapping = matched.mapping
    return {
        "provenance": VERSION,
        "tool": {"name": "video-checkpoint-converters", "version": __version__},
        "mapping": {
            "source": mapping.left.name,
            "target": mapping.right.name,
            "network": "",
            "sha256": mapping.sha256,
            "title": mapping.title,
        },
        "layout": "",
        "source": dict(source),
        "dropped": list(plan.dropped),
        "notes": list(plan.notes),
        "restore": {
            **restore_data(plan, tensors, dry_run=dry_run),
            **({} if dry_run else factor_record(mapping, tensors)),
        },
    }


def _counter(mapping: UserMapping, pair: Pair, tensors: Mapping[str, Tensor]) -> str | None:
    """The batch counter beside a row's variance in the file; None where there is none, or it is not a counter."""
    if mapping.left.format != "pytorch" or not pair.left.endswith(".running_var"):
        return None
    name = pair.left.removesuffix("running_var") + BATCHES
    tensor = tensors.get(name)
    return name if tensor is not None and (tensor.dtype, tensor.shape) == ("int64", ()) else None


def _check_constants(
    rows: Iterable[Row], constants: Mapping[str, Constant], tensors: Mapping[str, Tensor], path: str
) -> None:
    """Raise `MappingError` where constants take more than the file itself: a page of text must not fill a disk."""
    size = sum(prod(row.shape) * ITEMSIZE[row.dtype] for row in rows if row.target in constants)
    if size > max(sum(tensor.nbytes for tensor in tensors.values()), MOST_CONSTANTS):
        raise MappingError(
            f"has constants of {size:,} bytes, more than the file itself has", path=path, where="constants"
        )


def _constant(name: str, constant: Constant, like: Row | None, source: str, dtype: str | None) -> Row:
    own_dtype = constant.dtype or source
    return Row(
        None,
        name,
        dtype if dtype and own_dtype in FLOATS else own_dtype,
        like.shape if like else constant.shape,
        (),
        constant.value,
    )


def _notes(rows: Iterable[Row], tensors: Mapping[str, Tensor], dtype: str | None) -> Iterator[str]:
    if dtype is None:
        return
    cast = [row for row in rows if row.source is not None and row.dtype != tensors[row.source].dtype]
    exact = all(is_exact(tensors[row.source].dtype, row.dtype) for row in cast if row.source is not None)
    yield f"{len(cast)} tensors were cast to {dtype}{'' if exact else ', which rounds: there is no exact way back'}"
