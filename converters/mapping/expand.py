"""A table as the package works with it, from what its file says.

What a file shows by itself is checked here; `network_checks` and `layout_checks` compare tables with each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from converters.formats.registry import layout_formats
from converters.spelling import did_you_mean

from .parse import Fault
from .schema import (
    CONTAINERS,
    LayoutFile,
    LayoutTable,
    ModuleNames,
    ModuleTemplate,
    Naming,
    NetworkFile,
    NetworkTable,
    Storage,
)
from .storage import DEFAULTS, PARAMETERS, PYTORCH, StorageError, StoredTensor, parse_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .parse import Key
    from .schema import ExchangedSetting, TensorRow, Twice

_GROUP = re.compile(r"\{([^{}]*,[^{}]*)\}")
_UNIT = ("conv+bn", "conv+bias+bn", "depthwise+bn")
"""Kinds of a line that is two modules, ``.conv`` and ``.bn``."""


def network_table(file: NetworkFile, family: str) -> NetworkTable:
    """A network table. Raises `Fault`."""
    if file.family != family:
        raise Fault(("family",), f"is {file.family!r} in a file named {family}")
    modules = {
        part: tuple(
            template
            for name, text in lines.items()
            for template in _templates(("parts", part, name), name, text)
        )
        for part, lines in file.parts.items()
    }
    table = NetworkTable(
        family=family,
        index=file.index,
        columns=file.columns,
        depths=file.depths,
        types=file.types,
        variant=file.variant,
        modules=modules,
        where=file.where,
        compose=file.compose,
        settings={
            name: value[0] if isinstance(value, list) else value for name, value in file.settings.items()
        },
        choices={name: tuple(value) for name, value in file.settings.items() if isinstance(value, list)},
        sizes=file.sizes,
        options=file.options,
        reference=file.reference or family,
        strides=file.strides,
        halves=file.halves,
        folded_settings=file.folded_settings,
        exchanged_settings={
            name: _exchanged(("exchanged_settings", name), row)
            for name, row in file.exchanged_settings.items()
        },
        given=file.given,
        inflate=file.inflate,
        downsampled_early=file.downsampled_early,
    )
    for key, word, right in _references(table):
        if word not in right:
            raise Fault(key, f"there is no {_thing(key)} {word!r}", did_you_mean(word, right))
    for part, condition in file.where.items():
        if len(condition) != 1:
            raise Fault(("where", part), "takes one column")
    return table


def _references(table: NetworkTable) -> Iterator[tuple[Key, str, Iterable[str]]]:
    """What a network table's words refer to, with what there is."""
    lines = {template.name for templates in table.modules.values() for template in templates}
    parts = {*table.modules, *table.compose}
    for name, row in table.types.items():
        for depth in row.get("depths", ()):
            yield ("types", name, "depths"), str(depth), table.depths
        columns = row.get("columns", ())
        for column in (columns,) if isinstance(columns, str) else columns:
            yield ("types", name, "columns"), column, table.columns
    if table.variant.head:
        yield ("variant", "head"), table.variant.head, table.variant.parts
    for part in table.variant.parts:
        if "{" not in part:
            yield ("variant", "parts"), part.removesuffix("?"), parts
    for part in table.where:
        yield ("where", part), part, parts
    for setting, smaller in table.downsampled_early.items():
        yield ("downsampled_early", setting), setting, table.settings
        for line in smaller:
            yield ("downsampled_early", setting, line), line, lines
    for setting, keys in table.folded_settings.items():
        yield ("folded_settings", setting), setting, table.settings
        for line in keys:
            yield ("folded_settings", setting), line, lines
    for setting, exchanged in table.exchanged_settings.items():
        yield ("exchanged_settings", setting), setting, table.choices
        yield ("exchanged_settings", setting, "parts"), exchanged.parts, table.settings
        for word, keys in (("rows", exchanged.rows), ("columns", exchanged.columns)):
            for line in keys:
                yield ("exchanged_settings", setting, word), line, lines
    for setting, words in table.given.items():
        yield ("given", setting), setting, table.settings
        if setting in table.choices:
            for given in words:
                yield ("given", setting), str(given), table.choices[setting]
    for setting in table.strides:
        yield ("strides", setting), setting, table.settings
    for setting in table.halves:
        yield ("halves", setting), setting, table.settings
    inflate = table.inflate
    for word, names, right in (
        ("keeps", inflate.keeps, table.settings),
        ("pads", inflate.pads, lines),
        ("lacks", inflate.lacks, parts),
    ):
        for name in names:
            yield ("inflate", word), name, right


