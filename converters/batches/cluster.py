"""Workers on a dask.distributed cluster, which must reach the same inputs and outputs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError
from converters.extras import install_hint

from .events import Event
from .job import failure, result_of
from .perform import perform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .job import Job, JobResult

PATIENCE = 60.0
"""Seconds to wait for the scheduler, and for its first worker."""


def run_cluster(
    address: str,
    jobs: Sequence[Job],
    *,
    retries: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Perform jobs on the cluster of a scheduler; yields what happens, like `pool.run_local`.

    The scheduler gives the jobs of a worker that dies to others, as often as it is configured to; ``retries`` is how
    often a job is repeated if a worker raised an exception. Memory is limited where the workers are started. Raises
    `ConverterError` if there is no scheduler or no worker.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConverterError(
            f"there is no scheduler at {address}: {error}", hint="start one: dask scheduler"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise ConverterError(
                f"the scheduler at {address} has no workers", hint=f"start some: dask worker {address}"
            ) from None
        futures = {client.submit(perform, job, pure=False, retries=retries): job for job in jobs}
        for future in distributed.as_completed(futures):
            job = futures.pop(future)
            yield Event("result", job, _result(future, job))
            if stopped():
                client.cancel(list(futures))
                return


def _result(future: Any, job: Job) -> JobResult:
    """The result of a future; a failure if its workers died or raised an exception."""
    try:
        result: JobResult = future.result()
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
        given_up = ConverterError(
            f"the cluster gave up: {reason}", path=job.name, hint="--resume tries again"
        )
        return result_of(job, failure(given_up))
    return result


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise ConverterError(
            "a cluster needs dask.distributed",
            hint=install_hint("cluster"),
        ) from None
