"""The files of the tables: their folders, their names and their text.

Our own are under ``mappings/``; `further_tables` says where others are. What is kept of tables is kept for the folders
that it came from.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from . import further_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .parse import TableError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSTALLED = os.path.join(_PACKAGE, "_tables")

ROOT = _INSTALLED if os.path.isdir(_INSTALLED) else os.path.join(os.path.dirname(_PACKAGE), "mappings")
"""The folder of our own tables: in the package if it is installed, beside it in a checkout."""

RESERVED = frozenset({"auto", "onnx"})
"""Words that stand where a layout's name does."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)

Roots = tuple[str, ...]
"""Folders of tables. Where two have a table of one name, the first's counts."""


def roots() -> Roots:
    """The folders of tables in use, our own first."""
    return (ROOT, *further_tables.folders())


def network_names() -> list[str]:
    """The families that have a table, sorted."""
    return list(homes(roots(), "networks"))


def layout_names() -> list[str]:
    """The layouts that have a table, sorted."""
    return list(homes(roots(), "layouts"))


def homes(roots: Roots, folder: str) -> Mapping[str, str]:
    """The folder of tables that each table in ``networks`` or ``layouts`` is in, by the tables' names, sorted."""
    return _homes(roots, folder)[0]


def name_errors() -> tuple[TableError, ...]:
    """The tables that are passed over, as another has their name or as none may have it."""
    return tuple(error for folder in ("networks", "layouts") for error in _homes(roots(), folder)[1])


@cache
def _homes(roots: Roots, folder: str) -> tuple[Mapping[str, str], tuple[TableError, ...]]:
    found: dict[str, str] = {}
    errors = []
    for root in roots:
        for name in _names_in(root, folder):
            if wrong := _wrong_name(name, found.get(name)):
                from .parse import TableError

                errors.append(TableError(wrong, path=_path(root, folder, name), hint="rename it"))
            else:
                found[name] = root
    return dict(sorted(found.items())), tuple(errors)


def _wrong_name(name: str, taken: str | None) -> str:
    """Why a table is passed over for its name; "" where it is not."""
    if taken is not None:
        return f"is passed over: {'we have' if taken == ROOT else f'{taken} has'} a table of that name"
    if name in RESERVED or not _NAME.fullmatch(name):
        return "is passed over: no table may have that name"
    return ""


@cache
def _names_in(root: str, folder: str) -> tuple[str, ...]:
    try:
        entries = os.listdir(os.path.join(root, folder))
    except OSError:
        if root == ROOT:
            raise
        return ()
    return tuple(sorted(entry[:-5] for entry in entries if entry.endswith(".toml")))


def table_path(roots: Roots, folder: str, name: str) -> str:
    """A table's file. ``folder`` is ``networks`` or ``layouts``."""
    return _path(homes(roots, folder).get(name, roots[0]), folder, name)


def _path(root: str, folder: str, name: str) -> str:
    return os.path.join(root, folder, f"{name}.toml")


def table_text(folder: str, name: str, of: Roots | None = None) -> bytes:
    """The bytes of a table's file, in the folders ``of`` or in those in use."""
    with open(table_path(roots() if of is None else of, folder, name), "rb") as file:
        return file.read()


def parse_toml(path: str, text: bytes) -> dict[str, Any]:
    """A TOML file's content. Raises `TableError` if it is not valid TOML."""
    import tomllib

    from .parse import TableError

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"is not valid TOML: {error}", path=path) from None


def usual_class_counts() -> frozenset[int]:
    """The numbers of classes that classifiers usually have, from ``mappings/datasets.txt``."""
    return _usual_class_counts(ROOT)


@cache
def _usual_class_counts(root: str) -> frozenset[int]:
    with open(os.path.join(root, "datasets.txt"), encoding="utf-8") as file:
        return frozenset(int(line.partition(" ")[0]) for line in file if not line.startswith("#"))


def load_labels(name: str) -> tuple[list[str], str]:
    """The class names in ``labels/NAME.txt``, in the order of the logits, and the notice of their source and licence
    from its comments."""
    with open(labels_path(name), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    notice = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if not line.startswith("#")], notice


def labels_path(name: str) -> str:
    """The file of class names of that name: the first of the folders' that there is."""
    paths = [os.path.join(root, "labels", f"{name}.txt") for root in roots()]
    return next(filter(os.path.isfile, paths), paths[0])
