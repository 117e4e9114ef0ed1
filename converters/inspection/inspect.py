"""Say what a checkpoint file is, without reading its tensors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.recognize import namesakes, recognize
from converters.errors import Refused
from converters.formats.checkpoint import open_checkpoint
from converters.mapping.network_info import network_info
from converters.mapping.variants import multiply_adds, parameters, weights
from converters.tensor import FLOATS

from .support_table import holding_layouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.conversion.by_user_mapping import Matched
    from converters.conversion.tensor_stats import Statistics
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.tensor import Tensor


class Inspection(NamedTuple):
    """What a file is. ``network`` is None where no layout fits, and ``unknown`` then says why.

    ``parameters`` counts weights and biases, ``multiply_adds`` the operations for the clip the network was
    made for, and ``counted`` those at the size its authors count at; ``weights`` leaves norms and biases out.
    ``layouts`` are the targets that can hold the network, with a note or a reason each. ``statistics`` are
    there only on request. ``unseen`` is what nothing in such files shows and a user must say.
    ``mapping`` is how the file agrees with a mapping, where one was named.
    """

    path: str
    container: str
    size: int
    layout: str
    layout_title: str
    network: NetworkInfo | None
    unknown: str
    parameters: int
    weights: int
    multiply_adds: int
    counted: int
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    dropped: tuple[str, ...]
    others: tuple[str, ...]
    layouts: Mapping[str, str]
    refusing: Mapping[str, str]
    provenance: Mapping[str, Any] | None
    statistics: Mapping[str, Statistics]
    unseen: str = ""
    mapping: Matched | None = None

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            **self._asdict(),
            "network": self.network.as_data() if self.network else None,
            "statistics": {name: one._asdict() for name, one in self.statistics.items()},
            "mapping": self.mapping.as_data() if self.mapping else None,
        }


def inspect(
    path: str | os.PathLike[str],
    *,
    layout: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    stats: bool = False,
    mapping: str | os.PathLike[str] | None = None,
) -> Inspection:
    """What a checkpoint file is: container, network, tensors, preprocessing, provenance.

    ``entry`` is the path of a state dict in a PyTorch file, where not the plain weights are meant, ``head`` what the
    file calls the last layer where that is not the layout's name. Only ``stats`` reads the tensors themselves, to
    report ranges, NaN and Inf. ``mapping`` is a mapping file of the user's own that the file is held against, on the
    side that fits better. Raises `BadInput` for a file that is no checkpoint.
    """
    own = None
    if mapping is not None:
        from converters.mapping.user_mapping import load_mapping

        own = load_mapping(os.fspath(mapping))
    with open_checkpoint(os.fspath(path), entry=entry) as checkpoint:
        try:
            fitted, unknown = recognize(checkpoint, layout, head=head, ask=False), ""
        except Refused as error:
            fitted, unknown = None, error.what
        found = _inspection(checkpoint, fitted, unknown, stats=stats)
        if fitted is not None and layout is None and (others := namesakes(checkpoint, fitted)):
            said = f"{found.layout_title}; or {', '.join(others)}, whose networks compute something else"
            found = found._replace(layout_title=said)
        if own is None:
            return found
        from converters.conversion.by_user_mapping import match_either

        return found._replace(mapping=match_either(own, checkpoint.tensors, checkpoint.others))


def _inspection(checkpoint: Checkpoint, fitted: Match | None, unknown: str, *, stats: bool) -> Inspection:
    info = None
    trained = held = operations = counted = 0
    layouts: dict[str, str] = {}
    refusing: dict[str, str] = {}
    if fitted is not None:
        info = network_info(fitted, checkpoint.provenance, told=checkpoint.told)
        trained = parameters(fitted.variant, fitted.sizes, fitted.present)
        held = weights(fitted.variant, fitted.sizes)
        operations, counted = _costs(fitted, info)
        layouts, refusing = holding_layouts(fitted.variant)
    values: dict[str, Statistics] = {}
    if stats:
        from converters.conversion.tensor_stats import statistics

        values = {name: statistics(one) for name, one in checkpoint.tensors.items() if one.dtype in FLOATS}
    return Inspection(
        path=checkpoint.path,
        container=checkpoint.container,
        size=checkpoint.size,
        layout=fitted.layout.name if fitted else "",
        layout_title=fitted.layout.title if fitted else "",
        network=info,
        unknown=unknown,
        parameters=trained,
        weights=held,
        multiply_adds=operations,
        counted=counted,
        tensors=tuple((name, one.dtype, one.shape) for name, one in _in_order(checkpoint, fitted)),
        dropped=fitted.dropped if fitted else (),
        others=tuple(checkpoint.others),
        layouts=layouts,
        refusing=refusing,
        provenance=checkpoint.provenance,
        statistics=values,
        unseen=fitted.layout.storage.inverse_std if fitted else "",
    )


def _in_order(checkpoint: Checkpoint, fitted: Match | None) -> list[tuple[str, Tensor]]:
    """The file's tensors, a known network's in the order of its modules."""
    tensors = checkpoint.tensors
    if fitted is None:
        return list(tensors.items())
    known = [fitted.prefix + entry.name for entry in fitted.slots if entry.name]
    rest = [name for name in tensors if name not in set(known)]
    return [(name, tensors[name]) for name in (*known, *rest)]


def _costs(fitted: Match, info: NetworkInfo) -> tuple[int, int]:
    """Multiply-adds for the clip the network was made for, and as its authors count; 0 where no clip is known."""
    if not info.input.get("clip"):
        return 0, 0

    def at(clip: list[int], positions: int) -> int:
        return multiply_adds(
            fitted.variant,
            fitted.sizes,
            tuple(clip),
            pool1=info.pool1,
            stem_stride=info.stem_stride,
            head_positions=positions,
            choices=info.settings,
        )

    return at(info.input["clip"], 1), at(info.input["counted_at"], info.input["counted_positions"])
