"""A batch from end to end: what is to be done, who does it, what came of it."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from converters._version import __version__
from converters.errors import Refused, UsageError
from converters.formats.io.output_stream import write_error
from converters.reports.batch_page import write_pages
from converters.reports.wording import human_size

from .job import SCRATCH, failure
from .manifest import load_manifest
from .pool import Event, run_local
from .results import Results
from .storage import exists, size_of
from .tasks import tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .tasks import Task

DONE = ("converted", "adopted", "kept")


class Watch(Protocol):
    """Who is told how a batch goes."""

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """There are so many conversions, of inputs of so many bytes (0: not known)."""
        ...

    def event(self, event: Event) -> None:
        """Something happened, or nothing for a tenth of a second."""
        ...

    def end(self) -> None:
        """That was all."""
        ...


@dataclass(frozen=True)
class Summary:
    """What came of a batch: a result for every task, in the manifest's order (see `work.perform`; one that was not
    begun is ``skipped``). ``results`` and ``index`` are files, empty in a dry run."""

    rows: tuple[dict[str, Any], ...]
    results: str
    index: str
    seconds: float
    damaged: int

    @property
    def ok(self) -> bool:
        """Whether every row is done, or planned."""
        return all(row["state"] in (*DONE, "planned") for row in self.rows)

    def count(self, *states: str) -> int:
        """How many rows came to one of these states."""
        return sum(1 for row in self.rows if row["state"] in states)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        states = ("converted", "adopted", "kept", "planned", "failed", "skipped")
        return {
            "counts": {state: self.count(state) for state in states},
            "rows": list(self.rows),
            "results": self.results,
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "damaged_lines": self.damaged,
        }


def convert_batch(
    manifest: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    fail_fast: bool = False,
    results: str | os.PathLike[str] | None = None,
    memory: int = 0,
    scheduler: str | None = None,
    retries: int = 1,
    watch: Watch | None = None,
) -> Summary:
    """Convert all that a manifest lists, in ``jobs`` processes (default: one for each processor).

    Each conversion is a row of its own: one that fails, or whose process dies, costs no other. Results are appended
    to ``results`` (default: beside the manifest, ``NAME.results.jsonl``) one by one; reports come beside it.

    With ``resume`` rows are skipped whose output is there with the recorded hash and whose input, mapping and tool
    are unchanged, and a whole output that was not recorded is taken over if it is what its row converts to; without
    it there must be no results yet, and a row whose output exists fails.

    ``dry_run`` plans, reads no tensor and writes nothing. ``fail_fast`` begins nothing more after a failure.
    ``memory`` limits each process, in MB. With ``scheduler`` the rows are done on a dask.distributed cluster,
    ``retries`` times more where a worker fails.

    Raises `ConverterError` where there is no batch at all: a wrong manifest, no room for the results.
    """
    path = os.fspath(manifest)
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} jobs do nothing", hint="--jobs is at least 1")
    if memory < 0:
        raise UsageError(f"{memory} MB of memory are none", hint="--memory is in MB; 0 is no limit")
    started = perf_counter()
    tasks = tasks_of(load_manifest(path))
    record = os.fspath(results) if results is not None else f"{path.removesuffix('.toml')}.results.jsonl"
    base = record.removesuffix(".jsonl").removesuffix(".results")
    with ExitStack() as stack:
        kept: Results | None = None
        if not dry_run:
            kept = stack.enter_context(Results(record))
            if kept.rows and not resume:
                raise Refused(
                    "there are results already", path=record, hint="--resume goes on, or remove them"
                )
        scratch = None if dry_run or scheduler else stack.enter_context(_Scratch(f"{base}.scratch"))
        orders = [_order(task, kept, scratch, dry_run) for task in tasks]
        found: dict[str, dict[str, Any]] = {}
        if watch:
            watch.begin(tasks, [size_of(task.input) for task in tasks])
            stack.callback(watch.end)

        def stopped() -> bool:
            return fail_fast and any(row["state"] == "failed" for row in found.values())

        events = _events(orders, kept, jobs, memory, scheduler, retries, resume or dry_run, stopped)
        stack.enter_context(closing(events))
        for event in events:
            if event.kind == "result" and event.order:
                row = event.told
                if row["state"] == "kept" and kept:
                    row = {**kept.rows[row["task"]], "state": "kept", "seconds": row["seconds"]}
                elif kept:
                    row = {
                        **row,
                        "line": event.order["line"],
                        "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    }
                    kept.append(row)
                found[row["task"]] = row
                event = event._replace(told=row)
            if watch:
                watch.event(event)
        rows = tuple(
            found.get(task.name, {"task": task.name, "state": "skipped", "seconds": 0.0}) for task in tasks
        )
        damaged = kept.damaged if kept else 0
        index = write_pages(f"{base}.report", rows) if kept else ""
    return Summary(rows, record if kept else "", index, perf_counter() - started, damaged)


def _events(
    orders: Sequence[dict[str, Any]],
    kept: Results | None,
    jobs: int | None,
    memory: int,
    scheduler: str | None,
    retries: int,
    may_exist: bool,
    stopped: Callable[[], bool],
) -> Generator[Event]:
    """What happens to all orders: those that cannot be begun first."""
    begun = []
    for order in orders:
        if not may_exist and not order["fault"] and _there(order["output"]):
            error = Refused(
                "the output exists already", path=order["name"], hint="--resume takes it over if it is whole"
            )
            told = {"task": order["name"], "spec": order["spec"], "tool": __version__, "seconds": 0.0}
            yield Event("result", order, {**told, **failure(error)})
        else:
            begun.append(order)
    if stopped() or not begun:
        return
    if scheduler is not None:
        from .cluster import run_cluster

        yield from run_cluster(scheduler, begun, retries=retries, stopped=stopped)
        return
    yield from run_local(
        begun,
        jobs=jobs or processors(),
        memory=memory,
        lock=kept.fileno() if kept else None,
        stopped=stopped,
    )


def _there(place: str) -> bool:
    with suppress(Exception):  # a store that does not answer is the row's own failure
        return exists(place)
    return False


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _order(task: Task, kept: Results | None, scratch: str | None, dry_run: bool) -> dict[str, Any]:
    return {
        **task._asdict(),
        "options": dict(task.options),
        "tool": __version__,
        "former": kept.rows.get(task.name) if kept else None,
        "dry_run": dry_run,
        "scratch": scratch,
    }


class _Scratch:
    """A folder for what does not stay; what a killed batch left in it goes first. Whoever holds the results' lock may
    use it. What somebody else has in a folder of this name stays."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> str:
        try:
            os.makedirs(self._path, exist_ok=True)
        except OSError as error:
            raise write_error(error, self._path) from None
        self._clear()
        return os.path.abspath(self._path)

    def __exit__(self, *_: object) -> None:
        self._clear()
        with suppress(OSError):  # not empty: not ours alone
            os.rmdir(self._path)

    def _clear(self) -> None:
        for name in os.listdir(self._path):
            if name.startswith(SCRATCH):
                shutil.rmtree(os.path.join(self._path, name), ignore_errors=True)


def summary_text(summary: Summary) -> str:
    """The summary table: a line for each row, and the totals."""
    from converters.printable import printable

    lines = []
    width = max((len(row["task"]) for row in summary.rows), default=0)
    for row in summary.rows:
        what = row["error"]["text"] if row["state"] == "failed" else row.get("network", "")
        lines.append(printable(f"{row['state']:<9}  {row['task']:<{width}}  {what}").rstrip())
    words = [
        f"{summary.count(state)} {state}"
        for state in ("converted", "adopted", "kept", "planned", "failed", "skipped")
        if summary.count(state)
    ]
    size = sum(row.get("bytes", 0) for row in summary.rows if row["state"] in ("converted", "adopted"))
    done = f", {human_size(size)}" if size else ""
    lines.append(f"{len(summary.rows)} rows: {', '.join(words)}{done} in {summary.seconds:.1f} s")
    if summary.damaged:
        lines.append(f"note: {summary.damaged} lines of {summary.results} were damaged and not used")
    if summary.index:
        lines.append(f"results {summary.results}; report {summary.index}")
    return "\n".join(lines)
