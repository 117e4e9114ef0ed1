"""A worker process: jobs arrive on standard input as lines of JSON, progress and results leave on standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from .job import Job
from .perform import perform

REFRESH = 0.2
"""Seconds between two messages about progress."""


def main(arguments: list[str]) -> int:
    """Perform jobs until the batch ends, or until a failure leaves this process unusable.

    The only argument is the limit on memory in MB, 0 for none. A process that ran out of memory may have modules that
    are only half imported, so it announces its end and another one takes its place.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch ends its workers itself
    limit_memory(int(arguments[0]) if arguments else 0)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # so that nothing else can print between the messages
    jobs: SimpleQueue[Job] = SimpleQueue()
    Thread(target=_receive, args=(jobs,), daemon=True).start()

    def send(**message: Any) -> None:
        try:
            out.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            os._exit(1)

    send(ready=os.getpid())
    while True:
        job = jobs.get()
        due = 0.0

        def progress(done: int, total: int, stage: str = "") -> None:
            nonlocal due
            if stage or monotonic() >= due:
                due = monotonic() + REFRESH
                send(progress=[done, total, stage])

        result = perform(job, progress)
        last = result["state"] == "failed" and result["error"]["restart"]
        send(result=result, last=last)
        if last:
            return 0


def _receive(jobs: SimpleQueue[Job]) -> None:
    """Queue the jobs. The end of the input means that the batch was killed: end at once, even within a job, as the
    next batch must not find two processes at work."""
    for line in sys.stdin.buffer:
        jobs.put(Job.from_json(line))
    os._exit(0)


def limit_memory(megabytes: int) -> None:
    """Limit this process's own memory; 0 means no limit."""
    if megabytes and sys.platform != "win32":
        import resource

        size = megabytes * 10**6
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (size if most < 0 else min(size, most), most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
