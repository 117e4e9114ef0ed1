"""An open file and what it is: the one way from a checkpoint to its network and the facts of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.mapping.match import with_inverse_std, without_head
from converters.mapping.network_info import network_info, require_unambiguous
from converters.record import Record

from .recognize import recognize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo


class UserHints(Record):
    """What a user says of a file that nothing in it may show; None where nothing is said.

    ``variant`` is a network where names and shapes fit several, ``model`` one of the layout's models, ``head`` what the
    file calls the last layer, ``settings`` are values of the network's settings, and ``inverse_std`` says that
    variances are inverse standard deviations.
    """

    variant: str | None = None
    model: str | None = None
    head: str | None = None
    settings: Mapping[str, object] = MappingProxyType({})
    inverse_std: bool = False


class Identified(NamedTuple):
    """An open file with what it is."""

    checkpoint: Checkpoint
    match: Match
    info: NetworkInfo


def identify(
    checkpoint: Checkpoint, layout: str | None, said: UserHints, *, backbone: bool = False
) -> Identified:
    """What an open file is, as ``layout`` or as recognised; with ``backbone`` its head is left aside.

    Raises `Refused` where it is no known network, or one of several and ``said`` does not tell.
    """
    match = recognize(checkpoint, layout, variant=said.variant, head=said.head)
    if said.inverse_std:
        match = with_inverse_std(match)
    if backbone:
        match = without_head(match)
    info = network_info(
        match,
        checkpoint.provenance,
        told=declared_settings(checkpoint),
        asked=said.settings,
        model=said.model,
    )
    return Identified(checkpoint, match, require_unambiguous(info, checkpoint.path))


def declared_settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The network's properties that a file's own graph declares: ``bn_eps``, ``pool1``, ``stem_stride``, those that
    it shows. Raises `Refused` for a Caffe2 net that cannot be understood."""
    if checkpoint.predict_net is None:
        return checkpoint.declared
    from converters.source_graphs.caffe2_predict_net import declared_by

    return declared_by(checkpoint.predict_net, checkpoint.tensors)
