"""The compiled form of the tables."""

from __future__ import annotations

from typing import Any


def read_compiled(root: str, sort: str, name: str, texts: tuple[bytes, ...]) -> Any:
    """A table from its compiled form, None where there is none of it."""
    return None
