"""Run a batch: find out what is to be done, have it done, record the results."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from converters._version import __version__
from converters.errors import Refused, UsageError
from converters.formats.io.output_stream import write_error
from converters.lazy_module import LazyModule
from converters.locations import is_remote, without_credentials

from .events import Event, Watch
from .job import SCRATCH_PREFIX, Job, failure, result_of
from .manifest import load_manifest
from .pool import run_local
from .results import Results
from .storage import exists, size_of
from .tasks import tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from converters.reports import batch_page

    from . import summary
    from .job import JobResult
    from .tasks import Task
else:  # while the workers are at work
    batch_page = LazyModule("converters.reports.batch_page")
    summary = LazyModule("converters.batches.summary")


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
) -> summary.Summary:
    """Run every conversion in a manifest, in ``jobs`` processes (default: one per processor).

    Rows are independent: one that fails, or whose process dies, does not affect the others. Each result is appended
    to the file ``results`` (default: ``NAME.results.jsonl`` beside the manifest); the report pages are beside it.

    With ``resume`` a row is skipped if its output has the recorded hash and its input, tables and version are
    unchanged; a complete output that was not recorded is adopted if it is what the row converts to. Without it no
    results may be recorded yet, and a row whose output exists fails.

    ``dry_run`` only plans. ``fail_fast`` starts no further rows after a failure. ``memory`` limits each process, in
    MB. With ``scheduler`` the rows run on a dask.distributed cluster, ``retries`` times again if a worker fails.

    Raises `ConverterError` if the batch cannot run at all: a wrong manifest, results that cannot be written.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {jobs}")
    if memory < 0:
        raise UsageError(f"--memory must not be negative, not {memory}", hint="it is in MB; 0 means no limit")
    started = perf_counter()
    path = os.fspath(manifest)
    tasks = tasks_of(load_manifest(path))
    results_path = os.fspath(results or f"{path.removesuffix('.toml')}.results.jsonl")
    base = results_path.removesuffix(".jsonl").removesuffix(".results")
    with ExitStack() as stack:
        recorded = None if dry_run else stack.enter_context(_results(results_path, resume=resume))
        scratch = None if dry_run or scheduler else stack.enter_context(_scratch_folder(f"{base}.scratch"))
        queue = [_job(task, recorded, scratch, dry_run=dry_run) for task in tasks]
        outcomes = _Outcomes(recorded)
        events = _events(
            queue,
            _Workers(jobs or processors(), memory, scheduler, retries, recorded),
            may_exist=resume or dry_run,
            stopped=lambda: fail_fast and outcomes.failed,
        )
        _follow(stack.enter_context(closing(events)), outcomes, tasks, watch)
        rows = outcomes.of(tasks)
        index = _write_report(f"{base}.report", path, tasks, rows) if recorded else ""
        results_path, damaged = (results_path, recorded.damaged) if recorded else ("", 0)
    seconds = perf_counter() - started
    return summary.Summary(rows=rows, results=results_path, index=index, seconds=seconds, damaged=damaged)


def _write_report(folder: str, manifest: str, tasks: Sequence[Task], rows: Sequence[JobResult]) -> str:
    """The pages of the results, each with what its row of the manifest asks for; returns the index's path."""
    above = os.path.dirname(os.path.abspath(manifest))
    asked = [
        {
            "input": without_credentials(task.input)
            if is_remote(task.input)
            else os.path.relpath(task.input, above),
            "source": task.source,
            "to": task.to,
        }
        for task in tasks
    ]
    pages = [{**row, "asked": what} for row, what in zip(rows, asked, strict=True)]
    return batch_page.write_pages(folder, pages, title=os.path.basename(manifest))


