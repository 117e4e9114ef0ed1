"""Write the compiled form of our tables: ``python -m converters.mapping.compile``. The package's build runs it."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from . import table_files
from .check import faults
from .compiled import FOLDER, as_data, compiled_path, table_key
from .further_tables import only_our_tables
from .layout_tables import layout_file
from .network_tables import parse_network
from .table_files import layout_names, network_names, roots, table_text

if TYPE_CHECKING:
    from .schema import LayoutTable, NetworkTable


def write_compiled() -> int:
    """Write the compiled form of our tables; returns how many there are. Raises `TableError` for one that is wrong."""
    root = table_files.ROOT
    os.makedirs(os.path.join(root, FOLDER), exist_ok=True)
    written = 0
    for folder, names in (("networks", network_names()), ("layouts", layout_names())):
        for name in names:
            for error in faults(folder, name):
                raise error
            table, reads = from_toml(folder, name)
            key = table_key(root, folder, table_text(folder, name), reads)
            with open(compiled_path(root, folder, name), "w", encoding="utf-8") as file:
                json.dump({"key": key, "reads": reads, "table": as_data(table)}, file, separators=(",", ":"))
            written += 1
    return written


def from_toml(folder: str, name: str) -> tuple[LayoutTable | NetworkTable, list[str]]:
    """A table from its TOML, and the names of the layouts that it takes names or models from. Raises `TableError`."""
    text = table_text(folder, name)
    if folder == "networks":
        return parse_network(roots(), name, text), []
    file, table = layout_file(roots(), name, text)
    return table, [*table.naming.taken_from, *([file.models_from] if file.models_from else [])]


def main() -> int:
    """Compile the tables."""
    with only_our_tables():
        print(f"{write_compiled()} tables compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