def _exchanged(key: Key, row: ExchangedSetting) -> ExchangedSetting:
    """The same with a name for every module."""
    return row.replace(
        **{
            word: tuple(name for text in texts for name, _ in expand_groups((*key, word), text, text))
            for word, texts in (("rows", row.rows), ("columns", row.columns))
        }
    )


_THINGS = {"depths": "depth", "columns": "table of columns", "head": "part", "parts": "part", "where": "part"}


def _thing(key: Key) -> str:
    """What a reference at a key is to."""
    last = str(key[-1])
    if key[0] in ("where", "variant"):
        return "part"
    if key[0] == "inflate":
        return {"keeps": "setting", "pads": "module", "lacks": "part"}[last]
    if key[0] == "exchanged_settings":
        return "module" if last in ("rows", "columns") else "setting"
    return _THINGS.get(last) or ("module" if len(key) > 2 else "setting")


def _templates(key: Key, name: str, text: str) -> Iterator[ModuleTemplate]:
    """The modules of one line of a network table: ``kind shape @ grid``."""
    left, _, right = text.partition("@")
    kind, *shape = left.split() or ("",)
    if kind not in PARAMETERS and kind not in _UNIT:
        raise Fault(key, f"unknown kind {kind!r}", did_you_mean(kind, (*PARAMETERS, *_UNIT)))
    if bool(shape) == (kind == "scalar"):
        raise Fault(key, "has no shape" if kind != "scalar" else "is a scalar, which has no shape")
    sizes, grid = tuple(_sizes(key, shape)), tuple(_sizes(key, right.split()))
    if kind not in _UNIT:
        yield ModuleTemplate(name=name, kind=kind, shape=sizes, grid=grid)
        return
    yield ModuleTemplate(name=f"{name}.conv", kind=kind.removesuffix("+bn"), shape=sizes, grid=grid)
    yield ModuleTemplate(name=f"{name}.bn", kind="bn", shape=sizes[:1], grid=())


def _sizes(key: Key, words: list[str]) -> Iterator[int | str]:
    for word in words:
        if word.startswith("{") and word.endswith("}"):
            yield word[1:-1]
        elif word.isdigit() and int(word) > 0:
            yield int(word)
        else:
            raise Fault(key, f"{word!r} is neither a size nor a placeholder")


def layout_table(file: LayoutFile, name: str, load_other: Callable[[Key, str], LayoutTable]) -> LayoutTable:
    """A layout table; ``load_other`` loads another one that it refers to at a key. Raises `Fault`."""
    for key, word, right in (
        ("format", file.format, layout_formats()),
        ("container", file.container, CONTAINERS),
    ):
        if word not in right:
            raise Fault((key,), f"unknown {key} {word!r}", did_you_mean(word, right))
    models, preprocessing = file.models, file.preprocessing
    if file.models_from:
        source = load_other(("models_from",), file.models_from)
        models, preprocessing = (*models, *source.models), {**source.preprocessing, **preprocessing}
    naming, parameters = _naming(file, load_other)
    table = LayoutTable(
        name=name,
        title=file.title,
        project=file.project,
        format=file.format,
        licence=file.licence,
        settings=file.settings,
        identity=file.identity,
        default_targets=file.default_targets or (name,),
        also_reads=file.also_reads,
        priority=file.priority,
        naming=naming,
        storage=_storage(file, parameters),
        supports=file.supports,
        models=models,
        preprocessing=preprocessing,
        labels=file.labels,
    )
    for place, row in enumerate(file.supports):
        if row.differs and not row.config:
            raise Fault(("supports", place, "differs"), "needs a config that says how")
    for word, input_ in file.preprocessing.items():
        if not bool(input_.mean) == bool(input_.std) != bool(input_.mean_cube):
            raise Fault(("preprocessing", word), "has either mean and std or a mean_cube")
    return table


def _storage(file: LayoutFile, parameters: Mapping[str, Mapping[str, StoredTensor]]) -> Storage:
    pytorch = file.format == "pytorch"
    return Storage(
        parameters=parameters,
        container=file.container,
        slash_keys=file.slash_keys,
        ignore=file.ignore,
        ignore_if_zero=file.ignore_if_zero,
        head_optional=pytorch if file.head_optional is None else file.head_optional,
        inverse_std=file.inverse_std,
        hints=file.hints,
        other_files=file.other_files,
        others=file.others,
    )


