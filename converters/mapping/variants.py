"""Expand a network table: variants, and for a variant every module and tensor under its canonical name."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from .tables import LEAVES, ModuleTemplate, NetworkTable, TableError, load_network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Stage = tuple[Any, ...]
"""A column's values in the blocks of one stage."""


class Variant(NamedTuple):
    """One network of a family, decided but for the sizes that a file binds (classes, input channels)."""

    name: str
    title: str
    table: NetworkTable
    values: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The network table's name."""
        return self.table.family


class Module(NamedTuple):
    """A module under its canonical name.

    ``key`` is its line in the table and ``holes`` the values of the index there, which layouts fill their own
    templates with. ``shape`` may still hold names of sizes that the file binds. ``grid`` says by how much the
    input's axes have been divided where the output lies, in numbers and names of settings. ``side`` is the composed
    network it belongs to.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]
    part: str
    key: str
    holes: Mapping[str, Any]
    grid: tuple[int | str, ...]
    side: str
    family: str
    optional: bool


@cache
def variants(family: str) -> tuple[Variant, ...]:
    """Every variant of a family, in the table's order."""
    table = load_network(family)
    found = []
    for type_name, row in table.types.items():
        for depth in row.get("depths", ("",)):
            merged = {**table.depths.get(str(depth), {}), **row, "type": type_name, "depth": depth}
            merged["columns"] = ("all", *_listed(table.depths.get(str(depth), {})), *_listed(row))
            title = row["title"].format_map(merged)
            if depth and "{depth}" not in row["title"]:
                title = f"{title}-{depth}"
            found.append(Variant(table.name.format_map(merged), title, table, merged))
    return tuple(found)


def variant(family: str, name: str) -> Variant:
    """One variant by name. Raises `KeyError`."""
    for one in variants(family):
        if one.name == name:
            return one
    raise KeyError(name)


def count(one: Variant, stored: Mapping[str, int]) -> int:
    """How many tensors a variant has in a file, optional parts left out, without expanding it.

    ``stored`` says how many a module of each kind has, or one under its key in the table, perhaps in one part alone.
    """
    total = 0
    for part, optional in parts(one):
        if optional:
            continue
        if part in one.table.compose:
            total += sum(count_part(inner, name, stored) for inner, name in _composed(one, part))
        else:
            total += count_part(one, part, stored)
    return total


def count_part(one: Variant, part: str, stored: Mapping[str, int]) -> int:
    """How many tensors one part of a variant has."""
    templates = one.table.modules[part]
    each = sum(
        stored.get(f"{part}/{template.name}", stored.get(template.name, stored[template.kind]))
        for template in templates
    )
    if not _indexed(templates):
        return each
    blocks: list[int] = one.values["blocks"]
    where = one.table.where.get(part)
    if not where:
        return each * sum(blocks)
    ((name, wanted),) = where.items()
    return each * sum(stage.count(wanted) for stage in column(one, name))


def parts(one: Variant) -> Iterator[tuple[str, bool]]:
    """A variant's parts in order, each with whether it is optional. A name that comes out empty is no part."""
    for template in one.table.parts:
        if name := template.format_map(one.values):
            yield name.removesuffix("?"), name.endswith("?")


def head_part(one: Variant) -> str:
    """The part that a file of the backbone alone lacks; empty where there is no such."""
    return one.table.head.format_map(one.values)


def modules(one: Variant) -> Iterator[Module]:
    """Every module of a variant, in state-dict order, expanded as far as it is asked for."""
    last: dict[str, Any] = dict(one.values)
    waiting: list[str] = []
    rows: list[dict[str, Any]] | None = None
    for part, optional in (*parts(one), ("", False)):
        if part and part not in one.table.compose and _indexed(one.table.modules[part]):
            waiting.append(part)
            continue
        if waiting:
            rows = rows or list(_rows(one))
            last.update(rows[-1])
            yield from _indexed_modules(one, waiting, rows)
            waiting = []
        if part in one.table.compose:
            yield from _side_modules(one, part)
        elif part:
            for template in one.table.modules[part]:
                yield _module(one, part, template, last, template.name, optional)


