"""Seeded weights under any layout's names, and the network that has them; no files."""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from converters.conversion.plan import make_plan
from converters.loading import build_network, to_torch
from converters.mapping.globs import is_for
from converters.mapping.layout_tables import load_layout, models
from converters.mapping.match import match_file
from converters.mapping.names import tensor_slots
from converters.mapping.network_info import layout_settings, network_info, own_settings_apart
from converters.mapping.table_files import network_names
from converters.mapping.variants import is_detector, own_eps, settings, variants
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant
    from converters.networks.layers import Network


def variant(name: str) -> Variant:
    """A variant of any family."""
    return next(variant for family in network_names() for variant in variants(family) if variant.name == name)


def model_of(variant: Variant, *layouts: str) -> str:
    """The first model of a variant in the layouts, of the sizes that a file would bind; else the variant's name."""
    bound = sizes(variant)
    return next(
        (
            row.name
            for layout in layouts
            for row in models(load_layout(layout))
            if row.name
            and is_for(row.variants, variant.name)
            and all(bound.get(name) in values for name, values in row.sizes.items())
        ),
        variant.name,
    )


def fixes_other_settings(source: LayoutTable, target: LayoutTable, variant: Variant) -> bool:
    """Whether a target's code fixes a setting to another value than a source's network has."""
    apart = (
        own_settings_apart(layout_settings(source, variant)[0], target, variant) if settings(variant) else {}
    )
    support = target.support_for(variant.name)
    return any(name in (*support.fixed, *support.one_number.settings) for name in apart)


def keeps_statistics(layout: LayoutTable) -> bool:
    """Whether a layout has a place for the statistics of batch norms."""
    return layout.parameter("bn", "running_var").constant is None


def sizes(variant: Variant) -> dict[str, int]:
    """Sizes that a file would bind: as many classes as AVA and HMDB51 have."""
    stem = variant.values.get("stem_t") or [3]
    return {
        "classes": 80 if is_detector(variant) else 51,
        "channels": 3,
        "activities": 6,
        "offsets": 12,
        "stem_t": stem[0],
        "lateral_t": 5,
    }


def shells(layout: str, name: str, *, classes: int = 51, channels: int = 3) -> dict[str, Tensor]:
    """A file's tensors without their values."""
    table, one = load_layout(layout), variant(name)
    bound = {**sizes(one), "classes": classes, "channels": channels}
    return {
        slot.name: shell(slot.name, slot.file_shape(bound))
        for slot in tensor_slots(table, one, bound, {})
        if slot.name
    }


def shell(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """A tensor without its values."""
    return Tensor(name, dtype, shape, Held(b""))


def seeded(layout: LayoutTable, variant: Variant) -> dict[str, Tensor]:
    """A file's tensors: gains that keep values in range over depth, variances from 0.5 to 1.5."""
    bound, weights = sizes(variant), {}
    for entry in tensor_slots(layout, variant, bound, {"blending": False}):
        if not entry.name:
            continue
        shape = entry.file_shape(bound)
        random = np.random.default_rng(zlib.crc32(entry.canonical.encode()))
        if entry.leaf == "weight" and entry.kind != "bn":
            fan_in = prod(size if isinstance(size, int) else bound[size] for size in entry.shape[1:])
            values = random.standard_normal(prod(shape), np.float32) * np.float32((1.6 / fan_in) ** 0.5)
        elif entry.leaf in ("weight", "running_var"):
            values = random.random(prod(shape), np.float32) + np.float32(0.5)
        else:
            values = random.standard_normal(prod(shape), np.float32) * np.float32(0.1)
        weights[entry.name] = Tensor(entry.name, "float32", shape, Held(values.tobytes()))
    return weights


def moved(
    tensors: Mapping[str, Tensor],
    match: Match,
    info: NetworkInfo,
    target: LayoutTable,
    *,
    eps: float | None = None,
) -> dict[str, Tensor]:
    """The tensors of a fitted file as ``target`` has them, ``eps`` there being the target's own if not given."""
    own = own_eps(target, match.variant) or info.bn_eps
    plan = make_plan(match, tensors, target, info, eps=own if eps is None else eps)
    return {row.target: row.tensor(tensors) for row in plan.rows}


def network(layout: LayoutTable, tensors: Mapping[str, Tensor], **settings: object) -> Network:
    """What `load_model` makes of a bare file of these tensors."""
    match = match_file(layout, tensors)
    info = network_info(match, None, requested=settings)
    state = moved(tensors, match, info, load_layout("native"))
    ready = {name: to_torch(tensor) for name, tensor in state.items()}
    return build_network(match, ready, info.settings)


def logits(model: Network, *inputs: torch.Tensor) -> torch.Tensor:
    """A network's output, without gradients."""
    with torch.inference_mode():
        return model(*inputs)
