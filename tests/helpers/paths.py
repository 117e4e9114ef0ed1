"""Folders of the checkout."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
GOLDENS = TESTS / "goldens"
FIXTURES = TESTS / "fixtures"
DATA = TESTS / "data"
