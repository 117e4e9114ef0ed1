"""The progress of a batch: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TextIO

from converters.printable import printable
from converters.reports.wording import human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import Event, Watch
    from .job import JobResult
    from .tasks import Task


def watch_on(terminal: TextIO, out: TextIO) -> Watch:
    """A display if ``terminal`` is one; otherwise a line for every row, among the results on ``out``."""
    return Display(terminal) if terminal.isatty() else Lines(out)


class Lines:
    """Prints a line for every row that ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._ended = 0

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """The batch begins."""
        self._total = len(tasks)

    def event(self, event: Event) -> None:
        """Something happened."""
        if event.kind == "result":
            self._ended += 1
            print(line_of(event.data, self._ended, self._total), file=self._out, flush=True)

    def end(self) -> None:
        """The batch is over."""


class Display:
    """A line for each running conversion and one for the batch, redrawn in place; failed rows stay above them."""

    BAR = 24
    REFRESH = 0.1
    FORESEEN = 0.02
    """The time that is left is estimated once this much is done."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._sizes: dict[str, int] = {}
        self._active: dict[str, tuple[int, int, str]] = {}
        self._moved: dict[str, int] = {}
        self._ended = self._total = self._bytes = 0
        self._drawn = 0
        self._started = self._due = monotonic()

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """The batch begins."""
        self._sizes = {task.name: size for task, size in zip(tasks, sizes, strict=True)}
        self._total = len(tasks)

    def event(self, event: Event) -> None:
        """Something happened."""
        name = event.job.name if event.job else ""
        if event.kind == "started":
            self._active[name] = (0, 0, "")
        elif event.kind == "progress":
            done, total, stage = event.data
            self._active[name] = (done, total, stage)
            if not stage:
                self._moved[name] = done
        elif event.kind == "result":
            self._active.pop(name, None)
            self._ended += 1
            self._bytes += self._sizes.get(name, 0)
            if event.data["state"] == "failed":
                self._clear()
                print(line_of(event.data, self._ended, self._total), file=self._out)
        if event.kind == "started" or monotonic() >= self._due:  # a quick row is shown as well
            self._due = monotonic() + self.REFRESH
            self._draw()

    def end(self) -> None:
        """The batch is over."""
        self._clear()
        self._out.flush()

    def lines(self, width: int) -> list[str]:
        """The lines to show now, each shorter than ``width``."""
        room = width - self.BAR - 4
        rows = [
            f"{self._bar(done, total)} {_shortened(f'{name}: {stage}' if stage else name, room)}"
            for name, (done, total, stage) in self._active.items()
        ]
        done, total, size = self._figures()
        elapsed = monotonic() - self._started
        foreseen = self.FORESEEN * total <= done < total
        left = f", {_clock(elapsed * (total - done) / done)} left" if done and foreseen else ""
        text = f"{self._ended} of {self._total} rows, {size}{left}"
        return [*rows, f"{self._bar(done, total)} {_shortened(text, room)}"]

    def _figures(self) -> tuple[int, int, str]:
        """How much of how much is done, and its size in words: bytes, or rows if all inputs are remote."""
        total = sum(self._sizes.values())
        if not total:
            return self._ended, self._total, human_size(sum(self._moved.values()))
        active = sum(
            self._sizes.get(name, 0) * done / whole
            for name, (done, whole, stage) in self._active.items()
            if whole and not stage  # what follows the copying takes most of the time
        )
        done = self._bytes + int(active)
        return done, total, f"{human_size(done)} of {human_size(total)}"

    def _bar(self, done: int, total: int) -> str:
        filled = self.BAR * min(done, total) // max(total, 1)
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
            self._out.write(f"\r\x1b[{self._drawn}A\x1b[J")  # a typed ^C has moved the cursor
            self._drawn = 0


def line_of(result: JobResult, number: int, total: int) -> str:
    """A result in one line."""
    failed = result["state"] == "failed"
    what = result["error"]["text"] if failed else result.get("network", "")
    size = f", {human_size(result['bytes'])}" if "bytes" in result else ""
    name = "" if failed and result["task"] in what else f"{result['task']}: "
    count = f"[{number:>{len(str(total))}}/{total}]"
    return printable(f"{count} {result['state']:<9} {name}{what}{size}, {result['seconds']:.2f} s")


def _shortened(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else "..." + text[-max(1, width - 3) :]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
