"""Which tests the fast suite runs: the cheapest cases that together show everything.

A test without the marker `full` is in the fast suite (`make test`); `make test-rest` runs the others but those marked
`long`, `make test-full` all. Cases are chosen
where a test is parametrised. Each case says what it shows, such as the parts of a network's table. So a new part,
layout or format gets a fast case by itself.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from converters.mapping.table_files import network_names
from converters.mapping.variants import parameters, parts, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from _pytest.mark import ParameterSet

    from converters.mapping.variants import Variant

full = pytest.mark.full
"""Marks what the fast suite leaves out."""
long = (full, pytest.mark.long)
"""Mark what `make test-rest` leaves out, too: larger networks and more repetitions of what it has."""


def one_of_each(
    cases: Iterable[Any],
    shows: Callable[..., Iterable[Hashable]],
    cost: Callable[..., float] | None = None,
) -> list[ParameterSet]:
    """The cases as parameters in their order, those marked `full` that show nothing that a cheaper one does not.

    A case is one value, a tuple of values or a `pytest.param`. ``shows`` and ``cost`` are called with its values;
    without ``cost`` earlier cases are cheaper.
    """
    parameters = [_parameter(case) for case in cases]
    order = list(range(len(parameters)))
    if cost is not None:
        order.sort(key=lambda index: cost(*parameters[index].values))
    seen: set[Hashable] = set()
    fast = set()
    for index in order:
        shown = set(shows(*parameters[index].values))
        if not shown <= seen:
            fast.add(index)
            seen |= shown
    return [case if index in fast else _marked(case, full) for index, case in enumerate(parameters)]


def first_of(cases: Iterable[Any], count: int = 1) -> list[ParameterSet]:
    """The cases as parameters, all but the first ``count`` marked `full`: cases of one kind."""
    return [
        case if index < count else _marked(case, full) for index, case in enumerate(map(_parameter, cases))
    ]


def all_but(cases: Iterable[Any], *slow: Any) -> list[ParameterSet]:
    """The cases as parameters, those whose values (or the first of them) are named marked `full`."""
    found = [_parameter(case) for case in cases]
    missing = set(slow) - {case.values[0] for case in found}
    assert not missing, f"no such case: {missing}"
    return [_marked(case, full) if case.values[0] in slow else case for case in found]


def longest(cases: Iterable[Any], is_long: Callable[..., bool]) -> list[ParameterSet]:
    """The cases as parameters, those marked `long` of whose values ``is_long`` is true."""
    return [_marked(case, *long) if is_long(*case.values) else case for case in map(_parameter, cases)]


def kinds(variant: Variant) -> set[str]:
    """The kinds of block that a variant is made of: the parts of its table, and the columns of their index."""
    columns = variant.values.get("columns", ())
    return {f"{variant.family}/{part}" for part, _ in parts(variant)} | {
        f"{variant.family}[{column}]" for column in columns
    }


def kinds_by_name(name: str) -> set[str]:
    """The kinds of block of a variant by name."""
    return kinds(variant_named(name))


@cache
def parameters_of(name: str) -> int:
    """How many parameters a variant has: what a test of it costs."""
    from tests.helpers.layout_weights import sizes  # imports torch

    variant = variant_named(name)
    return parameters(variant, sizes(variant), {"blending": False})


@cache
def variant_named(name: str) -> Variant:
    """A variant of any family."""
    return next(variant for family in network_names() for variant in variants(family) if variant.name == name)


def _marked(case: ParameterSet, *marks: pytest.MarkDecorator) -> ParameterSet:
    return pytest.param(*case.values, id=case.id, marks=(*case.marks, *marks))


def _parameter(case: Any) -> ParameterSet:
    if hasattr(case, "marks"):
        return case
    if isinstance(case, tuple) and not hasattr(case, "_fields"):
        return pytest.param(*case)
    return pytest.param(case)
