"""Folders of tables beside our own: those that a caller names, those of the environment, those of installed packages.

Such a folder has what ``mappings`` has, as far as it needs to: ``networks/``, ``layouts/``, ``labels/`` and
``releases.toml``. Its files are read as data. A package says where its folder is by an entry point of the group
`GROUP`, whose value is the folder's dotted path; the package is found and not imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

TYPE_CHECKING = False  # as in converters.cli.main: nothing here needs typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .parse import TableError

VARIABLE = "VIDEO_CHECKPOINT_TABLES"
"""The environment variable: folders, separated as in ``PATH``."""

GROUP = "video_checkpoint_converters.tables"
"""The group of the entry points."""

PARTS = ("networks", "layouts", "labels", "releases.toml")
"""What a folder of tables has at least one of."""

_used: ContextVar[tuple[str, ...] | None] = ContextVar("further tables", default=None)


def folders() -> tuple[str, ...]:
    """The further folders in use, highest precedence first; without a choice, those of environment and packages."""
    chosen = _used.get()
    return found_folders() if chosen is None else chosen


@contextmanager
def use_tables(*further: str | os.PathLike[str]) -> Iterator[None]:
    """Know the tables in these folders too, within a ``with`` block: ``with use_tables("tables"): load_model(...)``.

    They are known to what the block calls, and to the processes of a batch in it, beside our own tables and those of
    the environment and of installed packages. Raises `UsageError` for a folder that has no tables.
    """
    paths = [os.path.abspath(os.fspath(folder)) for folder in further]
    for path in paths:
        if wrong := _what_is_wrong(path):
            from converters.errors import UsageError

            raise UsageError(wrong, path=path, hint=_HINT)
    token = _used.set(tuple(dict.fromkeys((*paths, *folders()))))
    try:
        yield
    finally:
        _used.reset(token)


@contextmanager
def only_our_tables() -> Iterator[None]:
    """Know no tables but our own, within a ``with`` block: for what is made from them, such as their pages."""
    token = _used.set(())
    try:
        yield
    finally:
        _used.reset(token)


def found_folders() -> tuple[str, ...]:
    """The folders of the environment and of installed packages."""
    return _found(os.environ.get(VARIABLE, ""), tuple(sys.path))[0]


def folder_errors() -> tuple[TableError, ...]:
    """What the environment or a package names that is not a folder of tables. It is passed over."""
    return _found(os.environ.get(VARIABLE, ""), tuple(sys.path))[1]


@cache
def _found(variable: str, search_path: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[TableError, ...]]:
    named = [(os.path.abspath(path), VARIABLE) for path in variable.split(os.pathsep) if path]
    if any(_has_group(folder) for folder in search_path):
        named += _of_packages()
    good, errors = [], []
    for path, by in named:
        if wrong := _what_is_wrong(path):
            from .parse import TableError

            errors.append(TableError(f"{wrong}; it is named by {by}", path=path))
        else:
            good.append(path)
    return tuple(dict.fromkeys(good)), tuple(errors)


_HINT = f"a folder of tables has {', '.join(PARTS[:-1])} or {PARTS[-1]}"


def _what_is_wrong(path: str) -> str:
    """Why a path is not a folder of tables; "" where it is one."""
    if not os.path.isdir(path):
        return "is not a folder of tables: it does not exist"
    if not any(os.path.exists(os.path.join(path, part)) for part in PARTS):
        return "is not a folder of tables: it has none"
    return ""


def _has_group(folder: str) -> bool:
    """Whether an installed package in a folder of ``sys.path`` has an entry point of the group. `importlib.metadata` is
    slow to import, and almost always there is none."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    for name in names:
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                if GROUP.encode() in file.read():
                    return True
        except OSError:
            continue
    return False


def _of_packages() -> Iterable[tuple[str, str]]:
    """The folder that each entry point names, and the package's words for it."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        yield _folder_of(point.value), f"the entry point {point.name} = {point.value!r}"


def _folder_of(dotted: str) -> str:
    """The folder of a dotted path, from its first word's place: to find the inner ones would import the outer."""
    from importlib.util import find_spec

    first, *inner = dotted.strip().split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec else []
    paths = [os.path.join(place, *inner) for place in places]
    return next(filter(os.path.isdir, paths), paths[0] if paths else dotted)
