"""How a batch goes, for people: a display that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from converters.printable import printable
from converters.reports.wording import human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pool import Event
    from .tasks import Task


class Lines:
    """One line for every row that ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._ended = 0

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """See `Watch.begin`."""
        self._total = len(tasks)

    def event(self, event: Event) -> None:
        """See `Watch.event`."""
        if event.kind == "result":
            self._ended += 1
            print(line_of(event.told, self._ended, self._total), file=self._out, flush=True)

    def end(self) -> None:
        """See `Watch.end`."""


class Display:
    """A line for each conversion at work and one for all, redrawn in place; rows that failed stay above."""

    BAR = 24
    REFRESH = 0.1

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._sizes: dict[str, int] = {}
        self._active: dict[str, tuple[int, int]] = {}
        self._moved: dict[str, int] = {}
        self._ended = self._total = self._bytes = 0
        self._drawn = 0
        self._started = self._due = monotonic()

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """See `Watch.begin`."""
        self._sizes = {task.name: size for task, size in zip(tasks, sizes, strict=True)}
        self._total = len(tasks)

    def event(self, event: Event) -> None:
        """See `Watch.event`."""
        name = event.order["name"] if event.order else ""
        if event.kind == "started":
            self._active[name] = (0, 0)
        elif event.kind == "progress":
            self._active[name] = (event.told[0], event.told[1])
            self._moved[name] = event.told[0]
        elif event.kind == "result":
            self._active.pop(name, None)
            self._ended += 1
            self._bytes += self._sizes.get(name, 0)
            if event.told["state"] == "failed":
                self._clear()
                print(line_of(event.told, self._ended, self._total), file=self._out)
        if event.kind == "started" or monotonic() >= self._due:  # every row is seen, however quick
            self._due = monotonic() + self.REFRESH
            self._draw()

    def end(self) -> None:
        """See `Watch.end`."""
        self._clear()
        self._out.flush()

    def lines(self, width: int) -> list[str]:
        """What is shown now, each line shorter than ``width``."""
        lines = [
            f"{self._bar(*moved)} {_short(name, width - self.BAR - 4)}"
            for name, moved in self._active.items()
        ]
        known = sum(self._sizes.values())
        part = sum(
            self._sizes.get(name, 0) * done / whole for name, (done, whole) in self._active.items() if whole
        )
        done = self._bytes + int(part)
        if known:
            size = f"{human_size(done)} of {human_size(known)}"
        else:  # all are remote: what is left is told by the rows
            size = human_size(sum(self._moved.values()))
            done, known = self._ended, self._total
        elapsed = monotonic() - self._started
        left = f", {_clock(elapsed * (known - done) / done)} left" if 0 < done < known else ""
        total = f"{self._ended} of {self._total} rows, {size}{left}"
        return [*lines, f"{self._bar(done, known)} {_short(total, width - self.BAR - 4)}"]

    def _bar(self, done: int, whole: int) -> str:
        filled = self.BAR * min(done, whole) // max(whole, 1)
        return f"[{'#' * filled}{'.' * (self.BAR - filled)}]"

    def _draw(self) -> None:
        from shutil import get_terminal_size

        self._clear()
        lines = self.lines(get_terminal_size().columns)
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def _clear(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0


def watch_on(out: TextIO | None = None) -> Lines | Display:
    """What suits a stream, standard error if none is given."""
    stream = out or sys.stderr
    return Display(stream) if stream.isatty() else Lines(stream)


def line_of(row: dict[str, Any], number: int, total: int) -> str:
    """A row that ended, in one line."""
    what = row["error"]["text"] if row["state"] == "failed" else row.get("network", "")
    size = f", {human_size(row['bytes'])}" if "bytes" in row else ""
    name = "" if row["state"] == "failed" and row["task"] in what else f"{row['task']}: "
    return printable(
        f"[{number:>{len(str(total))}}/{total}] {row['state']:<9} {name}{what}{size}, {row['seconds']:.2f} s"
    )


def _short(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else "..." + text[-max(1, width - 3) :]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
