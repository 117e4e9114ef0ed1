"""Where the tables are, which there are, and each of them, read once.

A table comes from its compiled form (`compiled`) where that is of the file as it stands, else from the TOML itself.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from .compiled import read_compiled

if TYPE_CHECKING:
    from .parse import Key, TableError
    from .schema import LayoutFile, LayoutTable, Model, NetworkTable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSTALLED = os.path.join(_PACKAGE, "_tables")

ROOT = _INSTALLED if os.path.isdir(_INSTALLED) else os.path.join(os.path.dirname(_PACKAGE), "mappings")
"""The folder of the tables: inside an installed package, beside it in a checkout."""


def network_names() -> list[str]:
    """The families that have a table, sorted."""
    return list(_names(ROOT, "networks"))


def layout_names() -> list[str]:
    """The layouts that have a table, sorted."""
    return list(_names(ROOT, "layouts"))


@cache
def _names(root: str, sort: str) -> tuple[str, ...]:
    entries = os.listdir(os.path.join(root, sort))
    return tuple(sorted(entry[:-5] for entry in entries if entry.endswith(".toml")))


def load_network(family: str) -> NetworkTable:
    """One network table. Raises `TableError` where it does not follow the grammar."""
    return _network(ROOT, family)


def load_layout(name: str) -> LayoutTable:
    """One layout table. Raises `TableError` where it does not follow the grammar."""
    return _layout(ROOT, name)


def readable_layouts() -> list[LayoutTable]:
    """Every layout table but those that cannot be read (`passed_over`): one project's table that is wrong
    breaks no conversion of the others'."""
    return list(_readable(ROOT)[0])


def passed_over() -> tuple[TableError, ...]:
    """What is wrong with the tables that `readable_layouts` has left out, if it has been asked."""
    return _readable(ROOT)[1] if _readable.cache_info().currsize else ()


@cache
def _readable(root: str) -> tuple[tuple[LayoutTable, ...], tuple[TableError, ...]]:
    tables, errors = [], []
    for name in _names(root, "layouts"):
        try:
            tables.append(_layout(root, name))
        except Exception as error:
            from .parse import TableError

            if not isinstance(error, TableError):
                raise
            errors.append(error)
    return tuple(tables), tuple(errors)


def models(layout: LayoutTable) -> tuple[Model, ...]:
    """The layout's models that have a name to ask for; for the canonical names those of every layout."""
    tables = readable_layouts() if layout.identity else (layout,)
    named = {row.name: row for table in tables for row in table.models if row.name}
    return tuple(named.values())


def table_text(sort: str, name: str) -> bytes:
    """The bytes of a table's file. ``sort`` is ``networks`` or ``layouts``."""
    return _text(ROOT, sort, name)


def load_labels(name: str) -> tuple[list[str], str]:
    """The class names in the file ``mappings/labels/NAME.txt``, in the order of the logits, and the notice of
    their source and licence in its comments."""
    with open(os.path.join(ROOT, "labels", f"{name}.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    notice = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if not line.startswith("#")], notice


def _text(root: str, sort: str, name: str) -> bytes:
    with open(os.path.join(root, sort, f"{name}.toml"), "rb") as file:
        return file.read()


@cache
def _network(root: str, family: str) -> NetworkTable:
    text = _text(root, "networks", family)
    found = read_compiled(root, "networks", family, text)
    return found if found is not None else parse_network(root, family, text)


@cache
def _layout(root: str, name: str) -> LayoutTable:
    text = _text(root, "layouts", name)
    found = read_compiled(root, "layouts", name, text)
    return found if found is not None else parse_layout(root, name, text)


def parse_network(root: str, family: str, text: bytes) -> NetworkTable:
    """A network table from the bytes of its TOML file. Raises `TableError`."""
    from .expand import network_table
    from .parse import Fault, parse
    from .schema import NetworkFile

    path, raw = _toml(root, "networks", family, text)
    try:
        return network_table(parse(NetworkFile, raw), family)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None


def parse_layout(root: str, name: str, text: bytes) -> LayoutTable:
    """A layout table from the bytes of its TOML file. Raises `TableError`, also for what it says wrongly of others."""
    from importlib import import_module

    file, table = layout_file(root, name, text)
    check = import_module(".check", __package__)  # which needs the tables, and so this module
    for fault in check.layout_faults(file, table):
        raise fault.at(os.path.join(root, "layouts", f"{name}.toml"), text.decode())
    return table


def layout_file(root: str, name: str, text: bytes) -> tuple[LayoutFile, LayoutTable]:
    """What a layout's TOML file says, and the table that it makes. Raises `TableError`."""
    from .expand import layout_table
    from .parse import Fault, did_you_mean, parse
    from .schema import LayoutFile

    path, raw = _toml(root, "layouts", name, text)

    def other(key: Key, wanted: str) -> LayoutTable:
        names = [other for other in _names(root, "layouts") if other != name]
        if wanted not in names:
            raise Fault(key, f"there is no other layout {wanted!r}", did_you_mean(wanted, names))
        try:
            return _layout(root, wanted)
        except RecursionError:
            raise Fault(key, f"{wanted!r} refers to this table in its turn") from None

    try:
        file = parse(LayoutFile, raw)
        return file, layout_table(file, name, other)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None


def from_toml(sort: str, name: str) -> tuple[LayoutTable | NetworkTable, list[str]]:
    """A table from its TOML, and the other layouts that it takes something from. Raises `TableError`."""
    text = table_text(sort, name)
    if sort == "networks":
        return parse_network(ROOT, name, text), []
    file, table = layout_file(ROOT, name, text)
    return table, [*table.naming.taken_from, *([file.models_from] if file.models_from else [])]


def _toml(root: str, sort: str, name: str, text: bytes) -> tuple[str, dict[str, Any]]:
    import tomllib

    from .parse import TableError

    path = os.path.join(root, sort, f"{name}.toml")
    try:
        return path, tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"is not valid TOML: {error}", path=path) from None