def _naming(
    file: LayoutFile, load_other: Callable[[Key, str], LayoutTable]
) -> tuple[Naming, Mapping[str, Mapping[str, StoredTensor]]]:
    """Names, and how tensors are stored."""
    words = ("modules", "parameters", "letters", "rename", "twice", "order")
    own = [word for word in words if getattr(file, word)]
    for place, prefix in enumerate(file.prefixes):
        if "*" in prefix[1:]:
            raise Fault(("prefixes", place), "a '*' may only be a prefix's first character")
    if file.names_from:
        if own:
            raise Fault(("names_from",), f"cannot be combined with {', '.join(own)}")
        table = load_other(("names_from",), file.names_from)
        naming = table.naming.replace(
            prefixes=file.prefixes,
            scopes=file.scopes,
            backbone=file.backbone,
            taken_from=(file.names_from, *table.naming.taken_from),
        )
        return naming, table.storage.parameters
    if file.identity == ("modules" in own):
        raise Fault(("modules",), "a layout has modules or is the identity")
    taken: list[str] = []
    modules: dict[str, ModuleNames] = {}
    for family, lines in file.modules.items():
        modules[family] = _module_names(family, lines, modules, load_other, taken)
    for place, row in enumerate(file.tensor):
        if row.family not in modules:
            continue  # `check` says so, after what may be the cause
        modules[row.family] = _with_operations(modules[row.family], row, place)
    naming = Naming(
        modules=modules,
        letters=file.letters,
        rename=file.rename,
        prefixes=file.prefixes,
        scopes=file.scopes,
        backbone=file.backbone,
        twice=tuple(_further_lines(row, place) for place, row in enumerate(file.twice)),
        order=file.order,
        taken_from=tuple(taken),
    )
    return naming, _parameters(file)


def _given(file: LayoutFile, kind: str) -> Mapping[str, str]:
    """What holds for a kind of module that a layout's parameters do not name."""
    if not file.parameters or kind == "scalar":
        return PYTORCH[kind]
    alike = file.parameters.get(DEFAULTS.get(kind, kind), {})
    return {name: text for name, text in alike.items() if name in PYTORCH[kind]}


def _further_lines(row: Twice, place: int) -> Twice:
    """A row of further names with a line for each of them."""
    names: dict[str, str] = {}
    for text, name in row.names.items():
        key: Key = ("twice", place, "names", text)
        if text.count("*") != name.count("*"):
            raise Fault(key, "must have as many '*' as its name")
        for further, first in expand_groups(key, text, name):
            if further == first or further in names:
                raise Fault(key, f"gives {further!r} a second time")
            names[further] = first
    return row.replace(names=names)


def _parameters(file: LayoutFile) -> dict[str, dict[str, StoredTensor]]:
    """How the tensors of each kind of module are stored."""
    stored_as: dict[str, dict[str, StoredTensor]] = {}
    for kind, needed in PYTORCH.items():
        given = file.parameters.get(kind) or _given(file, kind)
        for name in needed:
            if name not in given:
                raise Fault(("parameters", kind), f"lacks {name!r}")
        stored_as[kind] = {}
        for name, text in given.items():
            key = ("parameters", kind, name)
            if name not in needed:
                raise Fault(key, f"a {kind} has no {name!r}", did_you_mean(name, needed))
            try:
                stored_as[kind][name] = parse_stored(text, file.settings.get("bn_eps", 0.0))
            except StorageError as error:
                raise Fault(key, str(error)) from None
        if len({stored.over for stored in stored_as[kind].values() if stored.over}) > 1:
            raise Fault(("parameters", kind), "has more than one divisor")
    for kind in file.parameters:
        if kind not in PYTORCH:
            raise Fault(("parameters", kind), f"unknown kind {kind!r}", did_you_mean(kind, PYTORCH))
    return stored_as


