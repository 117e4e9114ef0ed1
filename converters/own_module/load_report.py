"""Whether a file loads strictly into a user's own module, and what does not: names and shapes, no values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.formats.open import open_checkpoint
from converters.lazy_module import LazyModule
from converters.loading import require_torch
from converters.locations import without_credentials
from converters.printable import shape_text
from converters.shown import Shown

from .build import built_module, module_name

if TYPE_CHECKING:
    import torch

    from converters.tensor import Tensor
else:
    torch = LazyModule("torch")

NEAR = 0.6
"""How alike two names must be to be called near, from 0 to 1."""


class OtherShape(NamedTuple):
    """A tensor that has one shape in the file and another in the module."""

    name: str
    file: tuple[int, ...]
    module: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LoadReport(Shown):
    """What ``load_state_dict`` makes of a file.

    ``strict`` is whether it loads strictly. ``missing`` are the module's tensors that the file does not have: they stay
    as the module was initialised. ``unexpected`` are those of the file that the module does not have, ``shapes`` those
    that differ in shape. ``nearest`` has, for what is missing, the most similar name that is unexpected. ``prefix`` is
    what stands before each name in the file (``module.``), or with a minus sign in the module, where the names are
    otherwise the same. ``error`` is what PyTorch says beside that.
    """

    file: str
    module: str
    tensors: int
    strict: bool
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[OtherShape, ...]
    nearest: Mapping[str, str]
    prefix: str = ""
    error: str = ""

    def lines(self) -> tuple[str, ...]:
        """The verdict, and how much is wrong."""
        verdict = "loads strictly" if self.strict else "does not load strictly"
        return (
            f"{self.file} {verdict} into {self.module}",
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected, {len(self.shapes)} of another shape",
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "file": self.file,
            "module": self.module,
            "tensors": self.tensors,
            "strict": self.strict,
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "shapes": [
                {"name": row.name, "file": list(row.file), "module": list(row.module)} for row in self.shapes
            ],
            "nearest": dict(self.nearest),
            "prefix": self.prefix,
            "error": self.error,
        }


def load_report(
    file: str | os.PathLike[str], module: str | torch.nn.Module, *, entry: str | None = None
) -> LoadReport:
    """Say whether a checkpoint loads strictly into a module of one's own, and what does not.

    ``module`` is an ``nn.Module``, which is left as it is, or the name of a function that makes one,
    ``"package.module:build"``. That code is run; the file is read as data, and none of its tensors. ``entry`` is the
    path of a state dict in a PyTorch file. Raises `ConverterError` where the file cannot be read or the code fails.
    """
    path = os.fspath(file)
    own = built_module(module)
    with open_checkpoint(path, entry=entry) as checkpoint:
        return report_of(without_credentials(path), checkpoint.tensors, own, module)


def report_of(
    path: str, tensors: Mapping[str, Tensor], own: torch.nn.Module, name: str | torch.nn.Module
) -> LoadReport:
    """The report on the tensors of a file, by their names in it."""
    missing, unexpected, error = _try(own, tensors)
    state = own.state_dict()
    shapes = tuple(
        OtherShape(key, tensor.shape, tuple(state[key].shape))
        for key, tensor in tensors.items()
        if key in state and tuple(state[key].shape) != tuple(tensor.shape)
    )
    return LoadReport(
        file=path,
        module=module_name(name),
        tensors=len(tensors),
        strict=not (missing or unexpected or shapes or error),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        shapes=shapes,
        nearest=_nearest(
            {key: tuple(state[key].shape) for key in missing if key in state},
            {key: tensors[key].shape for key in unexpected if key in tensors},
        ),
        prefix=_prefix(set(tensors), set(state)),
        error="" if shapes else error,
    )


def _try(own: torch.nn.Module, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str], str]:
    """What ``load_state_dict`` itself says of tensors of these names and shapes: a copy of the module without values
    takes them, so that its own hooks count and it stays as it is."""
    torch = require_torch()
    from copy import deepcopy

    shells = {
        name: torch.empty(tensor.shape, dtype=getattr(torch, tensor.dtype), device="meta")
        for name, tensor in tensors.items()
    }
    target = deepcopy(own).to("meta")
    state = target.state_dict()
    fitting = {
        name: shell for name, shell in shells.items() if name not in state or state[name].shape == shell.shape
    }
    try:
        result = target.load_state_dict(fitting, strict=False, assign=True)
    except Exception as error:  # of a module's own hooks
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return [], [], " ".join(lines)[:300]
    others = shells.keys() - fitting.keys()
    return [name for name in result.missing_keys if name not in others], list(result.unexpected_keys), ""


def _prefix(file: set[str], module: set[str]) -> str:
    """What stands before each name on one side alone, where at least half of the names are the same without it."""
    for sign, longer, shorter in (("", file, module), ("-", module, file)):
        firsts = {name.partition(".")[0] + "." for name in longer}
        if len(firsts) == 1 and not any(name.startswith(tuple(firsts)) for name in shorter):
            (first,) = firsts
            if 2 * len({name.removeprefix(first) for name in longer} & shorter) >= len(shorter):
                return sign + first
    return ""


def _nearest(
    missing: Mapping[str, tuple[int, ...]], unexpected: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """For each missing name the most similar unexpected one of its shape. Names that differ in numbers alone are as
    similar to another as the first of them; the one with the same numbers is taken before others."""
    from difflib import SequenceMatcher
    from functools import cache

    @cache
    def alike(left: str, right: str) -> float:
        return SequenceMatcher(None, left, right, autojunk=False).ratio()

    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, shape in unexpected.items():
        by_shape.setdefault(shape, []).append(name)
    found = {}
    for name, shape in missing.items():
        template, numbers = _template(name), _NUMBER.findall(name)
        best = max(
            by_shape.get(shape, ()),
            key=lambda other: (alike(template, _template(other)), _NUMBER.findall(other) == numbers),
            default="",
        )
        if best and alike(template, _template(best)) >= NEAR:
            found[name] = best
    return found


_NUMBER = re.compile(r"\d+")


def _template(name: str) -> str:
    return _NUMBER.sub("#", name)


def shapes_text(row: OtherShape) -> str:
    """A tensor of another shape in words."""
    return f"{row.name}: {shape_text(row.file)} in the file, {shape_text(row.module)} in the module"
