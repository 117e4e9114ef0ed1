"""Names in Paddle's files."""

from __future__ import annotations

from converters.formats.pickle.strings import encodes


def as_text(name: object) -> str | None:
    """A name, which Python 2 wrote as bytes; None for anything else."""
    if isinstance(name, bytes):
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return name if isinstance(name, str) and encodes(name) else None
