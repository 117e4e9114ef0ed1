"""Recognise a file: which layout's names it has, and which network it holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import AnotherNetwork, BadInput, Refused, UsageError
from converters.formats.registry import titles
from converters.mapping.file_names import OUTSIDE, Selections
from converters.mapping.globs import glob_matches
from converters.mapping.layout_tables import (
    known_layout,
    layout_errors,
    load_layout,
    models,
    readable_layouts,
)
from converters.mapping.match import Match, match_file, match_selections, names_for
from converters.mapping.names import families
from converters.mapping.network_info import layout_settings
from converters.mapping.readable_networks import network_errors, readable_variants
from converters.mapping.table_files import layout_names, network_names
from converters.printable import with_article
from converters.spelling import did_you_mean

from .unconverted import refuse_nothing_else, with_unconverted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.schema import LayoutTable


class _Request(NamedTuple):
    """What the user says of a file, see `match_file`."""

    variant: str | None = None
    head: str | None = None
    drop: tuple[str, ...] = ()


_OWN_MAPPING = "name its arrays in a mapping file of your own; `convert suggest` proposes one"


def recognize(
    checkpoint: Checkpoint,
    layout: str | None,
    *,
    variant: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    ask: bool = True,
) -> Match:
    """Match a file with a named layout, or find its layout.

    Without a name, the provenance record decides. A file without a record is tried with every layout of its format,
    an ONNX model with every layout; ``"onnx"`` does the same and accepts only ONNX models. If several layouts match,
    one that needs no prefix is best, then the one with the first priority. ``ask`` refuses a tie between layouts
    whose networks have different settings. ``head`` is what the file calls the head, ``drop`` are patterns of names to
    leave out.

    Raises `Refused` if nothing matches, `BadInput` if the file is in another format than the layout's.
    """
    path = checkpoint.path
    request = _Request(variant, head, (drop,) if isinstance(drop, str) else tuple(drop))
    refuse_nothing_else(checkpoint)
    _refuse_needless_patterns(checkpoint, request)
    if layout == "onnx" and checkpoint.format != "onnx":
        hint = "`convert auto` recognises other files"
        raise BadInput(f"is {with_article(checkpoint.container)}, not an ONNX model", path=path, hint=hint)
    if layout is None or layout == "onnx":
        recorded = (checkpoint.provenance or {}).get("layout")
        layout = recorded if isinstance(recorded, str) and recorded in layout_names() else None
    if layout is None:
        candidates = readable_layouts()
    else:
        candidates = [known_layout(layout), *(load_layout(name) for name in known_layout(layout).also_reads)]
    tables = [table for table in candidates if checkpoint.format in (table.format, "onnx")]
    if not tables and layout is None:
        what = f"no known layout has the names in this {checkpoint.container}"
        raise Refused(what, path=path, hint=_OWN_MAPPING)
    if not tables:
        raise BadInput(
            f"is {with_article(checkpoint.container)}; {candidates[0].title} comes as {titles(candidates[0].format)}",
            path=path,
            hint=_suggest_source(checkpoint),
        )
    if matches := _matches(checkpoint, tables, request):
        best = _best(checkpoint, matches, request, ask=ask and layout is None)
        _refuse_other_network(checkpoint, best.layout)
        left_aside = [name for name in checkpoint.unconverted if name not in best.dropped]
        return best.replace(dropped=(*best.dropped, *left_aside))
    _refuse_other_variant(checkpoint, tables, request)
    if layout is not None:
        _refuse_other_layout(checkpoint, tables, request)
    raise _nearest_refusal(checkpoint, tables, request, of_any=layout is None)


def _refuse_other_network(checkpoint: Checkpoint, layout: LayoutTable) -> None:
    """Raise `Refused` for a file that its name, or its folder's, says to hold another network with the same tensors."""
    if layout.storage.other_files and checkpoint.provenance is None:
        names = os.path.abspath(checkpoint.path).split(os.sep)
        for glob, what in layout.storage.other_files.items():
            if any(glob_matches(glob, name) for name in names):
                raise Refused(
                    f"is {what}",
                    path=checkpoint.path,
                    hint="it cannot be converted; `convert models` lists what can",
                )


def _refuse_needless_patterns(checkpoint: Checkpoint, request: _Request) -> None:
    """Raise `UsageError` for a pattern of names to leave out that no name fits: it may be misspelt."""
    names = (*checkpoint.tensors, *checkpoint.other_values)
    for pattern in request.drop:
        if not any(glob_matches(pattern, name) for name in names):
            raise UsageError(
                f"no name in the file fits the pattern {pattern!r}",
                path=checkpoint.path,
                hint="`convert inspect` shows the names",
            )


