"""What a layout calls the tensors of a network: exact names, for a given variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .schema import IDENTITY, ModuleNames
from .storage import DIVISOR, PARAMETERS, StoredTensor
from .table_files import network_names
from .variants import BN_EPS, own_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .schema import LayoutTable
    from .variants import Module, Variant

BATCHES = "num_batches_tracked"
"""The counter that PyTorch keeps in every batch norm, a scalar int64. It takes no part in inference."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"

_NO_NAMES = ModuleNames(common={})


class CannotHold(Exception):
    """A layout has no name for a module. Carries the module's canonical name."""


class TensorSlot(NamedTuple):
    """One tensor of a network, under its canonical name and under a layout's.

    ``shape`` is the canonical one and may hold names of sizes that a file's tensors show; ``stored`` says how the
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
    """Every tensor of a variant under both names, in state-dict order; a module's `DIVISOR`, which is not a tensor of
    the network, comes before its own.

    ``present`` says for each optional part whether it is there, and of the head if it is not. A tensor with further
    names comes once for each. Raises `CannotHold` for a module that the layout has no name for.
    """
    further = layout.further_names(variant.name)
    for module in variant.each_module():
        if not present.get(module.part, not module.optional):
            continue
        if further is None:
            yield from module_slots(layout, variant, module, sizes)
            continue
        for slot in module_slots(layout, variant, module, sizes):
            yield slot
            for name in further.of(slot.name) if slot.name else ():
                yield slot._replace(name=name)


def module_slots(
    layout: LayoutTable, variant: Variant, module: Module, sizes: Mapping[str, int]
) -> Iterator[TensorSlot]:
    """The tensors of one module, each under its first name, see `tensor_slots`."""
    name = module_name(layout, variant, module, sizes)
    if name == IDENTITY:
        yield from _identity(layout, variant, module)
        return
    kind, key = module.kind, module.key
    parameters = layout.storage.parameters["conv" if kind == "conv+bias" else kind]
    names = layout.modules.get(module.family, _NO_NAMES)
    if over := layout.divisor(kind):
        divisor = StoredTensor(over)
        yield TensorSlot(f"{module.name}.{DIVISOR}", divisor.of(name), (1,), kind, DIVISOR, divisor)
    for parameter in PARAMETERS[kind]:
        stored = parameters[parameter]
        whole = parameter == "weight" and kind != "bn"
        if stored.missing is not None:
            stored = stored.of_rank(len(module.shape))
        if whole and key in names.rotated_columns:
            stored = stored._replace(rotated_columns=names.rotated_columns[key])
        if whole and key in names.bgr:
            stored = stored._replace(bgr=True)
        if whole and key in names.matrices:
            stored = stored._replace(lacks=tuple(range(2, len(module.shape))))
        elif whole and len(module.shape) == 5 and layout.support_for(variant.name).images:
            stored = stored._replace(lacks=(2,))
        yield TensorSlot(
            f"{module.name}.{parameter}",
            stored.of(name) if stored.constant is None else "",
            module.shape if whole else module.shape[:1],
            kind,
            parameter,
            stored,
            key,
        )


def left_out(layout: LayoutTable, variant: Variant) -> set[str]:
    """The batch norms of a variant that a layout has no place for, by part and line in the network's table."""
    names = layout.modules.get(variant.family)
    if names is None:
        return set()
    return {
        f"{part}/{line.name}"
        for part, _ in variant.parts
        for line in variant.table.modules.get(part, ())
        if names.template(part, line.name) == IDENTITY
    }


def unstored(layout: LayoutTable, variant: Variant) -> set[str]:
    """The tensors of a variant's modules that a layout takes for constants in place of storing them, by the kind of the
    module and the tensor's name there."""
    return {
        f"{kind}/{parameter}"
        for kind in {module.kind for module in variant.modules}
        for parameter in PARAMETERS[kind]
        if layout.parameter(kind, parameter).constant is not None
    }


def _identity(layout: LayoutTable, variant: Variant, module: Module) -> Iterator[TensorSlot]:
    """The tensors of a batch norm that a layout does not have: those of one that changes nothing."""
    eps = own_settings(layout, variant)[BN_EPS]
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - eps}
    for parameter in PARAMETERS[module.kind]:
        constant = StoredTensor("", constant=values[parameter])
        yield TensorSlot(f"{module.name}.{parameter}", "", module.shape[:1], module.kind, parameter, constant)


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
    naming = layout.naming
    values = module.placeholders
    if naming.letters:
        values = _with_letters(values, naming.letters)
    try:
        name = template.format_map(values)
    except KeyError:  # a size that the file's tensors show stands in the name, or what the variant's row says
        name = template.format_map({**variant.values, **values, **sizes})
    return prefix + naming.rename.get(name, name)


def _with_letters(values: Mapping[str, Any], letters: Mapping[str, str]) -> Mapping[str, Any]:
    """Placeholders' values with the letters that some numbers are here."""
    spelled = {}
    for letter, rule in letters.items():
        number, _, most = rule.partition(" up to ")
        if number in values:
            spelled[letter] = _letters(values[number], values["blocks"], int(most or 0))
    return {**values, **spelled} if spelled else values


def name_templates(layout: LayoutTable, family: str) -> Iterator[str]:
    """The templates whose names carry a size that the file's tensors show, such as a number of classes."""
    if layout.identity:
        return
    names = layout.modules[family]
    for lines in (names.common, *names.within.values()):
        for template in lines.values():
            if "{classes}" in template:
                yield template


def _letters(block: int, blocks: int, most: int) -> str:
    """a, b, c ...; two letters, aa, ab ..., all through a stage of 26 blocks or more. If ``most`` is not 0, a stage of
    more blocks has a, b1, b2 ... instead."""
    many = len(LETTERS)
    if 0 < most < blocks:
        return f"{LETTERS[1]}{block}" if block else LETTERS[0]
    if blocks < many:
        return LETTERS[block]
    return LETTERS[block // many] + LETTERS[block % many]
