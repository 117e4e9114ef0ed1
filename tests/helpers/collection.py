"""What pytest collects: for tests that look at the suite itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.helpers.paths import REPOSITORY, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import CodeType

ITEMS = pytest.StashKey[list[pytest.Item]]()
"""What this run collected, before anything was deselected."""


class Collected(NamedTuple):
    """A test with one set of parameters. ``file`` is relative to `tests/`."""

    file: str
    function: str
    fast: bool
    parameters: frozenset[str]
    mentions: frozenset[str]

    @property
    def test(self) -> str:
        """The file and the function."""
        return f"{self.file}::{self.function}"


def described(items: Iterable[pytest.Item]) -> list[Collected]:
    """What there is to know of collected tests."""
    return [
        Collected(
            file=item.path.relative_to(TESTS).as_posix(),
            function=item.originalname,
            fast=item.get_closest_marker("full") is None,
            parameters=frozenset(_names(getattr(item, "callspec", None))),
            mentions=frozenset(_mentioned(item.function.__code__)),
        )
        for item in items
        if item.path.is_relative_to(TESTS)
    ]


def complete(tests: Iterable[Collected]) -> bool:
    """Whether every file of tests was collected from."""
    return {test.file for test in tests} >= {
        path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")
    }


def collect_all(folder: Path) -> list[Collected]:
    """Collect the whole suite in a process of its own."""
    record = folder / "collected.json"
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"],
        cwd=REPOSITORY,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "COLLECTED": str(record),
        },
        stdout=subprocess.DEVNULL,
        timeout=500,
        check=True,
    )
    return [
        Collected(
            **{**row, "parameters": frozenset(row["parameters"]), "mentions": frozenset(row["mentions"])}
        )
        for row in json.loads(record.read_text())
    ]


def write(path: str, tests: Iterable[Collected]) -> None:
    """Leave what was collected for `collect_all`."""
    rows = [
        {name: sorted(v) if isinstance(v, frozenset) else v for name, v in t._asdict().items()} for t in tests
    ]
    with open(path, "w", encoding="utf-8") as out:
        json.dump(rows, out)


def _names(callspec: Any) -> Iterator[str]:
    """Parameters as text: of a path the stem, of a variant or a layout the name, also after that of its type."""
    for value in callspec.params.values() if callspec else ():
        if isinstance(value, str | int | float | bool | None):
            yield str(value)
        else:
            name = getattr(value, "stem", getattr(value, "name", getattr(value, "__name__", "")))
            yield str(name)
            yield f"{type(value).__name__} {name}"


def _mentioned(code: CodeType) -> Iterator[str]:
    """Names and short texts in a function and in those that are defined in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str) and len(constant) < 60:
            yield constant
        elif isinstance(constant, tuple):
            yield from (item for item in constant if isinstance(item, str))
        elif hasattr(constant, "co_names"):
            yield from _mentioned(constant)
