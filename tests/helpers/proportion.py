"""How much work and memory something takes, counted, and not by the clock."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Cost(NamedTuple):
    """Function calls, of Python's functions and of built-in ones; and bytes held at the same time."""

    calls: int
    memory: int


def cost(action: Callable[[], object]) -> Cost:
    """What an action takes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Cost(calls, peak)


def superlinear(costs: list[Cost], slack: Cost) -> str:
    """What grows faster than the input, whose size doubles from each of three costs to the next: what the second
    half adds may be twice what the first added, and 30 % more for tables and the like that grow in steps."""
    for name in Cost._fields:
        small, middle, large = (getattr(one, name) for one in costs)
        if large - middle > 2.6 * max(middle - small, 0) + getattr(slack, name):
            return f"{name}: {small:,}, {middle:,}, {large:,}"
    return ""
