"""Which layout a file is in, and which one it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, Refused, UsageError
from converters.formats.registry import titles
from converters.mapping.catalog import layout_names, load_layout, readable_layouts
from converters.mapping.match import Match, find_match, match_file, names_for
from converters.mapping.names import families
from converters.mapping.network_info import layout_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.schema import LayoutTable


def recognize(
    checkpoint: Checkpoint,
    layout: str | None,
    *,
    variant: str | None = None,
    head: str | None = None,
    ask: bool = True,
) -> Match:
    """Fit a file with a named layout, or find the one it is in.

    Without a name the provenance decides, else every layout of the file's format is tried (of an ONNX model, every
    one there is; so too under the name ``"onnx"``, which takes nothing else); where more than one fits, one whose
    very names the file has, and then the one whose table ranks first, unless ``ask`` and several tie on what no tensor
    shows. ``head`` is what the file calls the head. Raises `Refused` or `BadInput`.
    """
    path = checkpoint.path
    if layout == "onnx" and checkpoint.format != "onnx":
        hint = "`convert auto` recognises other files"
        raise BadInput(f"is a {checkpoint.container}, not an ONNX model", path=path, hint=hint)
    if layout is None or layout == "onnx":
        told = (checkpoint.provenance or {}).get("layout")
        layout = told if isinstance(told, str) and told in layout_names() else None
    if layout is None:
        named = readable_layouts()
    else:
        named = [_layout(layout), *(load_layout(name) for name in _layout(layout).also_reads)]
    tables = [table for table in named if checkpoint.format in (table.format, "onnx")]
    if not tables:
        raise BadInput(
            f"is a {checkpoint.container}; {named[0].title} comes as {titles(named[0].format)}",
            path=path,
            hint=_other_source(checkpoint),
        )
    if found := _fits(checkpoint, tables, variant, head):
        return _first(checkpoint, found, ask=ask and layout is None)
    if layout is not None:
        _refuse_named(checkpoint, tables, variant, head)
    refusals: list[Refused] = []
    for table in tables:  # only now are faults counted, which takes its time
        try:
            match_file(
                table, checkpoint.tensors, checkpoint.other_values, variant=variant, head=head, path=path
            )
        except Refused as error:
            refusals.append(error)
    nearest = max(refusals, key=lambda error: -len(error.faults) if error.faults else float("-inf"))
    if len(tables) > 1 and not nearest.faults:
        nearest = Refused(
            "is no network that is known here",
            path=path,
            hint="`convert models` shows what is; `convert inspect` what the file holds",
        )
    if checkpoint.format == "onnx" and "bn_eps" not in checkpoint.declared:
        nearest.hint = (
            "the export may have folded its batch norms into the convolutions: export it in training mode "
            "and without constant folding"
        )
    raise nearest


def _fits(
    checkpoint: Checkpoint, tables: Iterable[LayoutTable], variant: str | None, head: str | None
) -> list[Match]:
    """The file's fits with some layouts."""
    found = (
        find_match(table, checkpoint.tensors, checkpoint.other_values, variant=variant, head=head)
        for table in tables
    )
    return [one for one in found if one]


def _place(one: Match) -> tuple[bool, int]:
    return bool(one.prefix or one.layout.naming.absent), one.layout.priority


def namesakes(checkpoint: Checkpoint, first: Match) -> list[str]:
    """The other layouts whose names and shapes a file has as well, where the networks behind them differ in what no
    tensor shows."""
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
    found = _fits(checkpoint, tables, None, None)
    return [one.layout.name for one in found if _place(one) == _place(first)]


def _compute_different_things(found: Sequence[Match]) -> bool:
    """Whether the layouts' own networks of a file have different settings."""
    first, *others = (layout_settings(one.layout, one.variant, one.sizes) for one in found)
    return any(one != first for one in others)


