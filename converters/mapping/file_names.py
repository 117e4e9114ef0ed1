"""Sort a file's names by what they are to a layout: prefixes, ignored names, batch counters and tensors' names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .names import BATCHES, families, name_templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .schema import LayoutTable

_AVERAGE = "ema_"

_AVERAGED = ("n_averaged", "steps")
"""The counters in averaged models of PyTorch and mmengine, whose other names have the prefix ``module.``."""


class FileNames(NamedTuple):
    """A file's names: ``wanted`` are to be mapped (by the name without ``prefix``), ``dropped`` are left out, and
    ``counters`` are batch counters."""

    wanted: dict[str, str]
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    prefix: str


def averaged_names(names: Iterable[str]) -> dict[str, None]:
    """The names of averaged weights that mmcv's EMAHook stores as buffers beside the weights: ``ema_`` and a
    parameter's name with ``_`` for its dots. In the file's order."""
    averages = [name for name in names if name.startswith(_AVERAGE)]
    own = {name.replace(".", "_") for name in names} if averages else set()
    return dict.fromkeys(name for name in averages if name.removeprefix(_AVERAGE) in own)


def readings(layout: LayoutTable, names: list[str], head: str | None) -> Iterator[tuple[LayoutTable, str]]:
    """The ways to read a file's names as a layout's: each a table and a prefix of all names.

    PyTorch wrappers put an attribute's name before all names (``module.``, ``model.``, ``encoder.``, also several), so
    any common prefix is tried. Layouts of other formats list their prefixes.
    """
    if layout.format != "pytorch":
        file_prefixes = (
            file_prefix
            for prefix in layout.naming.prefixes
            if prefix and (file_prefix := _file_prefix(layout, prefix, names))
        )
        prefix = next(file_prefixes, "")
        yield (layout.with_head(head.removeprefix(prefix)) if head is not None else layout), prefix
        return
    prefixes = [""]
    for table in (layout, layout.without_backbone()) if layout.naming.backbone else (layout,):
        for prefix in prefixes:
            named = head is not None and not table.identity
            yield (table.with_head(str(head).removeprefix(prefix)) if named else table), prefix
            if len(prefixes) == 1:  # late, since nearly all files have no prefix
                prefixes += _common_prefixes([name for name in names if name not in _AVERAGED])


def _common_prefixes(names: list[str]) -> list[str]:
    """Every prefix of all names that ends with a dot, the shortest first."""
    first, last = min(names, default=""), max(names, default="")
    prefixes = []
    for place, (letter, last_letter) in enumerate(zip(first, last, strict=False)):
        if letter != last_letter:
            break
        if letter == ".":
            prefixes.append(first[: place + 1])
    return prefixes


def _file_prefix(layout: LayoutTable, prefix: str, names: Iterable[str]) -> str:
    """The prefix in a file that a table's ``prefix`` means: itself, or for ``*...`` the shortest before the weight of a
    convolution or a linear layer. Empty if no name has it."""
    if not prefix.startswith("*"):
        return prefix if any(name.startswith(prefix) for name in names) else ""
    endings = tuple(
        prefix[1:] + layout.parameter(kind, "weight").of(template)
        for family in families(layout)
        for template in layout.modules[family].common.values()
        for kind in ("conv", "fc")
    )
    candidates = {
        name[: len(name) - len(ending) + len(prefix) - 1]
        for name in names
        for ending in endings
        if name.endswith(ending)
    }
    return min(candidates, key=lambda prefix: (len(prefix), prefix), default="")


def sort_out(layout: LayoutTable, names: Iterable[str], extra_names: Iterable[str], prefix: str) -> FileNames:
    """A file's names with ``prefix`` in front, by what they are to a layout; ``extra_names`` are ignored."""
    drop = pattern((*layout.storage.ignore, *layout.storage.ignore_if_zero))
    wanted: dict[str, str] = {}
    dropped, counters = [], []
    for name in names:
        bare = name.removeprefix(prefix)
        if drop and drop.fullmatch(bare):
            dropped.append(name)
        elif layout.format == "pytorch" and (bare.endswith(f".{BATCHES}") or (prefix and name in _AVERAGED)):
            counters.append(name)
        elif prefix and bare == name:
            wanted[f"\0{name}"] = name  # outside the scope: cannot be a network's tensor
        else:
            wanted[bare] = name
    return FileNames(wanted, (*dropped, *extra_names), tuple(counters), prefix)


def pattern(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    """One regular expression for several globs; None if there are none."""
    if not globs:
        return None
    return re.compile("|".join(f"(?:{re.escape(glob).replace(chr(92) + '*', '.*')})" for glob in globs))


def chosen_name(layout: LayoutTable, wanted: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    """The first of a module's names that the file has a tensor of, else the first."""
    leaves = {
        leaf for of_kind in layout.storage.parameters.values() for leaf in of_kind.values() if leaf.suffix
    }
    return next((name for name in choices if any(leaf.of(name) in wanted for leaf in leaves)), choices[0])


def sizes_in_names(layout: LayoutTable, family: str, names: Iterable[str]) -> dict[str, int]:
    """The sizes that are part of names, such as the number of classes."""
    for template in name_templates(layout, family):
        start, _, end = template.partition("{classes}")
        expression = re.compile(f"{re.escape(start)}([1-9][0-9]{{0,8}}){re.escape(end)}_")
        for name in names:
            if match := expression.match(name):
                return {"classes": int(match[1])}
    return {}
