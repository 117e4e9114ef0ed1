"""Write the compiled form of every table: ``python -m converters.mapping.compile``. The build of the package does."""

from __future__ import annotations

import json
import os
import sys

from . import catalog
from .check import faults
from .compiled import FOLDER, as_data, compiled_path, table_key


def write_compiled() -> int:
    """Write the compiled form of every table; returns how many there are. Raises `TableError` for one that is wrong."""
    root = catalog.ROOT
    os.makedirs(os.path.join(root, FOLDER), exist_ok=True)
    written = 0
    for sort, names in (("networks", catalog.network_names()), ("layouts", catalog.layout_names())):
        for name in names:
            for error in faults(sort, name):
                raise error
            table, reads = catalog.from_toml(sort, name)
            key = table_key(root, sort, catalog.table_text(sort, name), reads)
            with open(compiled_path(root, sort, name), "w", encoding="utf-8") as file:
                json.dump({"key": key, "reads": reads, "table": as_data(table)}, file, separators=(",", ":"))
            written += 1
    return written


def main() -> int:
    """Compile the tables."""
    print(f"{write_compiled()} tables compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
