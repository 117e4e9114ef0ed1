"""The two sorts of table in ``mappings/``, read from TOML and checked.

A *network* table (``mappings/networks``) lists a family's modules under canonical names, with their shapes, for
every variant. A *layout* table (``mappings/layouts``) says what some project calls those modules in its files.
The grammar is described in ``mappings/README.md``.
"""

from __future__ import annotations

import os
import tomllib
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import ConverterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "mappings")
"""The folder of the tables: a neighbour of this package in a checkout and where it is installed."""

LEAVES: dict[str, tuple[str, ...]] = {
    "conv": ("weight",),
    "conv+bias": ("weight", "bias"),
    "bn": ("weight", "bias", "running_mean", "running_var"),
    "fc": ("weight", "bias"),
}
"""The tensors that a module of each kind owns, under PyTorch's names. The weight of a convolution or a matrix
has the module's whole shape; every other tensor is a vector of its first size."""


DIVISOR = "divisor"
"""What a leaf is to be divided by, a tensor of one number that some layouts store beside it (`StoredTensor.over`)."""

IDENTITY = "= identity"
"""The name of a batch norm that a layout does not have: one that changes nothing takes its place."""

FORMATS = ("pytorch", "caffe2-pickle", "tensorflow", "caffe", "chainer")
"""The file formats that a layout's files come in."""


class TableError(ConverterError):
    """A table does not follow the grammar. Names the file and the key."""


