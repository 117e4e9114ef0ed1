"""Workers on this machine: processes of their own, so that one that dies costs one row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import ConverterError

from .job import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Order = dict[str, Any]

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICK = 0.1
"""Seconds after which there is an event even if nothing happened, for a display."""
STARTS = 3
"""So many processes in a row that end before they can take an order mean that none ever will."""


class Event(NamedTuple):
    """What happened to an order: ``started``, ``progress`` (``told`` is bytes done and in all), or ``result``; or
    nothing, ``tick``."""

    kind: str
    order: Order | None = None
    told: Any = None


class _Worker:
    """A process and what it is doing. What it says goes to the queue, behind its own number."""

    def __init__(
        self, number: int, heard: SimpleQueue[tuple[int, Any]], memory: int, lock: int | None
    ) -> None:
        # Not the current folder: a file there is no module of ours.
        path = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "converters.batches.worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Nothing here multiplies matrices; OpenBLAS would take memory for it on every processor.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path},
            pass_fds=() if lock is None or sys.platform == "win32" else (lock,),
        )
        self.order: Order | None = None
        self.ready = False
        self._heard = heard
        self._last_words = b""
        self._errors = Thread(target=self._overhear, daemon=True)
        self._errors.start()
        Thread(target=self._listen, args=(number,), daemon=True).start()

    def give(self, order: Order) -> None:
        """Let it do an order; if it is dead already, that will be heard."""
        self.order = order
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """Have it end: at once, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def why(self) -> str:
        """How it ended, and its last words."""
        code = self.process.wait()
        self._errors.join(1)
        how = f"with code {code}"
        if code < 0:
            how = f"by signal {-code}"
            with suppress(ValueError):
                how = f"by {signal.Signals(-code).name}"
        said = self._last_words.decode(errors="replace").strip().splitlines()
        return f"the worker process was ended {how}" + (f": {said[-1][:200]}" if said else "")

    def _listen(self, number: int) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError, OSError):  # what a killed worker was about to say
            for line in self.process.stdout:
                self._heard.put((number, json.loads(line)))
        self._heard.put((number, None))

    def _overhear(self) -> None:
        assert self.process.stderr is not None
        with suppress(ValueError, OSError):
            for line in self.process.stderr:
                self._last_words = (self._last_words + line)[-2000:]


def run_local(
    orders: Sequence[Order],
    *,
    jobs: int,
    memory: int = 0,
    lock: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Do orders in ``jobs`` processes of at most ``memory`` MB each (0: no limit); yields what happens.

    The processes inherit the descriptor ``lock``. When ``stopped`` says so no more orders are begun; if the caller
    stops listening, all end at once. Raises `ConverterError` where workers cannot start.
    """
    heard: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    waiting = list(reversed(orders))
    workers: dict[int, _Worker] = {}
    made = stillborn = 0

    def hire() -> None:
        nonlocal made
        workers[made] = _Worker(made, heard, memory, lock)
        made += 1

    try:
        for _ in range(min(jobs, len(orders))):
            hire()
        while workers:
            try:
                number, told = heard.get(timeout=TICK)
            except Empty:
                yield Event("tick")
                continue
            if number not in workers:  # it was sent home
                continue
            worker = workers[number]
            order = worker.order
            if told is None:
                why = worker.why()
                worker.end()
                del workers[number]
                if not worker.ready:
                    stillborn += 1
                    if stillborn == STARTS:
                        raise ConverterError(
                            f"workers cannot start: {why}", hint="is the limit on memory too low?"
                        )
                if order is not None:
                    error = ConverterError(why, path=order["name"], hint="--resume tries again")
                    yield Event("result", order, _died(order, error))
                if waiting and not stopped():
                    hire()
                continue
            if "progress" in told and order is not None:
                yield Event("progress", order, told["progress"])
                continue
            if "result" in told and order is not None:
                worker.order = None
                yield Event("result", order, told["result"])
            worker.ready = True
            stillborn = 0
            more = waiting and not stopped()
            if more and not told.get("last"):
                worker.give(waiting.pop())
                yield Event("started", worker.order)
                continue
            worker.end()
            del workers[number]
            if more:
                hire()
    finally:
        for worker in workers.values():
            worker.end()


def _died(order: Order, error: ConverterError) -> dict[str, Any]:
    return {
        "task": order["name"],
        "spec": order["spec"],
        "tool": order["tool"],
        "seconds": 0.0,
        **failure(error),
    }