def _module_names(
    family: str,
    lines: object,
    before: Mapping[str, ModuleNames],
    load_other: Callable[[Key, str], LayoutTable],
    taken: list[str],
) -> ModuleNames:
    """The names of one family's modules. ``taken`` gets the layouts that some are taken from."""
    key: Key = ("modules", family)
    if not isinstance(lines, dict):
        raise Fault(key, "must be a table")
    base = ModuleNames(common={})
    if "same_as" in lines:
        base = _same_as((*key, "same_as"), lines["same_as"], before, load_other, taken)
    common, choices = dict(base.common), dict(base.choices)
    for name, value in lines.items():
        if name in ("same_as", "in"):
            continue
        for line, text in _names(key, name, value):
            choices.pop(line, None)
            if isinstance(text, tuple):
                choices[line] = text
            common[line] = text[0] if isinstance(text, tuple) else text
    within = {part: dict(named) for part, named in base.within.items()}
    parts = lines.get("in", {})
    for part in parts if isinstance(parts, dict) else ():
        within.setdefault(part, {})
        for name, value in parts[part].items():
            for line, text in _names((*key, "in", part), name, value):
                if isinstance(text, tuple):
                    raise Fault((*key, "in", part, name), "must be one name")
                within[part][line] = text
    return base.replace(common=common, within=within, choices=choices)


def _same_as(
    key: Key,
    word: object,
    before: Mapping[str, ModuleNames],
    load_other: Callable[[Key, str], LayoutTable],
    taken: list[str],
) -> ModuleNames:
    """The names that ``same_as`` takes: of a family above, or of another layout's, ``"LAYOUT.FAMILY"``."""
    layout, dot, family = str(word).rpartition(".")
    if dot:
        table = load_other(key, layout)
        taken += [name for name in (layout, *table.naming.taken_from) if name not in taken]
        before = table.modules
    if family not in before:
        raise Fault(key, f"there is no family {family!r} above", did_you_mean(family, before))
    return before[family]


def _names(key: Key, name: str, value: object) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """A line of ``[modules.FAMILY]`` as one for each module; several names of one module as a tuple."""
    if isinstance(value, list):
        if (
            not all(isinstance(text, str) and text and not _GROUP.search(text) for text in value)
            or len({*value}) != len(value)
            or len(value) < 2
        ):
            raise Fault((*key, name), "must be a name, or several different ones without groups")
        yield name, tuple(value)
        return
    if not isinstance(value, str) or not value:
        raise Fault((*key, name), f"must be a name, not {value!r}")
    yield from expand_groups((*key, name), name, value)


def expand_groups(key: Key, name: str, value: str) -> Iterator[tuple[str, str]]:
    """``"conv{1,2}.{conv,bn}" = "conv_{1,2}{,_bn}"`` as a line for every module.

    A group on the right goes with the group on the left that has as many members. If several have, the first goes with
    the first, the second with the second.
    """
    left = [match[1].split(",") for match in _GROUP.finditer(name)]
    right = [match[1].split(",") for match in _GROUP.finditer(value)]
    partner: list[int] = []
    for place, group in enumerate(right):
        alike = [number for number, candidate in enumerate(left) if len(candidate) == len(group)]
        rank = sum(len(earlier) == len(group) for earlier in right[:place])
        count = sum(len(each) == len(group) for each in right)
        if len(alike) != 1 and len(alike) != count:
            raise Fault(key, f"{{{','.join(group)}}} goes with no group on the left, or with several")
        partner.append(alike[0] if len(alike) == 1 else alike[rank])
    for places in _product([len(group) for group in left]):
        picked = iter([group[place] for group, place in zip(left, places, strict=True)])
        chosen = iter([group[places[number]] for group, number in zip(right, partner, strict=True)])
        yield _GROUP.sub(lambda _: next(picked), name), _GROUP.sub(lambda _: next(chosen), value)  # noqa: B023


def _product(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    from itertools import product

    yield from product(*map(range, sizes))


def _with_operations(names: ModuleNames, row: TensorRow, place: int) -> ModuleNames:
    """The names with what is done to a module's tensors."""
    if row.module not in names.common:
        raise Fault(
            ("tensor", place, "module"),
            f"there is no module {row.module!r}",
            did_you_mean(row.module, names.common),
        )
    for text in row.operations:
        word, _, argument = text.partition(" ")
        changes: dict[str, Any]
        if word == "rotate_columns" and argument.isdigit():
            changes = {"rotated_columns": {**names.rotated_columns, row.module: int(argument)}}
        elif text == "bgr":
            changes = {"bgr": (*names.bgr, row.module)}
        elif text == "matrix":
            changes = {"matrices": (*names.matrices, row.module)}
        else:
            right = ("rotate_columns", "bgr", "matrix")
            raise Fault(
                ("tensor", place, "operations"), f"unknown operation {text!r}", did_you_mean(word, right)
            )
        names = names.replace(**changes)
    return names
