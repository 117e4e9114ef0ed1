"""Check tables, and print what is wrong or a summary: ``python -m converters.mapping.check`` (``make tables``).

Our own are checked, and beside them those in the folders that are named: ``python -m converters.mapping.check DIR``.
"""

from __future__ import annotations

import sys

from .further_tables import only_our_tables, use_tables
from .layout_checks import layout_faults
from .layout_tables import layout_file, load_layout
from .network_checks import network_faults
from .network_tables import parse_network
from .parse import TableError
from .releases import release_errors, releases
from .schema import IDENTITY
from .table_files import layout_names, name_errors, network_names, roots, table_path, table_text
from .variants import variants


def faults(folder: str, name: str) -> list[TableError]:
    """Everything that is wrong with a table, from its TOML."""
    text = table_text(folder, name)
    path = table_path(roots(), folder, name)
    try:
        if folder == "layouts":
            wrong = layout_faults(*layout_file(roots(), name, text))
        else:
            wrong = network_faults(parse_network(roots(), name, text))
        return [fault.at(path, text.decode()) for fault in wrong]
    except TableError as error:
        return [error]


def all_faults() -> list[TableError]:
    """Everything that is wrong with every table."""
    releases()
    errors: list[TableError] = [*name_errors(), *release_errors()]
    for folder, names in (("networks", network_names()), ("layouts", layout_names())):
        for name in names:
            errors += faults(folder, name)
    return errors


def main(folders: list[str]) -> int:
    """Check our tables and those in ``folders``; the exit code is 1 where one is wrong."""
    with only_our_tables(), use_tables(*folders):
        return _check()


def _check() -> int:
    errors = all_faults()
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        return 1
    layouts = [load_layout(name) for name in layout_names()]
    known = [variant for family in network_names() for variant in variants(family)]
    lines = sum(
        1
        for table in layouts
        for names in table.modules.values()
        for lines in (names.common, *names.within.values())
        for name in lines.values()
        if name != IDENTITY
    )
    rows = sum(len(table.supports) + len(table.models) for table in layouts)
    print(
        f"{len(network_names())} networks with {len(known)} variants, {len(layouts)} layouts with "
        f"{lines} names and {rows} rows: all as they should be"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
