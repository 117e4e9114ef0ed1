"""What a layout calls the tensors of a network: exact names, once a variant is decided."""

from __future__ import annotations

from string import ascii_lowercase
from typing import TYPE_CHECKING, NamedTuple

from .tables import DIVISOR, IDENTITY, LEAVES, LayoutTable, StoredTensor, network_names
from .variants import Module, Variant, leaf_shape, modules, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCHES = "num_batches_tracked"
"""The counter that PyTorch keeps in every batch norm, a scalar int64. It takes no part in inference."""

LETTERS = len(ascii_lowercase)


class CannotHold(Exception):
    """A layout has no name for a module. Carries the module's canonical name."""


class TensorSlot(NamedTuple):
    """One tensor of a network, under its canonical name and under a layout's.

    ``shape`` is the canonical one and may hold names of sizes that a file binds; ``stored`` says how the
    layout keeps the tensor, if it does (``name`` is empty where it does not). ``key`` is the module's line in the
    network's table.
    """

    canonical: str
    name: str
    shape: tuple[int | str, ...]
    kind: str
    leaf: str
    stored: StoredTensor
    key: str = ""

    def file_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape in a file of the layout, with the further ones that are written."""
        whole = tuple(size if isinstance(size, int) else sizes[size] for size in self.shape)
        return self.stored.full(self.stored.bare(whole))


def families(layout: LayoutTable) -> list[str]:
    """The network families that a layout has names for."""
    return network_names() if layout.identity else list(layout.modules)


def tensor_slots(
    layout: LayoutTable, variant: Variant, sizes: Mapping[str, int], present: Mapping[str, bool]
) -> Iterator[TensorSlot]:
    """Every tensor of a variant under both names, in state-dict order; a module's `DIVISOR`, which is no tensor of
    the network, comes before its own.

    ``present`` tells for each optional part whether it is there, and of the head if it is not. A tensor that the layout
    stores twice comes twice. Raises `CannotHold` for a module that the layout has no name for.
    """
    for module in modules(variant):
        if not present.get(module.part, not module.optional):
            continue
        name = module_name(layout, variant, module, sizes)
        if name == IDENTITY:
            yield from _identity(layout, variant, module)
            continue
        leaves = layout.leaves["conv" if module.kind == "conv+bias" else module.kind]
        names = layout.modules.get(module.family)
        rolled = names.rolled.get(module.key, 0) if names else 0
        turned = module.key in names.reversed if names else False
        if over := layout.divisor(module.kind):
            divisor = StoredTensor(over)
            yield TensorSlot(
                f"{module.name}.{DIVISOR}", divisor.of(name), (1,), module.kind, DIVISOR, divisor
            )
        for leaf in LEAVES[module.kind]:
            stored = leaves[leaf]
            if rolled and leaf == "weight":
                stored = stored._replace(rolled=rolled)
            if turned and leaf == "weight":
                stored = stored._replace(reversed=True)
            entry = TensorSlot(
                f"{module.name}.{leaf}",
                stored.of(name) if stored.constant is None else "",
                leaf_shape(module.kind, leaf, module.shape),
                module.kind,
                leaf,
                stored,
                module.key,
            )
            yield entry
            if names and (twice := names.twice.get(module.key)):
                yield entry._replace(name=stored.of(twice.format_map(module.holes)))


def left_out(layout: LayoutTable, variant: Variant) -> set[str]:
    """The batch norms of a variant that a layout has no place for, by part and line in the network's table."""
    names = layout.modules.get(variant.family)
    if names is None:
        return set()
    return {
        f"{part}/{line.name}"
        for part, _ in parts(variant)
        for line in variant.table.modules.get(part, ())
        if names.template(part, line.name) == IDENTITY
    }


def unstored(layout: LayoutTable, variant: Variant) -> set[str]:
    """The tensors of a variant's modules that a layout takes for constants in place of storing them, by the kind of the
    module and the tensor's name there."""
    kinds = {module.kind for module in modules(variant)}
    return {
        f"{kind}/{leaf}"
        for kind in kinds
        for leaf in LEAVES[kind]
        if layout.leaf(kind, leaf).constant is not None
    }


def _identity(layout: LayoutTable, variant: Variant, module: Module) -> Iterator[TensorSlot]:
    """The tensors of a batch norm that a layout does not have: those of one that changes nothing."""
    eps = layout.eps(variant.name) or variant.table.bn_eps
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - eps}
    for leaf in LEAVES[module.kind]:
        shape = leaf_shape(module.kind, leaf, module.shape)
        yield TensorSlot(
            f"{module.name}.{leaf}", "", shape, module.kind, leaf, StoredTensor("", constant=values[leaf])
        )


def module_name(layout: LayoutTable, variant: Variant, module: Module, sizes: Mapping[str, int]) -> str:
    """A layout's name for one module."""
    if layout.identity:
        return module.name
    template = layout.modules[module.family].template(module.part, module.key)
    if template is None:
        raise CannotHold(module.name)
    prefix = ""
    if module.side:
        outer = layout.modules[variant.family].template("", f"{module.side}.")
        if outer is None:
            raise CannotHold(module.name)
        prefix = outer
    holes = module.holes
    for letter, counted in layout.letters.items():
        if counted in holes:
            holes = {**holes, letter: _letters(holes[counted], holes["blocks"])}
    try:
        name = template.format_map(holes)
    except KeyError:  # a size that the file binds stands in the name, or what the variant's row says
        name = template.format_map({**variant.values, **holes, **sizes})
    return prefix + layout.rename.get(name, name)


def name_templates(layout: LayoutTable, family: str) -> Iterator[str]:
    """The templates whose names carry a size that the file binds, such as a number of classes."""
    if layout.identity:
        return
    names = layout.modules[family]
    for template in (
        *names.common.values(),
        *(text for part in names.within.values() for text in part.values()),
    ):
        if "{classes}" in template:
            yield template


def _letters(block: int, blocks: int) -> str:
    """a, b, c ...; two letters, aa, ab ..., all through a stage of 26 blocks or more."""
    if blocks < LETTERS:
        return ascii_lowercase[block]
    return ascii_lowercase[block // LETTERS] + ascii_lowercase[block % LETTERS]
