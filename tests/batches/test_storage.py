"""Patterns of local files."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

import pytest

from converters.batches.storage import matches

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a.pth", "in/b.pth", "in/deep/c.pth", "in/deep/d.pkl", ".hidden/e.pth", "in/.f.pth", "[x]/g.pth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "pattern", ["*.pth", "**/*.pth", "in/**/*.p*", "**/deep/*", "**/**/c.pth", "*/**/*.pth", "**/in/**/d.pkl"]
)
def test_a_pattern_matches_what_it_does_elsewhere(pattern: str, folder: Path) -> None:
    wanted = glob.glob(f"{glob.escape(str(folder))}/{pattern}", recursive=True)
    assert wanted
    assert matches(pattern, str(folder)) == sorted(set(wanted))


def test_everything_below_a_folder(folder: Path) -> None:
    below = ("in/b.pth", "in/deep", "in/deep/c.pth", "in/deep/d.pkl")
    assert matches("in/**", str(folder)) == [str(folder / name) for name in below]


@pytest.mark.parametrize("target", [".", "..", "in"])
def test_links_that_lead_back_are_not_followed(target: str, folder: Path) -> None:
    """Five links in one folder: through them there are 5 ** 40 ways."""
    for number in range(5):
        (folder / "in" / f"link{number}").symlink_to(folder / "in" / target, target_is_directory=True)
    wanted = [str(folder / name) for name in ("[x]/g.pth", "a.pth", "in/b.pth", "in/deep/c.pth")]
    assert matches("**/*.pth", str(folder)) == wanted
