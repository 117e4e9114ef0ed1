"""Names of modules that a wrapper has changed: ``layer1._orig_mod.0.conv1`` is ``layer1.0.conv1``, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
"""Where wrappers keep the wrapped module: ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``, fully
sharded data parallel, activation checkpoints, and Lightning's Fabric."""


def without_wrappers(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The names by what they are without wrappers, and the wrappers that they have.

    A wrapper is the only thing in its place: where a name has none there, it is a name like others. If two names become
    one, or if only what all names begin with is a wrapper, nothing is left out.
    """
    names = list(names)
    first, last = min(names, default=""), max(names, default="")
    differ = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    start = first.rfind(".", 0, next(differ, 0)) + 1
    inside = "\n".join([f".{name[start:]}" for name in names])
    if not any(f".{wrapper}." in inside for wrapper in WRAPPERS):
        return dict(zip(names, names, strict=True)), ()
    children: dict[tuple[str, ...], set[str]] = {}
    for name in names:
        parts = tuple(name.split("."))
        for place, part in enumerate(parts):
            children.setdefault(parts[:place], set()).add(part)
    found = {place: part for place, (part, *others) in children.items() if part in WRAPPERS and not others}
    inner = {_without(name.split("."), found): name for name in names}
    if not found or len(inner) < len(names):
        return dict(zip(names, names, strict=True)), ()
    return inner, tuple(dict.fromkeys(found.values()))


def _without(parts: list[str], wrappers: Mapping[tuple[str, ...], str]) -> str:
    return ".".join(part for place, part in enumerate(parts) if tuple(parts[:place]) not in wrappers)
