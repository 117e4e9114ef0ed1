"""What a command is doing, on standard error where that is a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from converters.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import TracebackType

WAIT, PAUSE = 0.3, 0.1
"""Seconds before a line is first drawn, and between two drawings."""


class StatusLine:
    """One line on the terminal, drawn over and over, and removed at the end. Of short work nothing is seen."""

    def __init__(self) -> None:
        self._next = monotonic() + WAIT
        self._drawn = False

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def say(self, text: str) -> None:
        """Draw a text."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        self._drawn = True
        sys.stderr.write(f"\r\x1b[K{printable(text)[: _columns() - 1]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


class ProgressBar(StatusLine):
    """The same with a bar."""

    WIDTH = 30

    def show(self, done: int, total: int) -> None:
        """Draw ``done`` of ``total`` bytes."""
        filled = self.WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        self.say(f"[{bar}] {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")


@contextmanager
def downloads_shown(options: argparse.Namespace) -> Iterator[None]:
    """Draw a bar for each file that a command fetches, where its progress is seen."""
    if not is_shown(options):
        yield
        return
    from converters.remote.download import WATCHER

    bar = ProgressBar()

    def watch(done: int, total: int) -> None:
        bar.show(done, total)
        if done >= total:
            bar.clear()

    token = WATCHER.set(watch)
    try:
        yield
    finally:
        WATCHER.reset(token)
        bar.clear()


def is_shown(options: argparse.Namespace) -> bool:
    """Whether a command's progress is seen: on a terminal, unless told otherwise."""
    return sys.stderr is not None and sys.stderr.isatty() and not (options.quiet or options.json)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
