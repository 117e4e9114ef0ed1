"""What the provenance record of a file asks of its next conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .plan import NOTHING
from .provenance import before, former, home_of, origin_of, undoing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable

    from .identify import Identified
    from .operations.base import Operation
    from .original_file import OriginalFile


class History(NamedTuple):
    """Where a file comes from. A file without a record has an empty history.

    ``undo`` are the operations that restore what an earlier conversion changed, by the file's names, and ``info`` is
    the network as it is then. ``original`` is the file that the chain of conversions began with, if the target has
    its layout. ``home`` is the layout whose network the weights are of, if not the file's.
    """

    undo: Mapping[str, tuple[Operation, ...]]
    info: NetworkInfo
    original: OriginalFile | None
    home: LayoutTable | None


def history_of(
    source: Identified, info: NetworkInfo, target: LayoutTable, *, as_graph: bool, dry_run: bool
) -> History:
    """The history of an identified file on its way to ``target``.

    With ``as_graph`` the output is the source framework's own network. It then has the source's tensors as they are,
    under their own names, as if it were the way back.
    """
    record, tensors = source.checkpoint.provenance, source.checkpoint.tensors
    undo = undoing(record, tensors)
    restored = before(info, record, undo)
    original = former(record, target.name)
    if as_graph and not record:
        own = origin_of(source.match, tensors, NOTHING, restored.bn_eps, {}, None, dry_run=dry_run)
        original = former({"origin": own}, target.name)
    return History(undo=undo, info=restored, original=original, home=home_of(record))
