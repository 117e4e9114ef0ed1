"""Which keys of an output's dictionaries contain slashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.format import Content


def slash_keys_of(content: Content) -> Sequence[str]:
    """Those of the file that the weights first came from, if it had this layout; else what the layout says."""
    if content.same_layout:
        keys = content.original.get("slash_keys")
        if isinstance(keys, (list, tuple)) and all(isinstance(key, str) for key in keys):
            return [_literal(key) for key in keys]
    return content.slash_keys


def _literal(key: str) -> str:
    """A pattern that matches a key alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in key)
