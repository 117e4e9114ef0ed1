"""What a file says of its network beside the weights, to be compared with what another file says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo


def network_facts(network: NetworkInfo) -> dict[str, Any]:
    """Network, model, licence, settings and preprocessing, by name. The mean file is no part of the weights' file."""
    described = {name: value for name, value in network.input.items() if name != "mean_file"}
    return {
        "network": network.variant,
        "model": network.model,
        "licence": network.licence,
        **network.settings,
        **described,
    }


def different_facts(told: dict[str, Any], known: dict[str, Any], *, recorded: bool) -> list[str]:
    """The names of what two files say differently. One without a record says nothing where it has no value."""
    missing = object()
    names = list({**told, **known}) if recorded else [name for name in told if told[name]]
    return [name for name in names if told.get(name, missing) != known.get(name, missing)]
