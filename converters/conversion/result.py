"""What a conversion did."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.mapping.network_info import NetworkInfo


class Result(Record):
    """What a conversion did.

    ``rows`` say which tensor became which, ``dropped`` which tensors were left out, ``notes`` what a user of the output
    must know, ``timings`` how many seconds each step took. ``output`` is None for a dry run. ``checked`` says that
    every tensor was read back and compared. ``info`` is None for a conversion by a mapping file, which knows names but
    no network.
    """

    source: str
    output: str | None
    info: NetworkInfo | None
    layout: str
    target: str
    rows: tuple[Any, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = MappingProxyType({})
    nbytes: int = 0
    timings: Mapping[str, float] = MappingProxyType({})
    checked: bool = False

    def as_data(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return {
            "source": self.source,
            "output": self.output,
            "layout": self.layout,
            "target": self.target,
            "network": self.info.as_data() if self.info else None,
            "tensors": len(self.rows),
            "bytes": self.nbytes,
            "rows": [
                {
                    "source": row.source,
                    "target": row.target,
                    "dtype": row.dtype,
                    "shape": list(row.shape),
                    "operations": [op.describe() for op in row.operations],
                }
                for row in self.rows
            ],
            "dropped": list(self.dropped),
            "notes": list(self.notes),
            "checked": self.checked,
            "timings": dict(self.timings),
        }
