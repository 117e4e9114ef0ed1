"""Initialise a 3D network from a 2D one (I3D-style inflation), or a network for other input channels.

A 2D kernel is repeated along time and divided by its length, or placed in the centre frame. For optical flow every
input channel gets the mean over those of the file. A pathway that sees more channels than the file has gets zeros for
them. There is no way back: the tables say which families can be inflated from which.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import UsageError
from converters.locations import without_credentials
from converters.mapping.layout_tables import known_layout, load_layout
from converters.mapping.match import with_inverse_std
from converters.mapping.network_info import network_info, require_unambiguous
from converters.record import Record

from .execute import execute, open_input, output_of, refuse_paths
from .inflated_tensors import inflate_tensors
from .inflation_target import choose_model, choose_variant, inflated_sizes
from .notes import UNCHECKED, left_out_notes, shape_notes
from .operations.inflation import Inflate, Pad, Spread
from .options import ReadOptions, WriteOptions
from .plan import make_plan
from .provenance import describe_source, record
from .recognize import recognize
from .result import Result
from .values import refuse_unlike

if TYPE_CHECKING:
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

    from .plan import Plan
    from .row import Row

RULES = ("average", "centre")

_OF_PIXELS = ("order", "range", "mean", "std", "labels", "labels_notice")
"""What belongs to the weights of a 2D network, wherever they go: how its pixels are normalised, and its classes."""


class InflateOptions(Record):
    """What is inflated to what; see `inflate`."""

    variant: str
    model: str | None
    head: str | None
    drop: tuple[str, ...]
    rule: str
    channels: int | None
    inverse_std: bool


def inflate(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    variant: str,
    model: str | None = None,
    to: str = "native",
    rule: str = "average",
    channels: int | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    inverse_std: bool = False,
    wrap: bool = False,
    force: bool = False,
    check: bool = False,
    sha256: bool = False,
    checksum: bool = True,
    dry_run: bool = False,
) -> Result:
    """Initialise the network ``variant``, a network's name or a model's, with the weights of a 2D network.

    ``model`` is one of the layout's models, if the layout has several of the network ``variant``. ``rule`` says how a
    kernel is inflated: ``"average"`` repeats it along time and divides by its length, ``"centre"`` puts it in the
    centre frame. ``channels`` are the input channels of the output, if they differ from the file's: each gets the mean
    over the file's. Everything else is copied, the classifier too. For SlowFast the output is the slow pathway; its
    kernels get zeros for the channels that come from the fast one. A classifier that does not fit is left out. ``to``
    is the output's layout; the other options are as in `convert`.

    Raises `Refused` if the file holds no 2D network, if the variant is not built from it, or if tensors do not fit;
    `UsageError` and `BadInput` as `convert` does.
    """
    path, output_path = os.fspath(input), os.fspath(output)
    if rule not in RULES:
        raise UsageError(f"a kernel is inflated by {' or '.join(RULES)}, not {rule!r}")
    if channels is not None and channels < 1:
        raise UsageError("channels must be at least 1")
    target = known_layout(to)
    refuse_paths(path, output_path, force=force)
    read = ReadOptions(entry=entry, checksum=checksum, sha256=sha256)
    write = WriteOptions(force=force, dry_run=dry_run, check=check, wrap=wrap)
    options = InflateOptions(
        variant=variant,
        model=model,
        head=head,
        drop=(drop,) if isinstance(drop, str) else tuple(drop),
        rule=rule,
        channels=channels,
        inverse_std=inverse_std,
    )
    return _inflate(path, output_path, target, options, read, write)


class _Inflation(NamedTuple):
    """A planned inflation: the file's network ``source``, the network ``info`` that it is inflated to."""

    match: Match
    source: NetworkInfo
    info: NetworkInfo
    plan: Plan


def _inflate(
    path: str,
    output_path: str,
    target: LayoutTable,
    options: InflateOptions,
    read: ReadOptions,
    write: WriteOptions,
) -> Result:
    started = perf_counter()
    output = output_of(output_path, target, wrap=write.wrap)
    with open_input(path, output_path, read) as checkpoint:
        opened = perf_counter()
        inflation = _plan(checkpoint, target, options, dry_run=write.dry_run)
        plan = inflation.plan
        if not read.checksum:
            plan = plan.replace(notes=(*plan.notes, UNCHECKED))

        def describe(plan: Plan) -> dict[str, Any]:
            source = describe_source(checkpoint, inflation.match, sha256=read.sha256 and not write.dry_run)
            return _record(inflation._replace(plan=plan), target, source, options.rule)

        result = Result(
            source=without_credentials(path),
            output=None,
            info=inflation.info,
            layout=inflation.match.layout.name,
            target=target.name,
            timings={"read": opened - started, "plan": perf_counter() - opened},
        )
        return execute(checkpoint, plan, output, describe, write, result)


