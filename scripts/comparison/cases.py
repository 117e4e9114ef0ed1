"""The list of conversions to compare, a file beside their inputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CASES = "cases.json"


class Case(NamedTuple):
    """One conversion.

    In ``words``, the arguments of the command, {inputs} stands for the folder of the inputs, {out} for the output, and
    {in} for the output of the case before. The cases in ``then`` convert this one's output on.
    """

    name: str
    words: list[str]
    output: str
    then: Sequence[Case] = ()

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Case:
        """A case from plain data."""
        return cls(**{**row, "then": [cls.from_json(case) for case in row["then"]]})

    def to_json(self) -> dict[str, Any]:
        """A case as plain data."""
        return {**self._asdict(), "then": [case.to_json() for case in self.then]}

    def count(self) -> int:
        """How many cases it is, with those that convert its output on."""
        return 1 + sum(case.count() for case in self.then)


def read_cases(inputs: Path) -> list[Case]:
    """The cases in a folder of inputs."""
    return [Case.from_json(row) for row in json.loads((inputs / CASES).read_text())]


def write_cases(inputs: Path, cases: Iterable[Case]) -> None:
    """Write the list of cases into the folder of their inputs."""
    (inputs / CASES).write_text(json.dumps([case.to_json() for case in cases], indent=1) + "\n")
