"""Groups of channels that change places where a setting of the network does: see `ExchangedSetting`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from converters.mapping.settings import settings_text

from .operations.storage import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from converters.mapping.match import Match
    from converters.mapping.names import TensorSlot
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable, NetworkTable

    from .row import Row


class Exchanges(NamedTuple):
    """The lines of a network's table whose outputs (``rows``) and inputs (``columns``) are exchanged channels, each
    with the number of groups that the channels are divided in."""

    rows: Mapping[str, int]
    columns: Mapping[str, int]

    def of(self, slot: TensorSlot, shape: tuple[int, ...]) -> Iterator[Exchange]:
        """The operations on one tensor of the canonical ``shape``, along canonical axes."""
        if slot.key in self.rows:
            yield Exchange(axis=0, size=shape[0] // self.rows[slot.key])
        if slot.key in self.columns and len(shape) > 1:
            yield Exchange(axis=1, size=shape[1] // self.columns[slot.key])


def exchanges(table: NetworkTable, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Exchanges:
    """What is exchanged between weights that go with the settings ``stored`` and those that go with ``wanted``."""
    differing = [
        row for name, row in table.exchanged_settings.items() if stored.get(name) != wanted.get(name)
    ]
    return Exchanges(
        rows={key: stored[row.parts] for row in differing for key in row.rows},
        columns={key: stored[row.parts] for row in differing for key in row.columns},
    )


def exchange_notes(
    rows: Sequence[Row], match: Match, target: LayoutTable, info: NetworkInfo, followed: Mapping[str, Any]
) -> Iterator[str]:
    """What a user must know where the weights follow the target's own settings, ``followed``."""
    names = [name for name in followed if name in match.variant.table.exchanged_settings]
    count = sum(any(isinstance(op, Exchange) for op in row.operations) for row in rows)
    if names and count:
        yield (
            f"{target.owner} networks have {settings_text(followed, names)}, these weights "
            f"{settings_text(info.settings, names)}: two groups of channels were exchanged in {count} tensors, so the "
            "function stays the same"
        )
