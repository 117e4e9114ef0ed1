"""Find and load the tables under ``mappings/``. Each is read once.

A table is loaded from its compiled form (`compiled`) if that is up to date, else from the TOML.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from converters.errors import UsageError

from .compiled import read_compiled

if TYPE_CHECKING:
    from .parse import Key, TableError
    from .schema import LayoutFile, LayoutTable, Model, NetworkTable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSTALLED = os.path.join(_PACKAGE, "_tables")

ROOT = _INSTALLED if os.path.isdir(_INSTALLED) else os.path.join(os.path.dirname(_PACKAGE), "mappings")
"""The folder of the tables: in the package if it is installed, beside it in a checkout."""


def network_names() -> list[str]:
    """The families that have a table, sorted."""
    return list(_names(ROOT, "networks"))


def layout_names() -> list[str]:
    """The layouts that have a table, sorted."""
    return list(_names(ROOT, "layouts"))


@cache
def _names(root: str, folder: str) -> tuple[str, ...]:
    entries = os.listdir(os.path.join(root, folder))
    return tuple(sorted(entry[:-5] for entry in entries if entry.endswith(".toml")))


def load_network(family: str) -> NetworkTable:
    """A family's network table. Raises `TableError` if it does not follow the grammar."""
    return _network(ROOT, family)


def load_layout(name: str) -> LayoutTable:
    """A layout's table. Raises `TableError` if it does not follow the grammar."""
    return _layout(ROOT, name)


def known_layout(name: str) -> LayoutTable:
    """As `load_layout`, for a name from a user. Raises `UsageError` if there is no such layout."""
    if name not in layout_names():
        from difflib import get_close_matches

        near = get_close_matches(name, layout_names(), 1)
        raise UsageError(
            f"there is no layout {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(layout_names())}",
        )
    return load_layout(name)


def readable_layouts() -> list[LayoutTable]:
    """Every layout table that can be read. A broken table of one layout does not break conversions of others."""
    return list(_readable(ROOT)[0])


def layout_errors() -> tuple[TableError, ...]:
    """The errors of the tables that `readable_layouts` left out; empty if it has not been called."""
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
    """The layout's models that have a name. The canonical layout has those of every layout."""
    tables = readable_layouts() if layout.identity else (layout,)
    named = {row.name: row for table in tables for row in table.models if row.name}
    return tuple(named.values())


def table_text(folder: str, name: str) -> bytes:
    """The bytes of a table's file. ``folder`` is ``networks`` or ``layouts``."""
    return _text(ROOT, folder, name)


def usual_class_counts() -> frozenset[int]:
    """The numbers of classes that classifiers usually have, from ``mappings/datasets.txt``."""
    return _usual_class_counts(ROOT)


@cache
def _usual_class_counts(root: str) -> frozenset[int]:
    with open(os.path.join(root, "datasets.txt"), encoding="utf-8") as file:
        return frozenset(int(line.partition(" ")[0]) for line in file if not line.startswith("#"))


def load_labels(name: str) -> tuple[list[str], str]:
    """The class names in ``mappings/labels/NAME.txt``, in the order of the logits, and the notice of their source and
    licence from its comments."""
    with open(os.path.join(ROOT, "labels", f"{name}.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    notice = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if not line.startswith("#")], notice


def _text(root: str, folder: str, name: str) -> bytes:
    with open(os.path.join(root, folder, f"{name}.toml"), "rb") as file:
        return file.read()


@cache
def _network(root: str, family: str) -> NetworkTable:
    text = _text(root, "networks", family)
    compiled = read_compiled(root, "networks", family, text)
    return compiled if compiled is not None else parse_network(root, family, text)


@cache
def _layout(root: str, name: str) -> LayoutTable:
    text = _text(root, "layouts", name)
    compiled = read_compiled(root, "layouts", name, text)
    return compiled if compiled is not None else parse_layout(root, name, text)


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
    """A layout table from the bytes of its TOML. Raises `TableError`, also for wrong references to other tables."""
    from importlib import import_module

    file, table = layout_file(root, name, text)
    check = import_module(".check", __package__)  # late: `check` imports this module
    for fault in check.layout_faults(file, table):
        raise fault.at(os.path.join(root, "layouts", f"{name}.toml"), text.decode())
    return table


def layout_file(root: str, name: str, text: bytes) -> tuple[LayoutFile, LayoutTable]:
    """A layout's TOML file as parsed, and the table made from it. Raises `TableError`."""
    from .expand import layout_table
    from .parse import Fault, did_you_mean, parse
    from .schema import LayoutFile

    path, raw = _toml(root, "layouts", name, text)

    def load_other(key: Key, other_name: str) -> LayoutTable:
        names = [other for other in _names(root, "layouts") if other != name]
        if other_name not in names:
            raise Fault(key, f"there is no other layout {other_name!r}", did_you_mean(other_name, names))
        try:
            return _layout(root, other_name)
        except RecursionError:
            raise Fault(key, f"{other_name!r} refers back to this table") from None

    try:
        file = parse(LayoutFile, raw)
        return file, layout_table(file, name, load_other)
    except Fault as fault:
        raise fault.at(path, text.decode()) from None


def from_toml(folder: str, name: str) -> tuple[LayoutTable | NetworkTable, list[str]]:
    """A table from its TOML, and the names of the layouts that it takes names or models from. Raises `TableError`."""
    text = table_text(folder, name)
    if folder == "networks":
        return parse_network(ROOT, name, text), []
    file, table = layout_file(ROOT, name, text)
    return table, [*table.naming.taken_from, *([file.models_from] if file.models_from else [])]


def _toml(root: str, folder: str, name: str, text: bytes) -> tuple[str, dict[str, Any]]:
    import tomllib

    from .parse import TableError

    path = os.path.join(root, folder, f"{name}.toml")
    try:
        return path, tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"is not valid TOML: {error}", path=path) from None