class ModuleTemplate(NamedTuple):
    """One line of a network table: ``"name" = "kind shape @ grid"``.

    ``shape`` and ``grid`` hold integers and the names of holes.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]
    grid: tuple[int | str, ...]


class Inflates(NamedTuple):
    """Which families' tensors a network may begin with, and what that does to them; none of it has a way back.

    ``sources`` has what is put in front of the canonical names of each such family. ``keeps`` are settings that go
    with the tensors, ``pads`` the convolutions, by their lines in the table, that may see more input channels than
    there: further ones of zeros. ``spreads`` is the size that may be another: every input channel gets the mean over
    those that there are. ``lacks`` are parts that none of these families has, left to whoever trains.
    """

    sources: Mapping[str, str] = MappingProxyType({})
    keeps: tuple[str, ...] = ()
    pads: tuple[str, ...] = ()
    spreads: str = ""
    lacks: tuple[str, ...] = ()


class NetworkTable(NamedTuple):
    """A family of networks: see ``mappings/networks``."""

    family: str
    block_index: Row
    columns: Row
    depths: Row
    types: Row
    name: str
    parts: tuple[str, ...]
    modules: Mapping[str, tuple[ModuleTemplate, ...]]
    where: Mapping[str, Mapping[str, int]]
    compose: Mapping[str, Row]
    pool1: str
    bn_eps: float
    head: str = ""
    settings: Row = MappingProxyType({})
    strides: Mapping[str, int] = MappingProxyType({})
    moves: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    inflates: Inflates = Inflates()
    early: Mapping[str, Mapping[str, str]] = MappingProxyType({})


class Support(NamedTuple):
    """What a layout says of some variants: that it holds them, perhaps with a note, or why it cannot.

    ``config`` is what its own network does differently, for the reference network; ``differs`` says so in words
    where that makes the outputs differ at the sizes that the network is made for. Of a family's settings, those that
    are ``fixed`` cannot be changed there.
    """

    variants: tuple[str, ...]
    refuse: str
    note: str
    pool1: bool | None = None
    bn_eps: float | None = None
    config: Row = MappingProxyType({})
    differs: str = ""
    fixed: tuple[str, ...] = ()


class ModuleNames(NamedTuple):
    """A layout's names for one network's modules; ``within`` overrides in single parts.

    ``rolled`` says of matrices how many of their last columns come first here, ``twice`` of norms under what other
    name they are stored again, ``reversed`` names convolutions whose input channels are in the opposite order here.
    ``choices`` are all the names that some modules may have; ``common`` has the first, or the one of a file.
    """

    common: Mapping[str, str]
    within: Mapping[str, Mapping[str, str]]
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    rolled: Mapping[str, int] = MappingProxyType({})
    twice: Mapping[str, str] = MappingProxyType({})
    reversed: tuple[str, ...] = ()

    def template(self, part: str, key: str) -> str | None:
        """The name template for a module of a part, or None where the layout has none."""
        return self.within.get(part, {}).get(key) or self.common.get(key)

    def change(self, name: Callable[[str], str]) -> ModuleNames:
        """The same with another text for every name."""
        return ModuleNames(
            {key: name(text) for key, text in self.common.items()},
            {part: {key: name(text) for key, text in lines.items()} for part, lines in self.within.items()},
            {key: tuple(name(text) for text in texts) for key, texts in self.choices.items()},
            self.rolled,
            {key: name(text) for key, text in self.twice.items()},
            self.reversed,
        )

    def choose(self, wanted: Callable[[str, tuple[str, ...]], str]) -> ModuleNames:
        """The same with one name for every module that has several: what ``wanted`` says of key and choices."""
        chosen = {key: wanted(key, names) for key, names in self.choices.items()}
        return self._replace(common={**self.common, **chosen})


class StoredTensor(NamedTuple):
    """How a layout stores one tensor of a module.

    ``suffix`` is appended to the module's name, or has it where it says ``{}``: see `of`. ``axes`` are the file's
    axes in canonical order, None where they are the same: canonical axis i is the file's axis ``axes[i]``. The
    file's shape has ``leading`` further axes of size one in front and ``trailing`` behind; ``more`` tells on which
    sides it may have any number beyond these (``"l"``, ``"t"`` or both), ``least`` how many there are in front at
    least where some may lack. ``constant`` is the value of a tensor that
    the layout does not store.
    ``over`` is the suffix of the `DIVISOR` that the file's values are still to be divided by; ``inverse`` tells that
    they are 1 / sqrt(variance + eps). ``rolled`` is how many of a matrix's last columns come first, ``reversed`` tells
    that a convolution's input channels are in the opposite order.
    """

    suffix: str
    axes: tuple[int, ...] | None = None
    leading: int = 0
    trailing: int = 0
    more: str = ""
    constant: float | None = None
    over: str = ""
    inverse: bool = False
    least: int | None = None
    rolled: int = 0
    reversed: bool = False

    def of(self, module: str) -> str:
        """The tensor's name in a file, for a module that is called so there."""
        return _named(module, self.suffix)

    def plain(self, shape: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
        """A shape in the file without the further ones, for a canonical shape of ``rank`` axes; None where it
        has not as many as it must."""
        extra = len(shape) - rank
        most = extra - self.trailing if "l" in self.more else self.leading
        for front in range(self.leading if self.least is None else self.least, most + 1):
            behind = extra - front
            if behind < self.trailing or (behind > self.trailing and "t" not in self.more):
                continue
            if all(size == 1 for size in (*shape[:front], *shape[front + rank :])):
                return shape[front : front + rank]
        return None

    def bare(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """A canonical shape with its axes in the file's order."""
        if self.axes is None:
            return shape
        return tuple(shape[self.axes.index(axis)] for axis in range(len(shape)))

    def full(self, bare: tuple[Any, ...]) -> tuple[Any, ...]:
        """A bare shape with the further ones that are written."""
        return (1,) * self.leading + bare + (1,) * self.trailing

    def canonical(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A plain shape in the file as the canonical shape."""
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


class LayoutTable(NamedTuple):
    """What a project calls the modules of the networks: see ``mappings/layouts``.

    ``absent`` and ``head`` say what a file's names have otherwise than the table: the prefix that they lack
    (`without_backbone`), and the head's own name (`with_head`). ``headless`` tells that files may lack the head.
    What ``zero`` matches is dropped as what ``drop`` does, but must be zero everywhere.
    """

    name: str
    title: str
    project: str
    format: str
    licence: str
    bn_eps: float | None
    to: tuple[str, ...]
    scopes: tuple[str, ...]
    drop: tuple[str, ...]
    leaves: Mapping[str, Mapping[str, StoredTensor]]
    letters: Mapping[str, str]
    supports: tuple[Support, ...]
    modules: Mapping[str, ModuleNames]
    identity: bool
    container: str
    made_for: tuple[Row, ...]
    preprocessing: Mapping[str, Row]
    rank: int
    rename: Mapping[str, str]
    labels: Mapping[str, str]
    also: tuple[str, ...] = ()
    inverse_std: str = ""
    names_of: str = ""
    backbone: str = ""
    absent: str = ""
    head: str = ""
    headless: bool = False
    missing: Mapping[str, str] = MappingProxyType({})
    zero: tuple[str, ...] = ()

    def support_for(self, variant: str) -> Support:
        """What the table says of a variant; the first row that matches counts, none means it holds it."""
        for row in self.supports:
            if is_for(row.variants, variant):
                return row
        return Support(("*",), "", "")

    def eps(self, variant: str) -> float | None:
        """The batch-norm eps of this project's network for a variant; None where the layout leaves it open."""
        held = self.support_for(variant).bn_eps
        return self.bn_eps if held is None else held

    def pool1(self, variant: str) -> bool | None:
        """Whether this project's network has the pool behind the stem; None where the layout leaves it open."""
        held = self.support_for(variant).pool1
        rows = (row for row in self.made_for if is_for(row["variants"], variant))
        found: bool | None = next(rows, {}).get("pool1", held)
        return found

    def choose(self, wanted: Callable[[str, tuple[str, ...]], str]) -> LayoutTable:
        """The same with one name for every module that has several, see `ModuleNames.choose`."""
        if not any(names.choices for names in self.modules.values()):
            return self
        return self._replace(modules={family: names.choose(wanted) for family, names in self.modules.items()})

    def inverted(self) -> LayoutTable:
        """The same for files that have inverse standard deviations in the place of variances."""
        norm = self.leaves["bn"]
        leaf = norm["running_var"]._replace(inverse=True)
        return self._replace(leaves={**self.leaves, "bn": {**norm, "running_var": leaf}})

    def without_backbone(self) -> LayoutTable:
        """The same for a file of the backbone alone, whose names lack the prefix ``backbone``."""
        prefix = self.backbone
        return self._replace(
            modules={
                family: names.change(lambda text: text.removeprefix(prefix))
                for family, names in self.modules.items()
            },
            rename={old.removeprefix(prefix): new.removeprefix(prefix) for old, new in self.rename.items()},
            absent=prefix,
        )

    def with_head(self, name: str) -> LayoutTable:
        """The same for a file that calls the head ``name``."""
        return self._replace(
            modules={
                family: names._replace(
                    common={**names.common, "head": name},
                    choices={key: texts for key, texts in names.choices.items() if key != "head"},
                )
                for family, names in self.modules.items()
            },
            head=name,
        )

    def stored(self) -> dict[str, int]:
        """How many tensors a module of each kind has in a file of this layout, and one that it leaves out or stores
        twice has, under its key in the network's table; ``part/key`` where only the one in that part is left out."""
        by_kind = {
            kind: sum(self.leaf(kind, leaf).constant is None for leaf in leaves) + bool(self.divisor(kind))
            for kind, leaves in LEAVES.items()
        }
        own: dict[str, int] = {}
        for names in self.modules.values():
            own |= {key: 0 for key, name in names.common.items() if name == IDENTITY}
            own |= dict.fromkeys(names.twice, 2 * by_kind["bn"])
            for part, within in names.within.items():
                own |= {f"{part}/{key}": 0 for key, name in within.items() if name == IDENTITY}
        return by_kind | own

    def divisor(self, kind: str) -> str:
        """The suffix of what some leaves of a module of this kind are divided by; empty where none is."""
        return next((over for leaf in LEAVES[kind] if (over := self.leaf(kind, leaf).over)), "")

    def leaf(self, kind: str, leaf: str) -> StoredTensor:
        """How a tensor of a module of this kind is stored."""
        return self.leaves["conv" if kind == "conv+bias" else kind][leaf]


_NAMES = ("modules", "leaves", "letters", "rename")
"""What a layout takes from the one that has the same names."""

PYTORCH_LEAVES: dict[str, dict[str, str]] = {
    "conv": {"weight": ".weight", "bias": ".bias"},
    "bn": {
        "weight": ".weight",
        "bias": ".bias",
        "running_mean": ".running_mean",
        "running_var": ".running_var",
    },
    "fc": {"weight": ".weight", "bias": ".bias"},
}


def network_names() -> list[str]:
    """The families that have a table, sorted."""
    return _names("networks")


def layout_names() -> list[str]:
    """The layouts that have a table, sorted."""
    return _names("layouts")


def load_network(family: str) -> NetworkTable:
    """Read one network table. Raises `TableError` where it does not follow the grammar."""
    path, raw = _read("networks", family)
    check = Check(path)
    check.keys(
        raw,
        "",
        {"family", "types", "variant", "parts"},
        {
            "index",
            "columns",
            "depths",
            "where",
            "compose",
            "pool1",
            "bn_eps",
            "settings",
            "strides",
            "moves",
            "inflates",
            "early",
        },
    )
    check.that(raw["family"] == family, "family", f"is {raw['family']!r} in a file named {family}")
    variant = raw["variant"]
    check.keys(variant, "variant", {"name", "parts"}, {"head"})
    head = variant.get("head", "")
    check.that(not head or head in variant["parts"], "variant.head", "names no part")
    modules = {
        part: tuple(_template(check, part, name, text) for name, text in lines.items())
        for part, lines in raw["parts"].items()
    }
    for type_name, row in raw["types"].items():
        for depth in row.get("depths", ()):
            check.that(str(depth) in raw.get("depths", {}), f"types.{type_name}", f"depth {depth} has no row")
    lines = {template.name for templates in modules.values() for template in templates}
    for setting, smaller in raw.get("early", {}).items():
        check.that(setting in raw.get("settings", {}), f"early.{setting}", "is no setting")
        check.that(set(smaller) <= lines, f"early.{setting}", "names no module")
    inflates = _inflates(check, raw.get("inflates", {}), raw.get("settings", {}), modules)
    for part, condition in raw.get("where", {}).items():
        check.that(part in modules, f"where.{part}", "names no part")
        check.that(len(condition) == 1, f"where.{part}", "takes one column")
    return NetworkTable(
        family=family,
        block_index=raw.get("index", {}),
        columns=raw.get("columns", {}),
        depths=raw.get("depths", {}),
        types=raw["types"],
        name=variant["name"],
        parts=tuple(variant["parts"]),
        modules=modules,
        where=raw.get("where", {}),
        compose=raw.get("compose", {}),
        pool1=raw.get("pool1", ""),
        bn_eps=raw.get("bn_eps", 1e-5),
        head=head,
        settings=raw.get("settings", {}),
        strides=raw.get("strides", {}),
        moves={name: tuple(keys) for name, keys in raw.get("moves", {}).items()},
        inflates=inflates,
        early=raw.get("early", {}),
    )


def _inflates(
    check: Check, row: Row, settings: Row, modules: Mapping[str, tuple[ModuleTemplate, ...]]
) -> Inflates:
    if not row:
        return Inflates()
    check.keys(row, "inflates", {"from"}, {"keeps", "pads", "spreads", "lacks"})
    known = set(network_names())
    lines = {template.name for templates in modules.values() for template in templates}
    check.that(bool(row["from"]) and set(row["from"]) <= known, "inflates.from", "names no family")
    lists = {key: tuple(row.get(key, ())) for key in ("keeps", "pads", "lacks")}
    found = Inflates(row["from"], spreads=row.get("spreads", ""), **lists)
    check.that(set(found.keeps) <= set(settings), "inflates.keeps", "names no setting")
    check.that(set(found.pads) <= lines, "inflates.pads", "names no module")
    check.that(set(found.lacks) <= set(modules), "inflates.lacks", "names no part")
    return found


def load_layout(name: str) -> LayoutTable:
    """Read one layout table. Raises `TableError` where it does not follow the grammar."""
    path, raw = _read("layouts", name)
    check = Check(path)
    check.keys(
        raw,
        "",
        {"title", "format"},
        {
            "project",
            "licence",
            "bn_eps",
            "to",
            "scopes",
            "drop",
            "leaves",
            "letters",
            "holds",
            "modules",
            "identity",
            "container",
            "made_for",
            "preprocessing",
            "rank",
            "rename",
            "labels",
            "also",
            "inverse_std",
            "headless",
            "names_of",
            "backbone",
            "like",
            "missing",
            "zero",
        },
    )
    names_of = raw.get("names_of", "")
    if names_of:
        check.that(
            names_of in layout_names() and names_of != name, "names_of", f"{names_of!r} is no other layout"
        )
        check.that(not {*raw} & {*_NAMES}, "names_of", f"goes with none of {', '.join(_NAMES)}")
        named = _read("layouts", names_of)[1]
        check.that("modules" in named, "names_of", f"{names_of!r} has no modules of its own")
        raw.update((key, named[key]) for key in _NAMES if key in named)
    check.that(raw["format"] in FORMATS, "format", f"{raw['format']!r} is unknown")
    identity = bool(raw.get("identity", False))
    check.that(identity != ("modules" in raw), "modules", "a layout has modules or is the identity")
    leaves = raw.get("leaves", PYTORCH_LEAVES)
    for kind, wanted in PYTORCH_LEAVES.items():
        check.that(
            set(leaves.get(kind, {})) == set(wanted), f"leaves.{kind}", f"must name {', '.join(wanted)}"
        )
    parsed = {
        kind: {
            leaf: _leaf(check, f"leaves.{kind}.{leaf}", text, raw.get("bn_eps", 0.0))
            for leaf, text in of_kind.items()
        }
        for kind, of_kind in leaves.items()
    }
    for kind, of_kind in parsed.items():
        check.that(
            len({leaf.over for leaf in of_kind.values() if leaf.over}) <= 1,
            f"leaves.{kind}",
            "has more than one divisor",
        )
    supports = []
    for row in raw.get("holds", ()):
        check.keys(
            row, "holds", {"variants"}, {"refuse", "note", "pool1", "bn_eps", "config", "differs", "fixed"}
        )
        check.that(
            "config" in row or "differs" not in row, "holds", "what differs needs a config that says how"
        )
        given = {"refuse": "", "note": "", **row, "variants": tuple(row["variants"])}
        supports.append(Support(**{**given, "fixed": tuple(row.get("fixed", ()))}))
    for row in raw.get("made_for", ()):
        check.keys(
            row,
            "made_for",
            {"variants", "clip", "resize"},
            {"pool1", "count", "count_positions", "frame_step", "name", "config", "sizes"},
        )
    for name_of, row in raw.get("preprocessing", {}).items():
        check.keys(
            row,
            f"preprocessing.{name_of}",
            {"channels", "order"},
            {"variants", "mean", "std", "range", "mean_cube"},
        )
        check.that(
            ("mean" in row) == ("std" in row) != ("mean_cube" in row),
            f"preprocessing.{name_of}",
            "has either mean and std or a mean_cube",
        )
    modules = {}
    for family, lines in raw.get("modules", {}).items():
        within = lines.get("in", {})
        choices = {
            key: tuple(texts) for key, texts in lines.items() if isinstance(texts, list) and key != "reversed"
        }
        for key, texts in choices.items():
            check.that(
                len(set(texts)) == len(texts) > 1
                and all(isinstance(text, str) and text and "{" not in text for text in texts),
                f"modules.{family}",
                f"{key!r} must be a name, or several different ones without holes",
            )
        common = {
            key: choices[key][0] if key in choices else text
            for key, text in lines.items()
            if key not in ("in", "rolled", "twice", "reversed")
        }
        for key, text in [*common.items(), *(pair for part in within.values() for pair in part.items())]:
            check.that(isinstance(text, str) and bool(text), f"modules.{family}", f"{key!r} must be a name")
        rolled, twice = lines.get("rolled", {}), lines.get("twice", {})
        turned = tuple(lines.get("reversed", ()))
        check.that(
            {*rolled, *twice, *turned} <= set(common), f"modules.{family}", "rolls, doubles or reverses none"
        )
        modules[family] = ModuleNames(common, within, choices, rolled, twice, turned)
    made_for, preprocessing = tuple(raw.get("made_for", ())), raw.get("preprocessing", {})
    if "like" in raw:
        check.that(raw["like"] in layout_names() and raw["like"] != name, "like", "is no other layout")
        alike = load_layout(raw["like"])
        made_for, preprocessing = (*made_for, *alike.made_for), {**alike.preprocessing, **preprocessing}
    for other in raw.get("also", ()):
        check.that(other in layout_names() and other != name, "also", f"{other!r} is no other layout")
    scopes = tuple(raw.get("scopes", ("",)))
    check.that(all("*" not in prefix[1:] for prefix in scopes), "scopes", "only begin with a '*'")
    return LayoutTable(
        name=name,
        title=raw["title"],
        project=raw.get("project", ""),
        format=raw["format"],
        licence=raw.get("licence", ""),
        bn_eps=raw.get("bn_eps"),
        to=tuple(raw.get("to", (name,))),
        scopes=scopes,
        drop=tuple(raw.get("drop", ())),
        leaves=parsed,
        letters=raw.get("letters", {}),
        supports=tuple(supports),
        modules=modules,
        identity=identity,
        container=raw.get("container", "state_dict"),
        made_for=made_for,
        preprocessing=preprocessing,
        rank=raw.get("rank", 1),
        rename=raw.get("rename", {}),
        labels=raw.get("labels", {}),
        also=tuple(raw.get("also", ())),
        inverse_std=raw.get("inverse_std", ""),
        names_of=names_of,
        headless=raw.get("headless", raw["format"] == "pytorch"),
        backbone=raw.get("backbone", ""),
        missing=raw.get("missing", {}),
        zero=tuple(raw.get("zero", ())),
    )


def is_for(globs: Iterable[str], variant: str) -> bool:
    """Whether one of a row's patterns is for a variant, by its name."""
    return any(fnmatchcase(variant, glob) for glob in globs)


def models(layout: LayoutTable) -> tuple[Row, ...]:
    """The rows of ``made_for`` that have a name to ask for; for names of our own those of every layout."""
    tables = (load_layout(name) for name in layout_names()) if layout.identity else (layout,)
    named = {row["name"]: row for table in tables for row in table.made_for if "name" in row}
    return tuple(named.values())


def _named(module: str, suffix: str) -> str:
    return suffix.replace("{}", module) if "{}" in suffix else module + suffix


def table_text(sort: str, name: str) -> bytes:
    """The bytes of a table's file, for its hash. ``sort`` is ``networks`` or ``layouts``."""
    with open(os.path.join(ROOT, sort, f"{name}.toml"), "rb") as file:
        return file.read()


def load_labels(name: str) -> tuple[list[str], str]:
    """The class names in the file ``mappings/labels/NAME.txt``, in the order of the logits, and the notice of
    their source and licence in its comments."""
    with open(os.path.join(ROOT, "labels", f"{name}.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    notice = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if not line.startswith("#")], notice


def _names(sort: str) -> list[str]:
    return sorted(entry[:-5] for entry in os.listdir(os.path.join(ROOT, sort)) if entry.endswith(".toml"))


def _read(sort: str, name: str) -> tuple[str, dict[str, Any]]:
    path = os.path.join(ROOT, sort, f"{name}.toml")
    try:
        return path, tomllib.loads(table_text(sort, name).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"is not valid TOML: {error}", path=path) from None


class Check(NamedTuple):
    """Raises an error for a file, naming the key."""

    path: str
    error: type[TableError] = TableError

    def that(self, truth: bool, key: str, what: str) -> None:
        """Raise unless ``truth``."""
        if not truth:
            raise self.error(what, path=self.path, where=key)

    def keys(self, row: Mapping[str, Any], where: str, needed: set[str], allowed: set[str]) -> None:
        """Raise if a table lacks a needed key or has one that is no word of the grammar."""
        for key in sorted(needed - set(row)):
            raise self.error(f"lacks {key!r}", path=self.path, where=where or "top level")
        for key in row:
            if key not in needed and key not in allowed:
                raise self.error(
                    f"{key[:60]!r} is not a word of the grammar", path=self.path, where=where or "top level"
                )


def _template(check: Check, part: str, name: str, text: object) -> ModuleTemplate:
    where = f"parts.{part}.{name}"
    check.that(isinstance(text, str), where, "must be a text such as 'conv 64 3 3 7 7 @ 1 2'")
    left, _, right = str(text).partition("@")
    kind, *shape = left.split()
    check.that(kind in LEAVES, where, f"kind {kind!r} is not one of {', '.join(LEAVES)}")
    check.that(bool(shape), where, "has no shape")
    return ModuleTemplate(
        name, kind, tuple(_sizes(check, where, shape)), tuple(_sizes(check, where, right.split()))
    )


def _leaf(check: Check, where: str, text: object, eps: float = 0.0) -> StoredTensor:
    """``SUFFIX``, ``SUFFIX AXES -> AXES`` with letters for axes, ``= CONSTANT`` or ``= 1 - eps``, or one of the first
    two and ``over SUFFIX``.

    On the left ``1`` is a further axis of size one in front or behind, ``1?`` one in front that may lack, and ``1*``
    any number of them.
    """
    check.that(
        isinstance(text, str) and bool(text),
        where,
        "must be a text such as '_w' or '/w D H W I O -> O I D H W'",
    )
    stored, divided, over = str(text).partition(" over ")
    check.that(bool(over) == bool(divided) and " " not in over, where, f"{over!r} is not a suffix")
    suffix, _, order = stored.partition(" ")
    if suffix == "=":
        if order == "1 - eps":
            return StoredTensor("", constant=1 - eps)
        check.that(order.replace(".", "", 1).isdigit(), where, f"{order!r} is not a number")
        return StoredTensor("", constant=float(order))
    if not order:
        return StoredTensor(suffix, over=over)
    here, _, canonical = (side.split() for side in order.partition("->"))
    letters = [axis for axis in here if axis not in ("1", "1*", "1?")]
    start = next((place for place, axis in enumerate(here) if axis in letters), len(here))
    front, behind = here[:start], here[start + len(letters) :]
    check.that(
        here[start : start + len(letters)] == letters
        and front.count("1*") <= 1 >= behind.count("1*")
        and "1?" not in behind
        and len(set(letters)) == len(letters)
        and sorted(letters) == sorted(canonical),
        where,
        "must name the same axes on both sides of '->', each once, and further ones in front or behind only",
    )
    axes = None if letters == canonical else tuple(letters.index(axis) for axis in canonical)
    more = "l" * front.count("1*") + "t" * behind.count("1*")
    leading, maybe = front.count("1"), front.count("1?")
    least = leading if maybe else None
    return StoredTensor(suffix, axes, leading + maybe, behind.count("1"), more, over=over, least=least)


def _sizes(check: Check, where: str, words: list[str]) -> Iterator[int | str]:
    for word in words:
        if word.startswith("{") and word.endswith("}"):
            yield word[1:-1]
        else:
            check.that(word.isdigit() and int(word) > 0, where, f"{word!r} is neither a size nor a hole")
            yield int(word)
