"""Expand a network table: variants, and for a variant every module and tensor under its canonical name."""

from __future__ import annotations

from functools import cache, cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.record import Record

from .network_tables import load_network
from .storage import PARAMETERS
from .table_files import roots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .schema import Index, LayoutTable, ModuleTemplate, NetworkTable
    from .table_files import Roots

BN_EPS = "bn_eps"
"""The setting that every batch norm's eps is, in families that have norms."""

Stage = tuple[Any, ...]
"""A column's values in the blocks of one stage."""


class Variant(Record):
    """One network of a family, complete except for the sizes that a file's tensors show (classes, input channels).

    ``values`` are its type's and its depth's rows in the table.
    """

    name: str
    title: str
    table: NetworkTable
    values: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The network table's name."""
        return self.table.family

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Every module, in state-dict order."""
        return tuple(_modules(self))

    def each_module(self) -> Iterator[Module]:
        """Every module, expanded as far as it is asked for: most variants that are tried do not get far."""
        if "modules" in self.__dict__:
            yield from self.modules
            return
        expanded = []
        for module in _modules(self):
            expanded.append(module)
            yield module
        self.__dict__["modules"] = tuple(expanded)

    @cached_property
    def parts(self) -> tuple[tuple[str, bool], ...]:
        """The parts in order, each with whether it is optional. An empty name is not a part."""
        named = [template.format_map(self.values) for template in self.table.variant.parts]
        return tuple((name.removesuffix("?"), name.endswith("?")) for name in named if name)


class Module(NamedTuple):
    """A module under its canonical name.

    ``key`` is its line in the table and ``placeholders`` the values of the index there, which layouts fill their own
    templates with. ``shape`` may still hold names of sizes that the file binds. ``grid`` says by how much the
    input's axes have been divided where the output lies, in numbers and names of settings. ``side`` is the composed
    network it belongs to.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]
    part: str
    key: str
    placeholders: Mapping[str, Any]
    grid: tuple[int | str, ...]
    side: str
    family: str
    optional: bool


def variants(family: str) -> tuple[Variant, ...]:
    """Every variant of a family, in the table's order."""
    return _variants(roots(), family)


@cache
def _variants(roots: Roots, family: str) -> tuple[Variant, ...]:
    table = load_network(family)
    listed = []
    for type_name, row in table.types.items():
        for depth in row.get("depths", ("",)):
            merged = {**table.depths.get(str(depth), {}), **row, "type": type_name, "depth": depth}
            merged["columns"] = ("all", *_listed(table.depths.get(str(depth), {})), *_listed(row))
            title = row["title"].format_map(merged)
            if depth and "{depth}" not in row["title"]:
                title = f"{title}-{depth}"
            listed.append(
                Variant(name=table.variant.name.format_map(merged), title=title, table=table, values=merged)
            )
    return tuple(listed)


def find_variant(family: str, name: str) -> Variant:
    """One variant by name. Raises `KeyError`."""
    for variant in variants(family):
        if variant.name == name:
            return variant
    raise KeyError(name)


def copies(variant: Variant, part: str) -> int:
    """How many times a variant has the lines of a part that is not a side: once, or in so many of its blocks."""
    if not _indexed(variant.table.modules[part]):
        return 1
    number: int = sum(variant.values["blocks"])
    where = variant.table.where.get(part)
    for name, wanted in where.items() if where else ():
        number = sum(stage.count(wanted) for stage in column(variant, name))
    return number


def parts(variant: Variant) -> tuple[tuple[str, bool], ...]:
    """A variant's parts in order, each with whether it is optional."""
    return variant.parts


def head_part(variant: Variant) -> str:
    """The part that a file of the backbone alone lacks; empty if the variant has none."""
    return variant.table.variant.head.format_map(variant.values)


def is_detector(variant: Variant) -> bool:
    """Whether a variant classifies regions of frames, not whole clips."""
    return bool(variant.table.variant.detector.format_map(variant.values))


def modules(variant: Variant) -> tuple[Module, ...]:
    """Every module of a variant, in state-dict order."""
    return variant.modules


def _modules(variant: Variant) -> Iterator[Module]:
    last: dict[str, Any] = dict(variant.values)
    waiting: list[str] = []
    rows: list[dict[str, Any]] | None = None
    for part, optional in (*parts(variant), ("", False)):
        if part and part not in variant.table.compose and _indexed(variant.table.modules[part]):
            waiting.append(part)
            continue
        if waiting:
            rows = rows or list(_rows(variant))
            last = {**last, **rows[-1]}  # what was yielded keeps its own
            yield from _indexed_modules(variant, waiting, rows)
            waiting = []
        if part in variant.table.compose:
            yield from _side_modules(variant, part)
        elif part:
            for template in variant.table.modules[part]:
                yield _module(variant, part, template, last, template.name, optional)


