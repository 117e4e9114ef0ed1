"""The outcome of a batch, and its table on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converters.printable import printable
from converters.reports.wording import counted, human_size
from converters.shown import Shown

from .job import JobResult

STATES = ("converted", "adopted", "kept", "planned", "failed", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Summary(Shown):
    """The outcome of a batch.

    ``rows`` has a result for every task, in the manifest's order. ``results`` and ``index`` are the paths of the
    results and the report, empty after a dry run; ``damaged`` is the number of unreadable lines in the results.
    """

    rows: tuple[JobResult, ...]
    results: str
    index: str
    seconds: float
    damaged: int

    @property
    def ok(self) -> bool:
        """Whether every row is done, or planned."""
        return not self.count("failed", "skipped")

    def count(self, *states: str) -> int:
        """The number of rows in any of these states."""
        return sum(row["state"] in states for row in self.rows)

    def lines(self) -> tuple[str, ...]:
        """Rows by state, and the report."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in STATES if self.count(state))
        return (
            f"{counts or 'no rows'} in {self.seconds:.1f} s",
            *([f"report: {self.index}"] if self.index else []),
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "counts": {state: self.count(state) for state in STATES},
            "rows": list(self.rows),
            "results": self.results,
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "damaged_lines": self.damaged,
        }


def summary_text(summary: Summary, *, rows: bool = True) -> str:
    """A line for each row, unless they were printed as they ended, and the totals."""
    width = max((len(row["task"]) for row in summary.rows), default=0)
    lines = []
    for row in summary.rows if rows else ():
        what = row["error"]["text"] if row["state"] == "failed" else row.get("network", "")
        lines.append(printable(f"{row['state']:<9}  {row['task']:<{width}}  {what}").rstrip())
    counts = ", ".join(f"{count} {state}" for state in STATES if (count := summary.count(state)))
    written = sum(row.get("bytes", 0) for row in summary.rows if row["state"] in ("converted", "adopted"))
    size = f", {human_size(written)}" if written else ""
    lines.append(f"{counted(len(summary.rows), 'row')}: {counts}{size} in {summary.seconds:.1f} s")
    if summary.damaged:
        lines.append(f"note: {summary.damaged} damaged lines of {summary.results} were ignored")
    if summary.index:
        lines.append(f"results {summary.results}; report {summary.index}")
    return "\n".join(lines)