def _nearest_refusal(
    checkpoint: Checkpoint, tables: Sequence[LayoutTable], request: _Request, *, of_any: bool
) -> Refused:
    """The error for a file that matches none of some layouts: that of the layout with the fewest faults. They are
    ``of_any`` layout, not one that was asked for."""
    refusals: list[Refused] = []
    for table in tables:  # counting faults is slow, so it is done only if nothing matches
        try:
            match_file(
                table,
                checkpoint.tensors,
                _other_names(checkpoint, table),
                **request._asdict(),
                path=checkpoint.path,
            )
        except AnotherNetwork as error:
            if table.format == checkpoint.format:
                return error
            refusals.append(error)
        except Refused as error:
            refusals.append(error)
    nearest = max(refusals, key=lambda error: -len(error.faults) if error.faults else float("-inf"))
    if (of_any or len(tables) > 1 or checkpoint.model) and not nearest.faults:
        nearest = Refused(
            f"is {checkpoint.model}, which no table has" if checkpoint.model else "is not a known network",
            path=checkpoint.path,
            hint="`convert models` lists the known ones, `convert inspect` what the file holds",
        )
    if entry := _averages_that_fit(checkpoint, tables, request):
        nearest.hint = f"it holds averages of a network's weights: take them with --entry {entry}"
    if checkpoint.format == "onnx" and "bn_eps" not in checkpoint.declared:
        nearest.hint = (
            "the export may have folded its batch norms into the convolutions: export it in training mode "
            "and without constant folding"
        )
    if errors := (*network_errors(), *layout_errors()):
        nearest.hint = f"a table is broken, and its networks cannot be recognised: {errors[0]}"
    return with_unconverted(nearest, checkpoint.unconverted)


def _averages_that_fit(checkpoint: Checkpoint, tables: Sequence[LayoutTable], request: _Request) -> str:
    """What a TensorFlow checkpoint calls averages that are a network, without its own weights; empty if it has none."""
    if checkpoint.format != "tensorflow":
        return ""
    from converters.formats.tensorflow.averages import averages_as_variables, names_of_averages

    for entry in names_of_averages(checkpoint.tensors):
        tensors = averages_as_variables(checkpoint.tensors, entry, checkpoint.path)
        if _matches(checkpoint.replace(tensors=tensors), tables, request):
            return entry
    return ""


def _matches(checkpoint: Checkpoint, tables: Iterable[LayoutTable], request: _Request) -> list[Match]:
    """The file's matches with some layouts."""
    tensors, matches = checkpoint.tensors, []
    selections: dict[str, Selections] = {}
    for table in tables:
        names = selections.get(table.format)
        if names is None:
            others = _other_names(checkpoint, table)
            names = selections[table.format] = Selections(table.format, tensors, others, request.drop)
        match = match_selections(table, tensors, names, variant=request.variant, head=request.head)
        if match:
            matches.append(match)
    return matches


def _other_names(checkpoint: Checkpoint, table: LayoutTable) -> list[str]:
    """What a match must know of beside the tensors. Plain values among blobs must be ignored by name. Tensors that are
    not converted are left aside: if the network needs one, its name is missing."""
    left_aside = table.format == "pytorch"
    return [
        name
        for name, other in checkpoint.other_values.items()
        if left_aside or not (other.beside or other.is_tensor)
    ]


def _rank(match: Match) -> tuple[bool, int]:
    """The order of several matches, best first."""
    return bool(match.prefix or match.layout.naming.absent), match.layout.priority


def ambiguous_layouts(checkpoint: Checkpoint, first: Match) -> list[str]:
    """The other layouts that a file without a record matches equally well, if their networks have other settings."""
    if checkpoint.provenance:
        return []
    own = layout_settings(first.layout, first.variant, first.sizes)
    tables = [
        table
        for table in readable_layouts()
        if table.format == checkpoint.format
        and first.variant.family in families(table)
        and layout_settings(table, first.variant, first.sizes) != own
    ]
    request = _Request(head=first.layout.naming.head.lstrip(OUTSIDE) or None, drop=first.told)
    matches = _matches(checkpoint, tables, request)
    return [match.layout.name for match in matches if _rank(match) == _rank(first)]


def _are_ambiguous(matches: Sequence[Match]) -> bool:
    """Whether the matched layouts' networks have different settings."""
    first, *others = (layout_settings(match.layout, match.variant, match.sizes) for match in matches)
    return any(match != first for match in others)


