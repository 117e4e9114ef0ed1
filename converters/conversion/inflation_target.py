"""Which network a file is inflated to: the variant, the model and the sizes asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.mapping.globs import is_for
from converters.mapping.layout_tables import models
from converters.mapping.names import families
from converters.mapping.network_tables import load_network
from converters.mapping.readable_networks import readable_networks, readable_variants
from converters.mapping.table_files import network_names
from converters.mapping.variants import modules, variants
from converters.spelling import did_you_mean

if TYPE_CHECKING:
    from converters.mapping.match import Match
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant


def choose_variant(match: Match, target: LayoutTable, name: str, path: str) -> Variant:
    """The variant asked for, of a family that can be inflated from the file's. Raises `Refused`."""
    source_family = match.variant.family
    candidates = [
        variant
        for family in readable_networks(network_names())
        if source_family in load_network(family).inflate.sources and family in families(target)
        for variant in variants(family)
        if not target.support_for(variant.name).unsupported
    ]
    if not candidates:
        raise Refused(
            f"holds {match.variant.title}, and {target.title} has no network that is inflated from it",
            path=path,
            hint="ResNet-50 and -101 can be inflated, and BN-Inception for other input channels",
        )
    named = [variant for variant in candidates if variant.name == name]
    if not named:
        blocks = match.variant.values.get("blocks")
        of_model = [variant for variant in candidates if name in _models(target, variant)]
        named = [variant for variant in of_model if variant.values.get("blocks") == blocks] or of_model[:1]
    if named and all(_same_kernels(named[0], other) for other in named):
        return named[0]
    if named:
        raise Refused(
            f"{name!r} is a model of {len(named)} networks that are inflated from {match.variant.title}",
            path=path,
            where=", ".join(variant.name for variant in named),
            hint=f"say which with --variant, and --model {name}",
        )
    known = [variant for variant in readable_variants(network_names()) if variant.name == name]
    names = [variant.name for variant in candidates]
    not_inflated = [variant.title for variant in known if source_family not in variant.table.inflate.sources]
    raise Refused(
        f"holds {match.variant.title}, whose kernels are not those of {not_inflated[0]}"
        if not_inflated
        else f"{target.title} has no network {name!r} that is inflated from {match.variant.title}",
        path=path,
        hint=("" if known else did_you_mean(name, names)) or f"--variant may be {', '.join(names)}",
    )


def _same_kernels(variant: Variant, other: Variant) -> bool:
    """Whether two networks have equal kernel shapes where both have a convolution."""
    shapes = {module.name: module.shape for module in modules(variant) if module.kind.startswith("conv")}
    return all(shapes.get(module.name, module.shape) == module.shape for module in modules(other))


def _models(target: LayoutTable, variant: Variant) -> list[str]:
    """The names of a layout's models of a network."""
    return [row.name for row in models(target) if is_for(row.variants, variant.name)]


def choose_model(target: LayoutTable, variant: Variant, name: str, model: str | None, path: str) -> str:
    """The model asked for, or the network's own name, which asks for none."""
    if model is None:
        return name
    known = _models(target, variant)
    if model not in known:
        raise Refused(
            f"{target.title} has no model {model!r} of {variant.title}",
            path=path,
            hint=did_you_mean(model, known)
            or (f"--model may be {', '.join(known)}" if known else "leave --model out"),
        )
    return model


def inflated_sizes(
    match: Match, target: LayoutTable, variant: Variant, name: str, channels: int | None
) -> dict[str, int]:
    """The sizes of the inflated network: the file's, and the frames of kernels that the table or a model gives."""
    sizes_of = {row.name: row.sizes for row in models(target)}
    listed = {**variant.values, **sizes_of.get(name, {})}
    frames = {hole: sizes[0] for hole, sizes in listed.items() if hole.endswith("_t")}
    return {**match.sizes, **frames, **({} if channels is None else {"channels": channels})}