def _follow(events: Iterator[Event], outcomes: _Outcomes, tasks: Sequence[Task], watch: Watch | None) -> None:
    """Let the batch run: record the results, and tell ``watch`` what happens."""
    with ExitStack() as stack:
        if watch:
            watch.begin(tasks, [size_of(task.input) for task in tasks])
            stack.callback(watch.end)
        for event in events:
            if event.kind == "result" and event.job:
                event = event._replace(data=outcomes.add(event.job, event.data))
            if watch:
                watch.event(event)


class _Outcomes:
    """The results of this run by task, each recorded as it comes."""

    def __init__(self, recorded: Results | None) -> None:
        self._recorded = recorded
        self._results: dict[str, JobResult] = {}
        self.failed = False

    def add(self, job: Job, result: JobResult) -> JobResult:
        """Record a result; returns it in full: of a row that was kept, the earlier one."""
        if result["state"] == "kept" and self._recorded:
            earlier = self._recorded.rows[result["task"]]
            result = {**earlier, "state": "kept", "seconds": result["seconds"]}
        elif self._recorded:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            result = {**result, "line": job.task.line, "at": at}
            self._recorded.append(result)
        self._results[result["task"]] = result
        self.failed |= result["state"] == "failed"
        return result

    def of(self, tasks: Sequence[Task]) -> tuple[JobResult, ...]:
        """The results in the order of the tasks."""
        skipped = {"state": "skipped", "seconds": 0.0}
        return tuple(self._results.get(task.name, {"task": task.name, **skipped}) for task in tasks)


class _Workers(NamedTuple):
    """Who performs jobs: processes here, or a cluster if ``scheduler`` is given."""

    processes: int
    memory: int
    scheduler: str | None
    retries: int
    recorded: Results | None

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool]) -> Iterator[Event]:
        """Perform the jobs; yields what happens."""
        if self.scheduler is not None:
            from .cluster import run_cluster

            return run_cluster(self.scheduler, jobs, retries=self.retries, stopped=stopped)
        lock = self.recorded.fileno() if self.recorded else None
        return run_local(jobs, processes=self.processes, memory=self.memory, lock=lock, stopped=stopped)


def _events(
    jobs: Sequence[Job], workers: _Workers, *, may_exist: bool, stopped: Callable[[], bool]
) -> Generator[Event]:
    """What happens to all jobs. Unless outputs ``may_exist``, those whose output exists fail first."""
    ready = []
    for job in jobs:
        if may_exist or job.task.fault or not _output_exists(job):
            ready.append(job)
            continue
        error = Refused(
            "the output exists already", path=job.name, hint="--resume adopts it if it is complete"
        )
        yield Event("result", job, result_of(job, failure(error)))
    if ready and not stopped():
        yield from workers.run(ready, stopped)


def _output_exists(job: Job) -> bool:
    with suppress(Exception):  # if a store cannot be reached, the row itself fails later
        return exists(job.task.output)
    return False


def _job(task: Task, recorded: Results | None, scratch: str | None, *, dry_run: bool) -> Job:
    earlier = recorded.rows.get(task.name) if recorded else None
    return Job(task=task, tool=__version__, earlier=earlier, dry_run=dry_run, scratch=scratch)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _results(path: str, *, resume: bool) -> Iterator[Results]:
    """The open file of results. Raises `Refused` if it has some already and the batch is not resumed."""
    with Results(path) as results:
        if results.rows and not resume:
            raise Refused(
                "there are results already", path=path, hint="use --resume to continue, or remove the file"
            )
        yield results


@contextmanager
def _scratch_folder(path: str) -> Iterator[str]:
    """A folder for temporary files, emptied of what a killed batch left; files of others in it stay.

    Only the holder of the lock on the results uses it.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise write_error(error, path) from None
    _remove_temporary(path)
    try:
        yield os.path.abspath(path)
    finally:
        _remove_temporary(path)
        with suppress(OSError):  # not empty: somebody else uses it too
            os.rmdir(path)


def _remove_temporary(folder: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(SCRATCH_PREFIX):
            import shutil

            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