def _best(checkpoint: Checkpoint, matches: Sequence[Match], request: _Request, *, ask: bool) -> Match:
    """The best match, as `recognize` ranks them. If a layout has several variants, the recorded one."""
    first = min(matches, key=lambda match: (*_rank(match), match.layout.name))
    tied = [match for match in matches if _rank(match) == _rank(first)]
    names = [match.layout.name for match in tied]
    if ask and _are_ambiguous(tied):
        raise Refused(
            f"names and shapes fit {len(names)} layouts whose networks compute different things",
            path=checkpoint.path,
            where=", ".join(names),
            hint=f"say which: {_commands(names)}",
        )
    return _as_recorded(checkpoint, first, request)


def _as_recorded(checkpoint: Checkpoint, match: Match, request: _Request) -> Match:
    """A match with the variant that the file's record names, if that fits too: a detector may have as many classes as
    a classifier."""
    recorded = ((checkpoint.provenance or {}).get("network") or {}).get("variant")
    if not isinstance(recorded, str) or recorded == match.variant.name:
        return match
    if request.variant is not None and recorded not in match.choices:
        return match
    asked = request._replace(variant=recorded)
    return next(iter(_matches(checkpoint, [load_layout(match.layout.name)], asked)), match)


def _refuse_other_variant(checkpoint: Checkpoint, tables: Sequence[LayoutTable], request: _Request) -> None:
    """Raise `Refused` for a file that holds another variant than the requested one."""
    if request.variant is None:
        return
    if matches := _matches(checkpoint, tables, request._replace(variant=None)):
        actual = matches[0].variant
        names = dict.fromkeys(name for match in matches for name in names_for(match))
        raise Refused(
            f"holds {actual.title} ({actual.name}), not {request.variant!r}",
            path=checkpoint.path,
            hint=_right_variant(request.variant, names, tables),
        )


def _right_variant(asked: str, fitting: Collection[str], tables: Sequence[LayoutTable]) -> str:
    """A hint to the variants that fit: the one that was perhaps meant where no variant or model has the name."""
    known = {variant.name for variant in readable_variants(network_names())}
    known.update(row.name for table in tables for row in models(table))
    near = "" if asked in known else did_you_mean(asked, fitting)
    return near or f"--variant may be {', '.join(fitting)}"


def _refuse_other_layout(checkpoint: Checkpoint, tables: Sequence[LayoutTable], request: _Request) -> None:
    """Raise `Refused` for a file that is in another layout than the requested one."""
    anything = request._replace(variant=None)
    if elsewhere := _matches_elsewhere(checkpoint, {table.name for table in tables}, anything):
        titles_ = " or ".join(dict.fromkeys(match.layout.title for match in elsewhere))
        raise Refused(
            f"holds {elsewhere[0].variant.title} with the names of {titles_}",
            path=checkpoint.path,
            where=f"not of {tables[0].title}",
            hint=f"use {_sources(elsewhere)}",
        )


def _matches_elsewhere(checkpoint: Checkpoint, tried: Collection[str], request: _Request) -> list[Match]:
    """The file's matches with layouts that were not tried, best first."""
    tables = [table for table in readable_layouts() if table.name not in tried]
    matches = _matches(
        checkpoint, (table for table in tables if checkpoint.format in (table.format, "onnx")), request
    )
    return sorted(matches, key=lambda match: (_rank(match), match.layout.name))


def _sources(matches: Iterable[Match]) -> str:
    """The commands that convert a file with these matches."""
    return _commands(dict.fromkeys(_source_name(match.layout) for match in matches))


def _commands(sources: Iterable[str]) -> str:
    return " or ".join(f"`convert {source} ...`" for source in sources)


def _source_name(layout: LayoutTable) -> str:
    """The source to name on the command line: a layout of the same format that also reads this one, or itself."""
    tables = readable_layouts()
    return next(
        (table.name for table in tables if layout.name in table.also_reads and table.format == layout.format),
        layout.name,
    )


def _suggest_source(checkpoint: Checkpoint) -> str:
    if matches := _matches_elsewhere(checkpoint, (), _Request()):
        return f"it holds {matches[0].variant.title}: use {_sources(matches)}"
    names = [table.name for table in readable_layouts() if table.format == checkpoint.format]
    if not names:
        return _OWN_MAPPING
    return (
        f"use `convert {names[0]} ...`"
        if len(names) == 1
        else f"`convert inspect` shows what it holds; its layout may be one of {', '.join(names)}"
    )
