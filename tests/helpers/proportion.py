"""How much work and memory something takes, counted, and not by the clock."""

from __future__ import annotations

import tracemalloc
from cProfile import Profile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Cost(NamedTuple):
    """Function calls, of Python's functions and of built-in ones; and bytes held at the same time."""

    calls: int
    memory: int


def cost(action: Callable[[], object]) -> Cost:
    """What an action takes."""
    profiler = Profile()
    tracemalloc.start()
    profiler.enable()
    try:
        action()
    finally:
        profiler.disable()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Cost(sum(entry.callcount for entry in profiler.getstats()), peak)


def superlinear(costs: list[Cost], slack: Cost) -> str:
    """What grows faster than the input, whose size doubles from each of three costs to the next: what the second
    half adds may be twice what the first added, and 30 % more for tables and the like that grow in steps."""
    for name in Cost._fields:
        small, middle, large = (getattr(one, name) for one in costs)
        if large - middle > 2.6 * max(middle - small, 0) + getattr(slack, name):
            return f"{name}: {small:,}, {middle:,}, {large:,}"
    return ""


def more_than_doubled(small: Cost, large: Cost, slack: Cost) -> str:
    """What more than doubles where the size of the input doubles."""
    for name in Cost._fields:
        before, after = getattr(small, name), getattr(large, name)
        if after > 2 * before + getattr(slack, name):
            return f"{name}: {before:,}, {after:,}"
    return ""
