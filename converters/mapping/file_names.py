"""A file's names as a layout may mean them: prefixes, what is ignored, what counts batches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .names import BATCHES, families, name_templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .schema import LayoutTable

_AVERAGE = "ema_"

_AVERAGED = ("n_averaged", "steps")

"""How many states PyTorch's and mmengine's averaged_names models have averaged_names: beside the prefix ``module.``."""


class FileNames(NamedTuple):
    """A file's names, sorted out: what must be mapped, what is dropped, what counts batches."""

    wanted: dict[str, str]
    dropped: tuple[str, ...]
    counters: tuple[str, ...]
    prefix: str


def averaged_names(names: Iterable[str]) -> dict[str, None]:
    """Averages of a file's weights that lie among them as buffers of the same module, as mmcv's EMAHook keeps them:
    ``ema_`` and a parameter's name with ``_`` for its dots. In the file's order."""
    averages = [name for name in names if name.startswith(_AVERAGE)]
    own = {name.replace(".", "_") for name in names} if averages else set()
    return dict.fromkeys(name for name in averages if name.removeprefix(_AVERAGE) in own)


def readings(layout: LayoutTable, names: list[str], head: str | None) -> Iterator[tuple[LayoutTable, str]]:
    """How a file's names may be those of a layout: with which prefix in front, and by which names.

    PyTorch's wrappers put the name of an attribute in front of all names (``module.``, ``model.``, ``encoder.``,
    several of them): whatever all have in common may be one. Other layouts say what their prefixes are.
    """
    if layout.format != "pytorch":
        scopes = (
            found
            for prefix in layout.naming.prefixes
            if prefix and (found := _file_prefix(layout, prefix, names))
        )
        prefix = next(scopes, "")
        yield (layout.with_head(head.removeprefix(prefix)) if head is not None else layout), prefix
        return
    prefixes = [""]
    for table in (layout, layout.without_backbone()) if layout.naming.backbone else (layout,):
        for prefix in prefixes:
            named = head is not None and not table.identity
            yield (table.with_head(str(head).removeprefix(prefix)) if named else table), prefix
            if len(prefixes) == 1:  # only now: nearly all files have none
                prefixes += _common_prefixes([name for name in names if name not in _AVERAGED])


def _common_prefixes(names: list[str]) -> list[str]:
    """Every prefix, up to a dot, that all names have, the shortest first."""
    first, last = min(names, default=""), max(names, default="")
    found = []
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            break
        if one == ".":
            found.append(first[: place + 1])
    return found


def _file_prefix(layout: LayoutTable, prefix: str, names: Iterable[str]) -> str:
    """The prefix that ``prefix`` stands for in a file: itself, or after a ``*`` the shortest that is in front of the
    weight of a convolution or a linear layer; empty if no name has it."""
    if not prefix.startswith("*"):
        return prefix if any(name.startswith(prefix) for name in names) else ""
    ends = tuple(
        prefix[1:] + layout.parameter(kind, "weight").of(template)
        for family in families(layout)
        for template in layout.modules[family].common.values()
        for kind in ("conv", "fc")
    )
    found = {
        name[: len(name) - len(end) + len(prefix) - 1] for name in names for end in ends if name.endswith(end)
    }
    return min(found, key=lambda prefix: (len(prefix), prefix), default="")


def sort_out(layout: LayoutTable, names: Iterable[str], beside: Iterable[str], prefix: str) -> FileNames:
    """A file's names with ``prefix`` in front, by what they are to a layout; ``beside`` are ignored."""
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
    return FileNames(wanted, (*dropped, *beside), tuple(counters), prefix)


def pattern(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    """One expression for several patterns; None for none."""
    if not globs:
        return None
    return re.compile("|".join(f"(?:{re.escape(glob).replace(chr(92) + '*', '.*')})" for glob in globs))


def chosen_name(layout: LayoutTable, wanted: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    """The first of a module's names under which a file has a tensor."""
    leaves = {
        leaf for of_kind in layout.storage.parameters.values() for leaf in of_kind.values() if leaf.suffix
    }
    return next((name for name in choices if any(leaf.of(name) in wanted for leaf in leaves)), choices[0])


def sizes_in_names(layout: LayoutTable, family: str, names: Iterable[str]) -> dict[str, int]:
    """The sizes that names carry, such as a number of classes."""
    for template in name_templates(layout, family):
        start, _, end = template.partition("{classes}")
        expression = re.compile(f"{re.escape(start)}([1-9][0-9]{{0,8}}){re.escape(end)}_")
        for name in names:
            if match := expression.match(name):
                return {"classes": int(match[1])}
    return {}
