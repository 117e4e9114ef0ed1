"""What a user may say of a file that fits no network, so that it does: the head's name, or names to drop.

Everything proposed has been tried, so no hint leads to the next one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from converters.printable import printable
from converters.tensor import FLOATS

from .globs import glob_matches
from .variants import head_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from converters.tensor import Tensor

    from .file_names import FileNames
    from .names import TensorSlot
    from .schema import LayoutTable
    from .variants import Variant

    Fits = Callable[[str | None, Sequence[str]], "Matched | None"]
    """The match of a file if its head has this name and names of these patterns are dropped."""

_MOST_PATTERNS = 4

_DETECTOR = re.compile(
    r"(?:^|[._])(?:roi_heads?|bbox_head|box_head|detection_head|box_predictor|rpn_head|cls_score)(?:[._]|$)"
)
"""What OpenMMLab, pytorchvideo, torchvision and Detectron call the layers of a detector's head, which classifies
regions and not clips."""


class Matched(Protocol):
    """A file's match with a variant, as far as it matters here."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that the file's tensors show."""
        ...


def remedy(
    layout: LayoutTable,
    variant: Variant,
    slots: Iterable[TensorSlot],
    names: FileNames,
    tensors: Mapping[str, Tensor],
    fits: Fits,
) -> str:
    """The hint for a file that is most similar to ``variant``; empty if nothing that the user may say helps."""
    wanted = {slot.name for slot in slots if slot.name}
    unused = {bare: name for bare, name in names.wanted.items() if bare not in wanted}
    if not unused:
        return ""
    kept = [name for bare, name in names.wanted.items() if bare in wanted]
    head_modules = {module.name for module in variant.modules if module.part == head_part(variant)}
    missing = [slot for slot in slots if slot.name and slot.name not in names.wanted]
    own_head = _of_head(slots, head_modules, names)
    if not own_head and all(slot.canonical.rpartition(".")[0] in head_modules for slot in missing):
        head = _linear_layer(layout, variant, head_modules, unused, tensors)
        if head and _DETECTOR.search(head):
            rest = _without(list(unused.values()), kept, own_head, tensors, fits)
            what = f"{printable(head)} is a detector's head, and no detector with this backbone is known"
            return f"{what}; {rest}" if rest else what
        if head and fits(head, ()):
            return f"if {printable(head)} is its head, say so: --head {printable(head)}"
    return _without(list(unused.values()), kept, own_head, tensors, fits)


def _linear_layer(
    layout: LayoutTable,
    variant: Variant,
    head: set[str],
    unused: Mapping[str, str],
    tensors: Mapping[str, Tensor],
) -> str:
    """The name in the file of the linear layer that takes as many inputs as the head, if nothing else is unused."""
    if len(head) != 1 or len(unused) != 2:
        return ""
    inputs = next(module.shape[1] for module in variant.modules if module.name in head)
    weight, bias = layout.parameter("fc", "weight"), layout.parameter("fc", "bias")
    for bare, name in unused.items():
        module = bare.removesuffix(weight.suffix)
        if not bare.endswith(weight.suffix) or bias.of(module) not in unused:
            continue
        plain = weight.plain(tensors[name].shape, 2) if name in tensors else None
        if plain is not None and weight.canonical(plain)[1] == inputs:
            return name.removesuffix(weight.suffix)
    return ""


def _of_head(slots: Iterable[TensorSlot], head: set[str], names: FileNames) -> list[str]:
    """The names of the head's tensors in the file."""
    return [
        names.wanted[slot.name]
        for slot in slots
        if slot.name in names.wanted and slot.canonical.rpartition(".")[0] in head
    ]


def _without(
    unused: list[str], kept: list[str], head: list[str], tensors: Mapping[str, Tensor], fits: Fits
) -> str:
    """The hint to drop names, if the rest is a network. Where an unused matrix takes what the head gives, the head
    has several layers and is dropped whole."""
    patterns = _patterns(unused, kept)
    match = fits(None, patterns) if len(patterns) <= _MOST_PATTERNS else None
    if match is not None and match.sizes["classes"] and _continue_head(match, unused, tensors):
        patterns = _patterns([*unused, *head], [name for name in kept if name not in head])
        match = fits(None, patterns) if len(patterns) <= _MOST_PATTERNS else None
    if match is None:
        return ""
    if match.sizes["classes"]:
        return f"if they are not weights of the network, leave them out: {_options(patterns)}"
    return f"to convert the rest, without a head: {_options(patterns)}"


def _continue_head(match: Matched, unused: Iterable[str], tensors: Mapping[str, Tensor]) -> bool:
    shapes = (tensors[name].shape for name in unused if name in tensors and tensors[name].dtype in FLOATS)
    return any(len(shape) > 1 and shape[1] == match.sizes["classes"] for shape in shapes)


def _options(patterns: Iterable[str]) -> str:
    return " ".join(f"--drop '{printable(pattern)}'" for pattern in patterns)


def _patterns(names: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Few patterns for all of some names and none of those that are kept: of modules, else of last parts of names."""
    modules = list(dict.fromkeys(_module_pattern(name, kept) for name in names))
    if len(modules) <= _MOST_PATTERNS:
        return modules
    leaves = list(dict.fromkeys(f"*{name.rpartition('.')[2]}" for name in names))
    if any(glob_matches(leaf, name) for leaf in leaves for name in kept):
        return modules
    return leaves


def _module_pattern(name: str, kept: Sequence[str]) -> str:
    """The pattern of the largest module with a tensor that has none that is kept; else the name."""
    place = name.find(".")
    while place >= 0:
        prefix = name[: place + 1]
        if not any(other.startswith(prefix) for other in kept):
            return f"{prefix}*"
        place = name.find(".", place + 1)
    return name