def _first(checkpoint: Checkpoint, found: Sequence[Match], *, ask: bool) -> Match:
    """The fit that counts, see `recognize`; of several variants of a layout the one that provenance tells of."""

    first = min(found, key=lambda one: (*_place(one), one.layout.name))
    names = [one.layout.name for one in found if _place(one) == _place(first)]
    if ask and _compute_different_things([one for one in found if _place(one) == _place(first)]):
        raise Refused(
            f"names and shapes fit {len(names)} layouts whose networks compute different things",
            path=checkpoint.path,
            where=", ".join(names),
            hint=f"say which: `convert {names[0]} ...`",
        )
    known = ((checkpoint.provenance or {}).get("network") or {}).get("variant")
    if known in first.choices:
        return _fits(checkpoint, [load_layout(first.layout.name)], known, None)[0]
    return first


def _refuse_named(
    checkpoint: Checkpoint, tables: Sequence[LayoutTable], variant: str | None, head: str | None
) -> None:
    """Raise `Refused` for a file that is another network than was asked for, or of another layout."""
    if variant is not None and (found := _fits(checkpoint, tables, None, head)):
        held = found[0].variant
        raise Refused(
            f"holds {held.title} ({held.name}), which {variant!r} is not",
            path=checkpoint.path,
            hint=f"--variant may be {', '.join(names_for(found[0]))}",
        )
    if other := _elsewhere(checkpoint, (one.name for one in tables)):
        raise Refused(
            f"holds {other.variant.title} with the names of {other.layout.title}",
            path=checkpoint.path,
            where=f"not of {tables[0].title}",
            hint=f"use `convert {_command(other.layout)} ...`",
        )


def _elsewhere(checkpoint: Checkpoint, tried: Iterable[str]) -> Match | None:
    """The file's fit with a layout that was not tried, if there is one."""
    passed = {*tried}
    tables = [table for table in readable_layouts() if table.name not in passed]
    found = _fits(
        checkpoint, (one for one in tables if checkpoint.format in (one.format, "onnx")), None, None
    )
    return min(found, key=lambda one: one.layout.priority, default=None)


def _command(layout: LayoutTable) -> str:
    """The source that reads a layout: its own name, or that of the layout of its format which reads it too."""
    tables = readable_layouts()
    return next(
        (one.name for one in tables if layout.name in one.also_reads and one.format == layout.format),
        layout.name,
    )


def choose_target(fitted: Match, to: str | None, provenance: Mapping[str, Any] | None = None) -> LayoutTable:
    """The layout to write: the one asked for, else the first of the source's defaults that holds the network.

    ``"onnx"`` stands for a source's own layout: the file's, else the one that its provenance began with, else the
    first that has the network.
    """
    if to == "onnx":
        return _source_layout(fitted, provenance)
    if to is not None:
        return _layout(to)
    for name in fitted.layout.default_targets:
        table = load_layout(name)
        if (
            fitted.variant.family in families(table)
            and not table.support_for(fitted.variant.name).unsupported
        ):
            return table
    raise Refused(f"no default layout holds {fitted.variant.title}", hint="choose one with --to")


def _source_layout(fitted: Match, provenance: Mapping[str, Any] | None) -> LayoutTable:
    origin = ((provenance or {}).get("origin") or {}).get("layout")
    first = [load_layout(name) for name in (fitted.layout.name, origin) if name in layout_names()]
    for table in (*first, *readable_layouts()):
        if table.format == "pytorch" or table.support_for(fitted.variant.name).unsupported:
            continue
        if fitted.variant.family in families(table):
            return table
    raise Refused(
        f"no source framework has {fitted.variant.title}",
        hint="ONNX graphs are those of the source frameworks",
    )


def _other_source(checkpoint: Checkpoint) -> str:
    if other := _elsewhere(checkpoint, ()):
        return f"it holds {other.variant.title}: use `convert {_command(other.layout)} ...`"
    names = [table.name for table in readable_layouts() if table.format == checkpoint.format]
    return (
        f"use `convert {names[0]} ...`"
        if len(names) == 1
        else f"`convert inspect` shows what it holds; its layout may be one of {', '.join(names)}"
    )


def _layout(name: str) -> LayoutTable:
    if name not in layout_names():
        from difflib import get_close_matches

        near = get_close_matches(name, layout_names(), 1)
        raise UsageError(
            f"there is no layout {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(layout_names())}",
        )
    return load_layout(name)