def shapes(module: Module, sizes: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a module with their shapes, once the sizes that a file binds are known."""
    whole = tuple(size if isinstance(size, int) else sizes[size] for size in module.shape)
    for leaf in LEAVES[module.kind]:
        yield leaf, leaf_shape(module.kind, leaf, whole)


def leaf_shape(kind: str, leaf: str, whole: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape of one tensor of a module whose weight has the shape ``whole``."""
    return whole if leaf == "weight" and kind != "bn" else whole[:1]


def config(one: Variant) -> dict[str, Any]:
    """What a reference network must know beside the shapes: blocks, strides, padding of the stem, ReLUs, and the
    family's settings."""
    if one.table.compose:
        return {side: config(_inner(one, side)) for side in one.table.compose}
    values = one.values
    if "block" not in values:
        return {}
    return {
        "blocks": values["blocks"],
        "block": values["block"],
        "temporal_strides": values.get("temporal_stride"),
        "spatial_strides": [stage[0] for stage in column(one, "spatial_stride")],
        "factorised": values.get("factorised", False),
        "time_first": values.get("time_first", False),
        "middle_relu": values.get("middle_relu", True),
        "middle_eps": values.get("middle_eps", 0.0),
        "stem_padding_t": 0 if values.get("stem_spans_clip") else "same",
        **settings(one),
    }


def settings(one: Variant) -> dict[str, Any]:
    """What no tensor shows of a variant, where neither a layout nor a model says otherwise; empty for a family
    whose tensors, with its layout, show everything. A setting whose name begins with that of a part is the
    part's, and left out where the variant has none that is named so or begins so."""
    has = {part for part, _ in parts(one)}
    return {
        name: value
        for name, value in {**one.table.settings, **one.values.get("settings", {})}.items()
        if not any(part.startswith(name.partition("_")[0]) for part in one.table.modules)
        or any(part.startswith(name.partition("_")[0]) for part in has)
    }


def parameters(one: Variant, sizes: Mapping[str, int], present: Mapping[str, bool]) -> int:
    """How many trained numbers a network has: weights and biases, statistics left out."""
    return sum(
        prod(shape)
        for module in modules(one)
        if present.get(module.part, not module.optional)
        for leaf, shape in shapes(module, sizes)
        if not leaf.startswith("running_")
    )


def weights(one: Variant, sizes: Mapping[str, int]) -> int:
    """How many numbers the convolutions and matrices hold, norms and biases left out: what VMZ prints."""
    return sum(
        prod(size if isinstance(size, int) else sizes[size] for size in module.shape)
        for module in modules(one)
        if module.kind != "bn" and not module.optional
    )


def multiply_adds(
    one: Variant,
    sizes: Mapping[str, int],
    clip: tuple[int, ...],
    *,
    pool1: bool = False,
    stem_stride: int = 1,
    audio: tuple[int, int] = (100, 40),
    head_positions: int = 1,
    choices: Mapping[str, Any] | None = None,
) -> int:
    """Multiply-adds of the convolutions and matrices for one clip: what papers print as FLOPs.

    ``clip`` is (frames, height, width), or (bins, bins) for an audio network; ``audio`` the second input of
    an audio-visual one. ``head_positions`` is how many times the matrices run: a fully convolutional test net
    has them at every position of a frame larger than the one it was made for. ``choices`` are the family's
    settings, where they are others than the variant's own.
    """
    total = 0
    for module in modules(one):
        if module.optional or module.kind == "bn":
            continue
        whole = tuple(size if isinstance(size, int) else sizes[size] for size in module.shape)
        if not module.grid:
            total += prod(whole) * head_positions
            continue
        total += prod(whole) * _positions(
            one,
            module,
            sizes,
            audio if module.side == "audio" else clip,
            pool1=pool1,
            stem_stride=stem_stride,
            choices=settings(one) if choices is None else choices,
        )
    return total


def _positions(
    one: Variant,
    module: Module,
    sizes: Mapping[str, int],
    size: tuple[int, ...],
    *,
    pool1: bool,
    stem_stride: int,
    choices: Mapping[str, Any],
) -> int:
    table = one.table if not module.side else _inner(one, module.side).table
    values = one.values if not module.side else _inner(one, module.side).values
    axes = list(size)
    grid = [size if isinstance(size, int) else int(choices[size]) for size in module.grid]
    if len(grid) == 1:
        return prod(-(-axis // grid[0]) for axis in axes)
    for name, smaller in table.early.items():
        if choices.get(name) and module.key in smaller:
            grid[-1] = module.holes[smaller[module.key]]
    time, space = grid
    if values.get("stem_spans_clip"):
        axes[0] = axes[0] - sizes["stem_t"] + 1
    else:
        before_stem_strides = module.part.startswith("stem") and module.name.endswith("middle.conv")
        axes[0] = -(-axes[0] // (1 if before_stem_strides else stem_stride))
    if pool1 and table.pool1 and not module.part.startswith(table.pool1):
        space *= 2
    for name, first in table.strides.items():
        time *= choices[name] if module.holes.get(table.block_index["stage"]["name"], 0) >= first else 1
    return -(-axes[0] // time) * prod(-(-axis // space) for axis in axes[1:])


def _listed(row: Mapping[str, Any]) -> tuple[str, ...]:
    named = row.get("columns", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _indexed(templates: tuple[ModuleTemplate, ...]) -> bool:
    """Whether a part is there once for every row of the index: its names have holes."""
    return "{" in templates[0].name


def _inner(one: Variant, side: str) -> Variant:
    row = one.table.compose[side]
    types = row["type"].format_map(one.values)
    for inner in variants(row["network"]):
        if inner.values["type"] == types and inner.values["depth"] == one.values["depth"]:
            return inner
    raise TableError(
        f"composes {types}-{one.values['depth']}, which {row['network']} lacks", path=one.table.family
    )


def _composed(one: Variant, side: str) -> list[tuple[Variant, str]]:
    inner = _inner(one, side)
    return [(inner, part) for part, _ in parts(inner) if part not in one.table.compose[side]["without"]]


def _side_modules(one: Variant, side: str) -> Iterator[Module]:
    wanted = {part for _, part in _composed(one, side)}
    for module in modules(_inner(one, side)):
        if module.part in wanted:
            yield Module(
                f"{side}.{module.name}",
                module.kind,
                module.shape,
                module.part,
                module.key,
                module.holes,
                module.grid,
                side,
                module.family,
                False,
            )


def _indexed_modules(one: Variant, names: list[str], rows: list[dict[str, Any]]) -> Iterator[Module]:
    prepared = [(part, one.table.modules[part], one.table.where.get(part)) for part in names]
    for row in rows:
        for part, templates, where in prepared:
            if where and any(row[column] != wanted for column, wanted in where.items()):
                continue
            for template in templates:
                yield _module(one, part, template, row, template.name.format_map(row), False)


def _module(
    one: Variant, part: str, template: ModuleTemplate, row: Mapping[str, Any], name: str, optional: bool
) -> Module:
    shape = tuple([size if isinstance(size, int) else _size(size, row) for size in template.shape])
    grid = tuple([size if isinstance(size, int) else _size(size, row) for size in template.grid])
    return Module(name, template.kind, shape, part, template.name, row, grid, "", one.family, optional)


def _size(hole: str, row: Mapping[str, Any]) -> int | str:
    value = row.get(hole, hole)
    return value if isinstance(value, int) else hole


def _rows(one: Variant) -> Iterator[dict[str, Any]]:
    """A row for every block: the index's counts and every column's value there."""
    index = one.table.block_index
    stage_name, stage_from = index["stage"]["name"], index["stage"]["from"]
    names = {name for key in one.values["columns"] for name in one.table.columns.get(key, {})}
    names |= {name for name, value in one.values.items() if isinstance(value, list) and name == "t"}
    columns = {name: column(one, name) for name in sorted(names)}
    running = 0
    for stage, blocks in enumerate(one.values[index["stages"]]):
        for block in range(blocks):
            row = {name: values[stage][block] for name, values in columns.items()}
            row[index["running"]] = running
            row[stage_name] = stage + stage_from
            row[index["within"]] = block
            row["blocks"] = blocks
            yield row
            running += 1


def column(one: Variant, name: str) -> list[Stage]:
    """A column's values, for every stage those of its blocks."""
    raw: Any = one.values.get(name)
    if not isinstance(raw, (list, dict)):
        raw = None
        for key in one.values["columns"]:
            raw = one.table.columns.get(key, {}).get(name, raw)
    if raw is None:
        raise TableError(f"column {name!r} is not defined for {one.name}", path=one.table.family)
    blocks: list[int] = one.values[one.table.block_index["stages"]]
    if isinstance(raw, dict):
        if "product" in raw:
            return _product(column(one, raw["product"]), raw["from"])
        if "cycle" in raw:
            return [
                tuple(values[block % len(values)] for block in range(number))
                for values, number in zip(raw["cycle"], blocks, strict=True)
            ]
        if "at" in raw:
            return [
                tuple(int(block in places) for block in range(number))
                for places, number in zip(raw["at"], blocks, strict=True)
            ]
        before = [(raw["from"],), *column(one, raw["previous"])]
        return [(earlier[-1], *own[1:]) for earlier, own in pairwise(before)]
    return [
        (value[0], *value[1:] * (number - 1)) if isinstance(value, list) else (value,) * number
        for value, number in zip(raw, blocks, strict=True)
    ]


def _product(factors: list[Stage], start: int) -> list[Stage]:
    out, running = [], start
    for stage in factors:
        running *= stage[0]
        out.append((running,) * len(stage))
    return out
