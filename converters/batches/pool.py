"""Workers on this machine: separate processes, so that one that dies costs only the row it was working on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError
from converters.mapping.further_tables import VARIABLE, folders

from .events import Event
from .job import failure, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .job import Job

    Messages = SimpleQueue[tuple[int, Any]]

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder to import this package from."""

TICK = 0.1
"""Seconds after which there is an event even if nothing happened, so that a display can be redrawn."""

FAILED_STARTS = 3
"""So many workers in a row that end before they can take a job mean that none will ever start."""


def run_local(
    jobs: Sequence[Job],
    *,
    processes: int,
    memory: int = 0,
    lock: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Perform jobs in ``processes`` processes of at most ``memory`` MB each (0: no limit); yields what happens.

    The processes inherit the file descriptor ``lock``. Once ``stopped`` returns True no more jobs are started; when
    the caller stops iterating, all workers are killed. Raises `ConverterError` if workers cannot start.
    """
    pool = _Pool(jobs, memory, lock, stopped)
    try:
        for _ in range(min(processes, len(jobs))):
            pool.start_worker()
        while pool.workers:
            yield from pool.next_events()
    finally:
        for worker in pool.workers.values():
            worker.kill()


class _Pool:
    """The workers and the jobs that wait."""

    def __init__(
        self, jobs: Sequence[Job], memory: int, lock: int | None, stopped: Callable[[], bool]
    ) -> None:
        self.workers: dict[int, _Worker] = {}
        self._waiting = list(reversed(jobs))
        self._messages: Messages = SimpleQueue()
        self._memory = memory
        self._lock = lock
        self._stopped = stopped
        self._started = self._failed_starts = 0

    def start_worker(self) -> None:
        """Start one more process."""
        self.workers[self._started] = _Worker(self._started, self._messages, self._memory, self._lock)
        self._started += 1

    def next_events(self) -> Iterator[Event]:
        """Wait for a message of a worker, and yield what it means."""
        try:
            number, message = self._messages.get(timeout=TICK)
        except Empty:
            yield Event("tick")
            return
        worker = self.workers.get(number)
        if worker is None:  # a late message of one that was killed
            return
        if message is None:
            yield from self._replace(number, worker)
        elif "progress" in message:
            yield Event("progress", worker.job, message["progress"])
        else:
            if "result" in message:
                job, worker.job = worker.job, None
                yield Event("result", job, message["result"])
            yield from self._next_job(number, worker, last=bool(message.get("last")))

    def _replace(self, number: int, worker: _Worker) -> Iterator[Event]:
        """A worker ended by itself: its job has failed, and another worker takes the next one."""
        reason = worker.end_reason()
        self._remove(number)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise ConverterError(
                    f"workers cannot start: {reason}",
                    hint="the memory limit (--memory) may be too low: raise it",
                )
        if worker.job is not None:
            error = ConverterError(reason, path=worker.job.name, hint="--resume tries again")
            yield Event("result", worker.job, result_of(worker.job, failure(error)))
        if self._has_more():
            self.start_worker()

    def _next_job(self, number: int, worker: _Worker, *, last: bool) -> Iterator[Event]:
        """A worker is idle: give it a job, or end it. The ``last`` job of a worker makes room for a new one."""
        worker.ready = True
        self._failed_starts = 0
        more = self._has_more()
        if more and not last:
            worker.give(self._waiting.pop())
            yield Event("started", worker.job)
            return
        self._remove(number)
        if more:
            self.start_worker()

    def _has_more(self) -> bool:
        return bool(self._waiting) and not self._stopped()

    def _remove(self, number: int) -> None:
        self.workers.pop(number).kill()


class _Worker:
    """A process and the job it is working on. Its messages are queued together with its number."""

    def __init__(self, number: int, messages: Messages, memory: int, lock: int | None) -> None:
        # -P: a file in the current folder must not be taken for a module.
        path = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))
        tables = os.pathsep.join(folders())
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "converters.batches.worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Conversions multiply no matrices; OpenBLAS would reserve memory for each processor.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path, VARIABLE: tables},
            pass_fds=() if lock is None or sys.platform == "win32" else (lock,),
        )
        self.job: Job | None = None
        self.ready = False
        self._messages = messages
        self._error_output = b""
        self._errors = Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        Thread(target=self._read_messages, args=(number,), daemon=True).start()

    def give(self, job: Job) -> None:
        """Send it a job. If the process is already dead, its end is in the queue of messages."""
        self.job = job
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(job.to_json())
            self.process.stdin.flush()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def end_reason(self) -> str:
        """How the process ended, with the last line of its standard error."""
        code = self.process.wait()
        self._errors.join(1)
        how = f"with code {code}"
        if code < 0:
            how = f"by signal {-code}"
            with suppress(ValueError):
                how = f"by {signal.Signals(-code).name}"
        lines = self._error_output.decode(errors="replace").strip().splitlines()
        return f"the worker process was ended {how}" + (f": {lines[-1][:200]}" if lines else "")

    def _read_messages(self, number: int) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError, OSError):  # an incomplete message of a killed worker
            for line in self.process.stdout:
                self._messages.put((number, json.loads(line)))
        self._messages.put((number, None))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with suppress(ValueError, OSError):
            for line in self.process.stderr:
                self._error_output = (self._error_output + line)[-2000:]
