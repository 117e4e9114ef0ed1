"""Which network tables can be used. A broken one breaks only the conversions of its own networks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .network_tables import is_compiled, load_network
from .table_files import homes, roots, table_path, table_text
from .variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .parse import TableError
    from .schema import NetworkTable
    from .table_files import Roots
    from .variants import Variant


def readable_networks(families: Iterable[str]) -> list[str]:
    """The families whose table, and the tables that it composes, can be used."""
    return [family for family in families if _error(roots(), family) is None]


def readable_variants(families: Iterable[str]) -> Iterator[Variant]:
    """Every variant of the families whose tables can be used."""
    for family in readable_networks(families):
        yield from variants(family)


def network_errors() -> tuple[TableError, ...]:
    """The errors of the tables that `readable_networks` has left out so far."""
    return tuple(_errors_so_far(roots()).values())


@cache
def _errors_so_far(roots: Roots) -> dict[str, TableError]:
    """By family; `_error` adds to it."""
    return {}


@cache
def _error(roots: Roots, family: str) -> TableError | None:
    """What is wrong with a family's table, or with one that it composes."""
    try:
        table = load_network(family)
        composed = {side.network for side in table.compose.values()} - {family}
        for other in composed.intersection(homes(roots, "networks")):
            if error := _error(roots, other):
                return error
        if not is_compiled(roots, family):  # the build checks a table before it compiles it
            _check(roots, table)
    except Exception as error:
        from .parse import Fault, TableError

        if isinstance(error, RecursionError):
            text = table_text("networks", family, roots).decode()
            wrong = Fault(("compose",), "composes itself").at(table_path(roots, "networks", family), text)
        elif isinstance(error, TableError):
            wrong = error
        else:
            raise
        _errors_so_far(roots)[family] = wrong
        return wrong
    return None


def _check(roots: Roots, table: NetworkTable) -> None:
    from .network_checks import network_faults

    for fault in network_faults(table):
        text = table_text("networks", table.family, roots).decode()
        raise fault.at(table_path(roots, "networks", table.family), text)
