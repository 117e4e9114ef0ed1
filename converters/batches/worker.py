"""A worker process: orders come in as lines of JSON, results and progress go out. Ends when its batch does."""

from __future__ import annotations

import json
import os
import signal
import sys
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from .job import perform

REFRESH = 0.2
"""Seconds between two words on how far a conversion is."""


def main(words: list[str]) -> int:
    """Do orders until there are none, or one spoilt this process: without memory an import may have got half its way.
    The only word is the limit on memory in MB, 0 for none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch ends its workers itself
    limit_memory(int(words[0]) if words else 0)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints cannot get between the lines
    orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
    Thread(target=_listen, args=(orders,), daemon=True).start()

    def say(**told: Any) -> None:
        try:
            out.write(json.dumps(told).encode() + b"\n")
        except BrokenPipeError:
            os._exit(1)

    say(ready=os.getpid())
    while True:
        order = orders.get()
        due = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal due
            if monotonic() >= due:
                due = monotonic() + REFRESH
                say(progress=[done, total])

        told = perform(order, progress)
        spent = told["state"] == "failed" and told["error"]["spent"]
        say(result=told, last=spent)
        if spent:
            return 0


def _listen(orders: SimpleQueue[dict[str, Any]]) -> None:
    """Pass orders on. At the end of them the process is over at once, also in the middle of one: the batch was
    killed, and the next one must not find two at work."""
    for line in sys.stdin.buffer:
        orders.put(json.loads(line))
    os._exit(0)


def limit_memory(megabytes: int) -> None:
    """Let this process have no more memory of its own than so much; 0 is no limit."""
    if megabytes and sys.platform != "win32":
        import resource

        size = megabytes * 10**6
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (size if most < 0 else min(size, most), most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
