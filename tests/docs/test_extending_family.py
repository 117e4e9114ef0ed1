"""The worked example of a new family in docs/extending.md is carried out in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(
    re.findall(
        r"^`((?:mappings|converters)/[^`]*tinynet[^`]*)`:.*?^```\w+[^\n]*\n(.*?)^```$",
        PAGE,
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The packages, tables and scripts, with the example's files."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("converters", "mappings", "scripts"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        (root / path).write_text(text)
    return root


def run(copy: Path, *words: str) -> str:
    """What a Python command in the copy prints. It must end well."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_five_files_and_changes_none() -> None:
    assert len(FILES) == 5
    assert not [path for path in FILES if (REPOSITORY / path).exists()]


def test_the_tables_are_in_order(copy: Path) -> None:
    assert "all as they should be" in run(copy, "-m", "converters.mapping.check")


def test_both_networks_agree_in_every_layout(copy: Path) -> None:
    lines = run(copy, "scripts/check_parity.py", "--only", "tinynet-8").splitlines()
    pairs = [line.split(": ")[0].split(maxsplit=1) for line in lines[:-1]]
    assert pairs == [
        ["ok", "tinynet-caffe2 -> tinynet-pytorch"],
        ["ok", "tinynet-caffe2 -> native"],
    ]
    assert lines[-1] == "all agree"
