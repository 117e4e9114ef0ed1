"""What passes between a batch and its workers: jobs and their results, as plain data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.record import Record

from .manifest_keys import as_keys
from .tasks import Task

if TYPE_CHECKING:
    from typing import Self

    from converters.errors import ConverterError

JobResult = dict[str, Any]
"""The result of a job, which is recorded as JSON.

It has ``task`` (the name), ``spec``, ``tool`` (the version), ``seconds`` and ``state``:

* ``converted``: the output was written;
* ``adopted``: the output existed already and is exactly what the row converts to;
* ``kept``: the output was recorded earlier, and it and everything that it was made from are unchanged;
* ``planned``: a dry run;
* ``failed``: ``error`` says why;
* ``skipped``: never started.

Unless it failed, it also describes the conversion: see `perform`.
"""

SCRATCH_PREFIX = "convert-"
"""Prefix of the temporary folders that jobs create and remove."""


class Job(Record):
    """A task and how the batch wants it done.

    ``tool`` is the batch's version of this package, ``earlier`` the recorded result if there is one, ``scratch`` the
    folder for temporary files (None: the system's).
    """

    task: Task
    tool: str
    earlier: JobResult | None = None
    dry_run: bool = False
    scratch: str | None = None

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def to_json(self) -> bytes:
        """One line of JSON."""
        return json.dumps({**self.as_dict(), "task": self.task.as_dict()}).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The job of such a line."""
        fields = json.loads(line)
        return cls(**{**fields, "task": Task(**fields["task"])})


def result_of(job: Job, details: JobResult, seconds: float = 0.0) -> JobResult:
    """A complete result: whose it is, and ``details``, which has at least ``state``."""
    return {
        "task": job.name,
        "spec": job.task.spec,
        "tool": job.tool,
        "seconds": round(seconds, 3),
        **details,
    }


def failure(error: ConverterError, *, restart: bool = False) -> JobResult:
    """The details of a failed result. With ``restart`` the worker process is not to be used any more."""
    return {
        "state": "failed",
        "error": {
            "exit_code": error.exit_code,
            "restart": restart,
            "text": error.text(*map(as_keys, error.told)),
            "faults": [str(fault) for fault in error.faults[:20]],
        },
    }
