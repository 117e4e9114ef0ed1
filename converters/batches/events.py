"""What happens while a batch runs, and who watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .job import Job
    from .tasks import Task


class Event(NamedTuple):
    """Something that happened to a job.

    ``kind`` is ``started``, ``progress`` (``data`` has the arguments of `Progress`), ``result`` (``data`` is the
    result) or ``tick``: nothing for a tenth of a second.
    """

    kind: str
    job: Job | None = None
    data: Any = None


class Progress(Protocol):
    """Told how far a job is."""

    def __call__(self, done: int, total: int, stage: str = "") -> None:
        """``done`` of ``total`` bytes are copied. After that ``stage`` says in words what is being done."""
        ...


class Watch(Protocol):
    """Follows a batch, for instance to display its progress."""

    def begin(self, tasks: Sequence[Task], sizes: Sequence[int]) -> None:
        """The batch begins. ``sizes`` are the bytes of the tasks' inputs, 0 where unknown."""
        ...

    def event(self, event: Event) -> None:
        """Something happened."""
        ...

    def end(self) -> None:
        """The batch is over."""
        ...
