"""A progress bar for one conversion."""

from __future__ import annotations

import sys
from time import monotonic


class ProgressBar:
    """Draws the bytes done on standard error, at most ten times a second, and only for work of over 0.3 s."""

    WIDTH = 30

    def __init__(self) -> None:
        self._next = monotonic() + 0.3
        self._drawn = False

    def show(self, done: int, total: int) -> None:
        """Draw ``done`` of ``total`` bytes."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + 0.1
        self._drawn = True
        filled = self.WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        sys.stderr.write(f"\r[{bar}] {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
