"""Channels that have each other's place in the output, since its project's networks shift them the other way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.conversion.exchanges import exchanges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.conversion.identify import Identified


def exchanged_settings(source: Identified, output: Identified) -> dict[str, Any]:
    """The settings in which the two differ and for which groups of channels are exchanged, as the source has them."""
    return {
        name: source.info.settings[name]
        for name in output.match.variant.table.exchanged_settings
        if source.info.settings.get(name) != output.info.settings.get(name)
    }


def exchanged_back(state: Mapping[str, Any], source: Identified, output: Identified) -> dict[str, Any]:
    """The output's weights with every group of channels where the source has it. ``state`` has tensors of PyTorch by
    their canonical names."""
    import torch

    changes = exchanges(output.match.variant.table, output.info.settings, source.info.settings)
    slots = {slot.canonical: slot for slot in output.match.slots}
    restored = {}
    for name, tensor in state.items():
        elements = tensor.numpy()
        for operation in changes.of(slots[name], tuple(tensor.shape)) if name in slots else ():
            elements = operation.rearrange(elements)
        restored[name] = torch.from_numpy(elements)
    return restored
