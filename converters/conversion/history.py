"""A file's earlier conversions, from its provenance record, as far as the next conversion needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .plan import NOTHING
from .provenance import (
    describe_origin,
    find_origin_layout,
    info_after_undo,
    read_original,
    refuse_foreign_steps,
    undo_operations,
)
from .row import Undo

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable

    from .identify import Identified
    from .original_file import OriginalFile


class History(NamedTuple):
    """Where a file comes from. A file without a record has an empty history.

    ``undo`` restores what an earlier conversion changed, and ``info`` is the network as it is then. ``original`` is the
    file that the chain of conversions began with, if the target has its layout. ``origin_layout`` is the layout whose
    network the weights are of, if not the file's.
    """

    undo: Undo
    info: NetworkInfo
    original: OriginalFile | None
    origin_layout: LayoutTable | None


def history_of(
    source: Identified, info: NetworkInfo, target: LayoutTable, *, as_graph: bool, dry_run: bool
) -> History:
    """The history of an identified file on its way to ``target``.

    With ``as_graph`` the output is the source framework's own network. It then has the source's tensors as they are,
    under their own names, as if it were the way back.
    """
    record, tensors = source.checkpoint.provenance, source.checkpoint.tensors
    refuse_foreign_steps(source.match, record)
    undo = undo_operations(record, tensors)
    restored = info_after_undo(info, record, undo)
    original = read_original(record, target.name)
    if as_graph and not record:
        own = describe_origin(source.match, tensors, NOTHING, restored.bn_eps, {}, None, dry_run=dry_run)
        original = read_original({"origin": own}, target.name)
    before = Undo(undo, info.settings)
    if as_graph and original:
        original = original.replace(once=True)
    return History(undo=before, info=restored, original=original, origin_layout=find_origin_layout(record))
