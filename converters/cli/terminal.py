"""What the terminal is: its width, and whether it shows colours."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # not imported from typing, which `--version` could not afford
if TYPE_CHECKING:
    from typing import TextIO

PIPED = 79
"""Columns of what is not printed on a terminal."""

NARROWEST, WIDEST = 40, 100

RED, CYAN, BOLD = "1;31", "36", "1"
"""Styles, as codes of the terminal."""


def width(stream: TextIO | None) -> int:
    """The columns that a text on a stream may take: the terminal's (or ``COLUMNS``), within reason."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            columns = os.get_terminal_size(stream.fileno()).columns if stream is not None else PIPED
        except (OSError, ValueError):
            columns = PIPED
    return max(NARROWEST, min(columns, WIDEST)) if columns > 0 else PIPED


def has_colour(stream: TextIO | None) -> bool:
    """Whether a stream gets colours: a terminal does, ``NO_COLOR`` and ``FORCE_COLOR`` decide for any."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None) -> str:
    """A text in a style, where the stream gets colours."""
    return f"\x1b[{style}m{text}\x1b[0m" if has_colour(stream) else text
