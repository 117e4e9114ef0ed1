"""``--tables DIR``, an option of every verb. It decides which words are layouts, so it is read before all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import UsageError
from converters.mapping.further_tables import use_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FLAG = "--tables"


def tables_named(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folders that a command line names, and its other words."""
    folders: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            others += [word, *words]
        elif word.startswith(f"{FLAG}="):
            folders.append(word.partition("=")[2])
        elif word == FLAG:
            folder = next(words, "")
            if not folder or folder.startswith("-"):
                raise UsageError(f"{FLAG} names no folder", hint=f"such as {FLAG} my-tables")
            folders.append(folder)
        else:
            others.append(word)
    return folders, others


def with_tables(folders: Sequence[str], run: Callable[[], int]) -> int:
    """What ``run`` returns, which knows the tables in these folders."""
    with use_tables(*folders):
        return run()
