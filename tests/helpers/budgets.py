"""How many examples a property is tried with: few in the fast suite, where `--hypothesis-profile=fast` is given."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

FAST = 25
"""Examples in the fast suite."""


def register() -> None:
    """The profile of the fast suite."""
    settings.register_profile("fast", max_examples=FAST, deadline=None)


def examples(count: int = 100, **options: Any) -> settings:
    """Settings of a property: ``count`` examples, no deadline, and fixtures of the function are allowed.

    The profile `fast` has fewer: of a large budget a tenth at the most.
    """
    fast = settings().max_examples == FAST
    return settings(
        max_examples=min(count, max(FAST, count // 20)) if fast else count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        **options,
    )
