"""The same orders on a dask.distributed cluster. Inputs and outputs are then where every worker reaches them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError

from .job import failure, perform
from .pool import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Order = dict[str, Any]

PATIENCE = 60.0
"""Seconds to wait for the scheduler, and for its first worker."""


def run_cluster(
    address: str,
    orders: Sequence[Order],
    *,
    retries: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Do orders on the cluster of a scheduler; yields what happens, as `pool.run_local` does.

    A worker that dies has its orders done by others, as often as the scheduler allows; ``retries`` is how often an
    order is tried again that a worker could not even answer. A worker's limit on memory is its own, set where it
    is started. Raises `ConverterError` where there is no scheduler or no worker.
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
        futures = {client.submit(perform, order, pure=False, retries=retries): order for order in orders}
        done = distributed.as_completed(futures)
        for future in done:
            order = futures.pop(future)
            yield Event("result", order, _told(future, order))
            if stopped():
                client.cancel(list(futures))
                return


def _told(future: Any, order: Order) -> dict[str, Any]:
    """A future's result; where its workers died or could not run it, a failure."""
    try:
        told: dict[str, Any] = future.result()
    except Exception as error:
        what = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {what[0][:300]}" if what else type(error).__name__
        told = {
            "task": order["name"],
            "spec": order["spec"],
            "tool": order["tool"],
            "seconds": 0.0,
            **failure(
                ConverterError(
                    f"the cluster gave it up: {reason}", path=order["name"], hint="--resume tries again"
                )
            ),
        }
    return told


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise ConverterError(
            "a cluster needs dask.distributed",
            hint="install it: pip install 'video-checkpoint-converters[cluster]'",
        ) from None