def _plan(
    checkpoint: Checkpoint, target: LayoutTable, options: InflateOptions, *, dry_run: bool
) -> _Inflation:
    """The file's tensors under canonical names, inflated, then under the target's names."""
    path, tensors = checkpoint.path, checkpoint.tensors
    match = recognize(checkpoint, None, head=options.head, drop=options.drop, ask=False)
    variant = choose_variant(match, target, options.variant, path)
    model = choose_model(target, variant, options.variant, options.model, path)
    if options.inverse_std:
        match = with_inverse_std(match)
    source = network_info(match, checkpoint.provenance)
    flat = make_plan(match, tensors, load_layout("native"), source, eps=source.bn_eps, path=path)
    sizes = inflated_sizes(match, target, variant, model, options.channels)
    inflated, made = inflate_tensors(match, flat.rows, variant, sizes, options.rule, path)
    lazy = {name: tensor.tensor(tensors, name) for name, tensor in made.items()}
    info = require_unambiguous(
        network_info(inflated.replace(layout=target), None, model=model), path, option="--model"
    )
    kept = {name: source.settings[name] for name in variant.table.inflate.keeps if name in source.settings}
    info = info.replace(settings={**info.settings, **kept})
    plan = make_plan(inflated, lazy, target, info.with_eps(source.bn_eps), eps=info.bn_eps, path=path)
    if not dry_run:
        for name, value in plan.implied:
            refuse_unlike(lazy[name], value, path, where=made[name].row.source or name)
    rows = tuple(row if row.source is None else made[row.source].before(row) for row in plan.rows)
    plan = plan.replace(
        rows=rows,
        dropped=_dropped(match, rows),
        notes=(
            *flat.notes,
            *plan.notes,
            *_notes(rows, inflated, source, variant),
            *left_out_notes(match),
            *shape_notes(match, tensors),
        ),
        implied=flat.implied,
    )
    return _Inflation(match, source, info.replace(input=_input(source, info), model=""), plan)


def _record(
    inflation: _Inflation, target: LayoutTable, source: Mapping[str, Any], rule: str
) -> dict[str, Any]:
    """The provenance record. What an inflated network began with cannot be restored."""
    match = inflation.match
    origin = {
        "layout": match.layout.name,
        "scope": match.prefix,
        "details": {},
        "names": {},
        "bn_eps": inflation.source.bn_eps,
        "dtype": "float32",
        "dtypes": {},
        "shapes": {},
        "lossy": True,
    }
    described = {**source, "inflated": rule, "network": inflation.source.variant}
    return record(match, inflation.plan, inflation.info, target, described, {}, origin)


def _notes(rows: Iterable[Row], inflated: Match, source: NetworkInfo, variant: Variant) -> Iterator[str]:
    """What became of the tensors, by number, and what the output lacks."""
    rows = list(rows)
    ops = [op for row in rows for op in row.operations if isinstance(op, (Inflate, Spread, Pad))]
    counts: dict[str, int] = {}
    for op in ops:
        description = (
            op.describe() if not isinstance(op, Inflate) or op.frames > 1 else "given a time axis of one"
        )
        counts[description] = counts.get(description, 0) + 1
    summary = ", ".join(f"{number} {description}" for description, number in counts.items())
    yield (
        f"{source.title}'s kernels: {summary}; everything else was copied. The output initialises training and "
        "cannot be converted back"
    )
    if inflated.partial:
        yield (
            f"this is a part of {variant.title}: a 2D network does not have its other tensors, so load it "
            "with strict=False"
        )
    elif not inflated.sizes["classes"] and source.classes:
        yield f"{variant.title}'s head is different, so the output has none"


def _dropped(match: Match, rows: Iterable[Row]) -> tuple[str, ...]:
    """The file's tensors, without counters, that no tensor of the output uses."""
    used = {row.source for row in rows}
    names = (match.file_name(entry) for entry in match.slots if entry.name)
    return (*(name for name in names if name not in used), *match.dropped)


def _input(source: NetworkInfo, own: NetworkInfo) -> dict[str, Any]:
    """The input of the inflated network. Clip and crop are its own. What describes pixels is the file's, unless the
    channels differ."""
    if source.channels != own.channels:
        return dict(own.input)
    kept = {key: value for key, value in own.input.items() if key not in _OF_PIXELS}
    return {**kept, **{key: value for key, value in source.input.items() if key in _OF_PIXELS}}
