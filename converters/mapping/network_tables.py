"""The network tables. Each is loaded once: from its compiled form if that is up to date, else from its TOML."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from . import table_files
from .compiled import read_compiled
from .table_files import parse_toml, table_path, table_text

if TYPE_CHECKING:
    from .schema import NetworkTable


def load_network(family: str) -> NetworkTable:
    """A family's network table. Raises `TableError` if it does not follow the grammar."""
    return _network(table_files.ROOT, family)


def is_compiled(root: str, family: str) -> bool:
    """Whether a family's table has a compiled form that is up to date. Only tables without faults are compiled."""
    return _compiled(root, family) is not None


@cache
def _compiled(root: str, family: str) -> NetworkTable | None:
    table: NetworkTable | None = read_compiled(root, "networks", family, table_text("networks", family, root))
    return table


@cache
def _network(root: str, family: str) -> NetworkTable:
    compiled = _compiled(root, family)
    return (
        compiled
        if compiled is not None
        else parse_network(root, family, table_text("networks", family, root))
    )


def parse_network(root: str, family: str, text: bytes) -> NetworkTable:
    """A network table from the bytes of its TOML file. Raises `TableError`."""
    from .expand import network_table
    from .parse import Fault, parse
    from .schema import NetworkFile

    path = table_path(root, "networks", family)
    try:
        return network_table(parse(NetworkFile, parse_toml(path, text)), family)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None
