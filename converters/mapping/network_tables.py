"""The network tables. Each is loaded once: from its compiled form if that is up to date, else from its TOML."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from . import table_files
from .compiled import read_compiled
from .table_files import homes, parse_toml, roots, table_path, table_text

if TYPE_CHECKING:
    from .schema import NetworkTable
    from .table_files import Roots


def load_network(family: str) -> NetworkTable:
    """A family's network table. Raises `TableError` if it does not follow the grammar."""
    return _network(roots(), family)


def is_compiled(roots: Roots, family: str) -> bool:
    """Whether a family's table has a compiled form that is up to date. Only tables without faults are compiled."""
    return _compiled(roots, family) is not None


@cache
def _compiled(roots: Roots, family: str) -> NetworkTable | None:
    if homes(roots, "networks").get(family) != table_files.ROOT:
        return None
    text = table_text("networks", family, roots)
    table: NetworkTable | None = read_compiled(table_files.ROOT, "networks", family, text)
    return table


@cache
def _network(roots: Roots, family: str) -> NetworkTable:
    compiled = _compiled(roots, family)
    if compiled is not None:
        return compiled
    return parse_network(roots, family, table_text("networks", family, roots))


def parse_network(roots: Roots, family: str, text: bytes) -> NetworkTable:
    """A network table from the bytes of its TOML file. Raises `TableError`."""
    from .expand import network_table
    from .parse import Fault, parse
    from .schema import NetworkFile

    path = table_path(roots, "networks", family)
    try:
        return network_table(parse(NetworkFile, parse_toml(path, text)), family)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None