def shapes(module: Module, sizes: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a module with their shapes, once the sizes that a file binds are known."""
    whole = tuple(size if isinstance(size, int) else sizes[size] for size in module.shape)
    for parameter in PARAMETERS[module.kind]:
        yield parameter, parameter_shape(module.kind, parameter, whole)


def parameter_shape(kind: str, parameter: str, whole: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape of one tensor of a module whose weight has the shape ``whole``."""
    return whole if parameter == "weight" and kind != "bn" else whole[:1]


def config(variant: Variant) -> dict[str, Any]:
    """What a reference network must know beside the shapes: blocks, strides, padding of the stem, ReLUs, and the
    family's settings."""
    if variant.table.compose:
        return {side: _built(_inner(variant, side)) for side in variant.table.compose} | settings(variant)
    return _built(variant) | settings(variant)


def _built(variant: Variant) -> dict[str, Any]:
    """What `config` has beside the settings."""
    values = variant.values
    if "block" not in values:
        return {}
    return {
        "blocks": values["blocks"],
        "block": values["block"],
        "temporal_strides": values.get("temporal_stride"),
        "spatial_strides": [stage[0] for stage in column(variant, "spatial_stride")],
        "factorised": values.get("factorised", False),
        "time_first": values.get("time_first", False),
        "middle_relu": values.get("middle_relu", True),
        "middle_eps": values.get("middle_eps", 0.0),
        "stem_padding_t": 0 if values.get("stem_spans_clip") else "same",
    }


def settings(variant: Variant) -> dict[str, Any]:
    """What no tensor shows of a variant, with the values that hold where neither a layout nor a model says otherwise;
    of a composed network what its sides have. A setting whose name begins with that of a part is the part's, and left
    out where the variant has none that is named so or begins so."""
    has = {part for part, _ in parts(variant)}
    of_sides: dict[str, Any] = {}
    for side in variant.table.compose:
        of_sides |= settings(_inner(variant, side))
    return of_sides | {
        name: value
        for name, value in {**variant.table.settings, **variant.values.get("settings", {})}.items()
        if not any(part.startswith(name.partition("_")[0]) for part in variant.table.modules)
        or any(part.startswith(name.partition("_")[0]) for part in has)
    }


def declaring_tables(variant: Variant) -> tuple[NetworkTable, ...]:
    """The network tables that declare a variant's settings: its own, and those of the sides it is composed of."""
    return (variant.table, *(_inner(variant, side).table for side in variant.table.compose))


def own_settings(layout: LayoutTable, variant: Variant) -> dict[str, Any]:
    """The settings of a layout's own network of a variant, as far as its models do not differ in them."""
    layout_settings = {**layout.settings, **layout.support_for(variant.name).settings}
    return {name: layout_settings.get(name, value) for name, value in settings(variant).items()}


def own_eps(layout: LayoutTable, variant: Variant) -> float | None:
    """The eps of the batch norms in a layout's own network of a variant; None where the layout is of no project's
    network, or the network has no norm."""
    found: float | None = None if layout.identity else own_settings(layout, variant).get(BN_EPS)
    return found


def parameters(variant: Variant, sizes: Mapping[str, int], present: Mapping[str, bool]) -> int:
    """How many trained numbers a network has: weights and biases, statistics left out."""
    return sum(
        prod(shape)
        for module in modules(variant)
        if present.get(module.part, not module.optional)
        for parameter, shape in shapes(module, sizes)
        if not parameter.startswith("running_")
    )


def weights(variant: Variant, sizes: Mapping[str, int]) -> int:
    """How many numbers the convolutions and linear layers hold, norms and biases left out: what VMZ prints."""
    return sum(
        prod(size if isinstance(size, int) else sizes[size] for size in module.shape)
        for module in modules(variant)
        if module.kind not in ("bn", "scalar") and not module.optional
    )


def multiply_adds(
    variant: Variant,
    sizes: Mapping[str, int],
    clip: tuple[int, ...],
    *,
    audio: tuple[int, int] = (100, 40),
    head_positions: int = 1,
    choices: Mapping[str, Any] | None = None,
) -> int:
    """Multiply-adds of the convolutions and linear layers for one clip: what papers print as FLOPs.

    ``clip`` is (frames, height, width), or (bins, bins) for an audio network; ``audio`` the second input of
    an audio-visual one. ``head_positions`` is how many times the linear layers run: a fully convolutional test net
    has them at every position of a frame larger than the one it was made for. ``choices`` are the family's
    settings, where they are others than the variant's own.
    """
    total = 0
    for module in modules(variant):
        if module.optional or module.kind in ("bn", "scalar"):
            continue
        whole = tuple(size if isinstance(size, int) else sizes[size] for size in module.shape)
        if not module.grid:
            total += prod(whole) * head_positions
            continue
        total += prod(whole) * _positions(
            variant,
            module,
            sizes,
            audio if module.side == "audio" else clip,
            choices=settings(variant) if choices is None else choices,
        )
    return total


def _positions(
    variant: Variant,
    module: Module,
    sizes: Mapping[str, int],
    size: tuple[int, ...],
    *,
    choices: Mapping[str, Any],
) -> int:
    table = variant.table if not module.side else _inner(variant, module.side).table
    values = variant.values if not module.side else _inner(variant, module.side).values
    axes = list(size)
    grid = [size if isinstance(size, int) else int(choices[size]) for size in module.grid]
    if len(grid) == 1:
        return prod(-(-axis // grid[0]) for axis in axes)
    for name, smaller in table.downsampled_early.items():
        if choices.get(name) and module.key in smaller:
            grid[1] = module.placeholders[smaller[module.key]]
    time, space, *less = grid
    if values.get("stem_spans_clip"):
        axes[0] = axes[0] - sizes["stem_t"] + 1
    stage = module.placeholders.get(table.index.stage.name, 0) if table.index else 0
    for name, first in table.strides.items():
        time *= choices[name] if stage >= first else 1
    for name, first in table.halves.items():
        space *= 2 if choices[name] and stage >= first else 1
    if less:
        return -(-axes[0] // time) * prod((axis - less[0]) // space for axis in axes[1:])
    return -(-axes[0] // time) * prod(-(-axis // space) for axis in axes[1:])


def _listed(row: Mapping[str, Any]) -> tuple[str, ...]:
    named = row.get("columns", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _indexed(templates: tuple[ModuleTemplate, ...]) -> bool:
    """Whether a part is there once for every row of the index: its names have holes."""
    return "{" in templates[0].name


def _inner(variant: Variant, side: str) -> Variant:
    row = variant.table.compose[side]
    types = row.type.format_map(variant.values)
    for inner in variants(row.network):
        if inner.values["type"] == types and inner.values["depth"] == variant.values["depth"]:
            return inner
    raise _wrong(variant, f"composes {types}-{variant.values['depth']}, which {row.network} lacks")


def _wrong(variant: Variant, what: str) -> Exception:
    """An error of the variant's table that only its expansion shows."""
    from .parse import TableError

    return TableError(what, path=f"networks/{variant.family}.toml", where=variant.name)


def _index(variant: Variant) -> Index:
    """The index that the variant's blocks are counted with."""
    if variant.table.index is None:
        raise _wrong(variant, "has no [index] for its blocks")
    return variant.table.index


def parts_of_side(variant: Variant, side: str) -> list[tuple[Variant, str]]:
    """The parts of the variant that a side is, those left out that the composed network does without."""
    inner = _inner(variant, side)
    return [(inner, part) for part, _ in parts(inner) if part not in variant.table.compose[side].without]


def _side_modules(variant: Variant, side: str) -> Iterator[Module]:
    wanted = {part for _, part in parts_of_side(variant, side)}
    for module in modules(_inner(variant, side)):
        if module.part in wanted:
            yield Module(
                f"{side}.{module.name}",
                module.kind,
                module.shape,
                module.part,
                module.key,
                module.placeholders,
                module.grid,
                side,
                module.family,
                False,
            )


def _indexed_modules(variant: Variant, names: list[str], rows: list[dict[str, Any]]) -> Iterator[Module]:
    prepared = [(part, variant.table.modules[part], variant.table.where.get(part)) for part in names]
    for row in rows:
        for part, templates, where in prepared:
            if where and any(row[column] != wanted for column, wanted in where.items()):
                continue
            for template in templates:
                yield _module(variant, part, template, row, template.name.format_map(row), False)


def _module(
    variant: Variant, part: str, template: ModuleTemplate, row: Mapping[str, Any], name: str, optional: bool
) -> Module:
    shape = tuple([size if isinstance(size, int) else _size(size, row) for size in template.shape])
    grid = tuple([size if isinstance(size, int) else _size(size, row) for size in template.grid])
    return Module(name, template.kind, shape, part, template.name, row, grid, "", variant.family, optional)


def _size(hole: str, row: Mapping[str, Any]) -> int | str:
    value = row.get(hole, hole)
    return value if isinstance(value, int) else hole


def _rows(variant: Variant) -> Iterator[dict[str, Any]]:
    """A row for every block: the index's counts and every column's value there."""
    index = _index(variant)
    names = {name for key in variant.values["columns"] for name in variant.table.columns.get(key, {})}
    names |= {name for name, value in variant.values.items() if isinstance(value, list) and name == "t"}
    columns = {name: column(variant, name) for name in sorted(names)}
    running = index.running_from
    for stage, blocks in enumerate(variant.values[index.stages]):
        for block in range(blocks):
            row = {name: values[stage][block] for name, values in columns.items()}
            row[index.running] = running
            row[index.stage.name] = stage + index.stage.from_
            row[index.within] = block
            row["blocks"] = blocks
            yield row
            running += 1


def column(variant: Variant, name: str) -> list[Stage]:
    """A column's values, for every stage those of its blocks."""
    raw: Any = variant.values.get(name)
    if not isinstance(raw, (list, dict)):
        raw = None
        for key in variant.values["columns"]:
            raw = variant.table.columns.get(key, {}).get(name, raw)
    if raw is None:
        raise _wrong(variant, f"column {name!r} is not defined")
    blocks: list[int] = variant.values[_index(variant).stages]
    if isinstance(raw, dict):
        if "product" in raw:
            return _product(column(variant, raw["product"]), raw["from"])
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
        before = [(raw["from"],), *column(variant, raw["previous"])]
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
