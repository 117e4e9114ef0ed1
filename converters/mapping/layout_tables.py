"""The layout tables. Each is loaded once: from its compiled form if that is up to date, else from its TOML.

A table that is read from its TOML is checked (`layout_checks`), so that a slip shows at once. The build checks a table
before it is compiled.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from converters.errors import UsageError
from converters.spelling import did_you_mean_or_list

from . import table_files
from .compiled import read_compiled
from .table_files import homes, layout_names, parse_toml, roots, table_path, table_text

if TYPE_CHECKING:
    from .parse import Key, TableError
    from .schema import LayoutFile, LayoutTable, Model
    from .table_files import Roots


def load_layout(name: str) -> LayoutTable:
    """A layout's table. Raises `TableError` if it does not follow the grammar."""
    return _layout(roots(), name)


def known_layout(name: str) -> LayoutTable:
    """As `load_layout`, for a name from a user. Raises `UsageError` if there is no such layout."""
    if name not in layout_names():
        raise UsageError(f"there is no layout {name!r}", hint=did_you_mean_or_list(name, layout_names()))
    return load_layout(name)


def readable_layouts() -> list[LayoutTable]:
    """Every layout table that can be read. A broken table of one layout does not break conversions of others."""
    return list(_readable(roots())[0])


def layout_errors() -> tuple[TableError, ...]:
    """The errors of the tables that `readable_layouts` left out; empty if it has not been called."""
    return _readable(roots())[1] if _readable.cache_info().currsize else ()


@cache
def _readable(roots: Roots) -> tuple[tuple[LayoutTable, ...], tuple[TableError, ...]]:
    tables, errors = [], []
    for name in homes(roots, "layouts"):
        try:
            tables.append(_layout(roots, name))
        except Exception as error:
            from .parse import TableError

            if not isinstance(error, TableError):
                raise
            errors.append(error)
    return tuple(tables), tuple(errors)


def models(layout: LayoutTable) -> tuple[Model, ...]:
    """The layout's models that have a name. The canonical layout has those of every layout."""
    tables = readable_layouts() if layout.identity else (layout,)
    named = {row.name: row for table in tables for row in table.models if row.name}
    return tuple(named.values())


def layout_of_model(layout: LayoutTable, model: Model, variant: str) -> LayoutTable:
    """The layout that one of `models` is a network of, which its settings add to."""
    if not layout.identity:
        return layout
    homes = (
        table
        for table in readable_layouts()
        if model in table.models and not table.support_for(variant).unsupported
    )
    return next(homes, layout)


@cache
def _layout(roots: Roots, name: str) -> LayoutTable:
    text = table_text("layouts", name, roots)
    ours = homes(roots, "layouts").get(name) == table_files.ROOT
    compiled = read_compiled(table_files.ROOT, "layouts", name, text) if ours else None
    return compiled if compiled is not None else _parse_layout(roots, name, text)


def _parse_layout(roots: Roots, name: str, text: bytes) -> LayoutTable:
    """A layout table from the bytes of its TOML. Raises `TableError`, also for wrong references to other tables."""
    from .layout_checks import layout_faults

    file, table = layout_file(roots, name, text)
    for fault in layout_faults(file, table):
        raise fault.at(table_path(roots, "layouts", name), text.decode())
    return table


def layout_file(roots: Roots, name: str, text: bytes) -> tuple[LayoutFile, LayoutTable]:
    """A layout's TOML file as parsed, and the table made from it. Raises `TableError`."""
    from converters.spelling import did_you_mean

    from .expand import layout_table
    from .parse import Fault, parse
    from .schema import LayoutFile

    path = table_path(roots, "layouts", name)

    def load_other(key: Key, other_name: str) -> LayoutTable:
        names = [other for other in homes(roots, "layouts") if other != name]
        if other_name not in names:
            raise Fault(key, f"there is no other layout {other_name!r}", did_you_mean(other_name, names))
        try:
            return _layout(roots, other_name)
        except RecursionError:
            raise Fault(key, f"{other_name!r} refers back to this table") from None

    try:
        file = parse(LayoutFile, parse_toml(path, text))
        return file, layout_table(file, name, load_other)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None
