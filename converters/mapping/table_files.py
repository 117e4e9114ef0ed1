"""The files of the tables under ``mappings/``: their folder, their names and their text."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSTALLED = os.path.join(_PACKAGE, "_tables")

ROOT = _INSTALLED if os.path.isdir(_INSTALLED) else os.path.join(os.path.dirname(_PACKAGE), "mappings")
"""The folder of the tables: in the package if it is installed, beside it in a checkout."""


def network_names() -> list[str]:
    """The families that have a table, sorted."""
    return list(names_in(ROOT, "networks"))


def layout_names() -> list[str]:
    """The layouts that have a table, sorted."""
    return list(names_in(ROOT, "layouts"))


@cache
def names_in(root: str, folder: str) -> tuple[str, ...]:
    """The names of the tables in ``networks`` or ``layouts`` of a folder of tables, sorted."""
    entries = os.listdir(os.path.join(root, folder))
    return tuple(sorted(entry[:-5] for entry in entries if entry.endswith(".toml")))


def table_path(root: str, folder: str, name: str) -> str:
    """A table's file. ``folder`` is ``networks`` or ``layouts``."""
    return os.path.join(root, folder, f"{name}.toml")


def table_text(folder: str, name: str, root: str | None = None) -> bytes:
    """The bytes of a table's file. ``root`` is `ROOT` if none is given."""
    with open(table_path(ROOT if root is None else root, folder, name), "rb") as file:
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
    """The class names in ``mappings/labels/NAME.txt``, in the order of the logits, and the notice of their source and
    licence from its comments."""
    with open(os.path.join(ROOT, "labels", f"{name}.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    notice = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if not line.startswith("#")], notice
