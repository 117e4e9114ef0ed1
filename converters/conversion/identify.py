"""Identify an open file: which layout's names it has, which network it holds and with which settings."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.mapping.match import with_inverse_std, without_head
from converters.mapping.network_info import network_info, require_unambiguous
from converters.record import Record

from .recognize import recognize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.formats.graph import Node
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo


class UserHints(Record):
    """What a user knows of a file that the file itself may not show. None leaves it to the file.

    ``variant`` is a network where names and shapes fit several, ``model`` one of the layout's models, ``head`` what the
    file calls the last layer, ``drop`` are patterns of names to leave out, ``settings`` are values of the network's
    settings, and ``inverse_std`` says that variances are inverse standard deviations.
    """

    variant: str | None = None
    model: str | None = None
    head: str | None = None
    drop: Sequence[str] = ()
    settings: Mapping[str, object] = MappingProxyType({})
    inverse_std: bool = False


class Identified(NamedTuple):
    """An open file, its match and its network."""

    checkpoint: Checkpoint
    match: Match
    info: NetworkInfo


def identify(
    checkpoint: Checkpoint, layout: str | None, hints: UserHints, *, backbone: bool = False
) -> Identified:
    """Identify an open file as ``layout``, or as the layout it is recognised as. ``backbone`` leaves its head out.

    Raises `Refused` if it is not a known network, or if several fit and ``hints`` do not choose one.
    """
    match = recognize(checkpoint, layout, variant=hints.variant, head=hints.head, drop=hints.drop)
    if hints.inverse_std:
        match = with_inverse_std(match)
    if backbone:
        match = without_head(match)
    _refuse_different_eps(checkpoint)
    info = network_info(
        match,
        checkpoint.provenance,
        declared=declared_settings(checkpoint),
        requested=hints.settings,
        model=hints.model,
    )
    return Identified(checkpoint, match, require_unambiguous(info, checkpoint.path))


def _refuse_different_eps(checkpoint: Checkpoint) -> None:
    """Raise `Refused` for a graph whose batch norms differ in eps."""
    if not checkpoint.nodes and checkpoint.predict_net is None:
        return
    from converters.formats.onnx.graph_settings import refuse_different_eps

    nodes: Sequence[Node] = checkpoint.nodes
    if checkpoint.predict_net is not None:
        from converters.source_graphs.caffe2_predict_net import nodes_of

        nodes = nodes_of(checkpoint.predict_net, checkpoint.tensors)
    refuse_different_eps(nodes, checkpoint.path)


def declared_settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The settings that a file's own graph declares, such as ``bn_eps``, ``pool1`` and ``stem_stride``. Raises
    `Refused` for a Caffe2 net that cannot be understood."""
    if checkpoint.predict_net is None:
        return checkpoint.declared
    from converters.source_graphs.caffe2_predict_net import declared_by

    return declared_by(checkpoint.predict_net, checkpoint.tensors, checkpoint.path)
