"""From a manifest's rows to single conversions, each with an output of its own. Looks at names only."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.output_names import fill, stem_of
from converters.errors import ConverterError, UsageError

from .storage import is_pattern, is_remote, local_path, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .manifest import Manifest, Row


class Task(NamedTuple):
    """One conversion. ``name`` is the output as the manifest says it, which no other task has; ``input`` and
    ``output`` are absolute paths or addresses. ``spec`` changes with whatever the manifest asks of it. ``fault``
    says what is wrong already, ``matched`` that a pattern of names found the input."""

    name: str
    line: int
    source: str
    input: str
    to: str
    output: str
    sha256: str
    options: Mapping[str, Any]
    spec: str
    fault: str = ""
    matched: bool = False


def tasks_of(manifest: Manifest) -> list[Task]:
    """Every conversion of a manifest, in its order; a row whose input cannot be found is one with a fault.

    Raises `UsageError` where two would write one output, or one over another's input.
    """
    tasks: list[Task] = []
    for row in manifest.rows:
        tasks += _tasks(manifest, row)
    tasks = _without_outputs(tasks)
    owners: dict[str, Task] = {}
    for task in tasks:
        other = owners.setdefault(task.output.removesuffix(".index"), task)
        if other is not task:
            raise UsageError(
                f"two conversions write {task.name}",
                path=manifest.path,
                where=f"line {other.line} and line {task.line}",
                hint="{stem}, {folder} and {to} in the output tell them apart",
            )
    for task in tasks:
        if owner := owners.get(task.input.removesuffix(".index")):
            raise UsageError(f"{owner.name} is an input too", path=manifest.path, where=f"line {task.line}")
    return tasks


def _without_outputs(tasks: list[Task]) -> list[Task]:
    """Without what a pattern finds only because a row of this manifest wrote it."""
    outputs = {task.output: task for task in tasks}
    return [
        task
        for task in tasks
        if not task.matched or task.input not in outputs or outputs[task.input].input in outputs
    ]


def _tasks(manifest: Manifest, row: Row) -> list[Task]:
    fault = ""
    try:
        found = matches(row.input, manifest.folder)
    except ConverterError as error:
        found, fault = [], f"{error.what}: {error.hint}" if error.hint else error.what
    if not found:
        fault = fault or "no file has such a name"
        found = [row.input if is_remote(row.input) else local_path(row.input, manifest.folder)]
    matched = is_pattern(row.input, manifest.folder)
    return [_task(manifest, row, place, to, fault, matched=matched) for place in found for to in row.to]


def _task(manifest: Manifest, row: Row, place: str, to: str, fault: str, *, matched: bool) -> Task:
    name = place if is_remote(place) else os.path.relpath(place, manifest.folder)
    holes = {
        "stem": stem_of(place.partition("?")[0] if is_remote(place) else place),
        "folder": os.path.basename(os.path.dirname(place)),
        "to": to,
        "source": row.source,
    }
    if any(
        hole in (os.curdir, os.pardir) for hole in holes.values()
    ):  # what a store calls its files is its own
        fault = fault or "its name leads to another folder"
        holes = dict.fromkeys(holes, "unnamed")
    output = fill(row.output, holes)
    said = [name, row.source, to, row.sha256, dict(row.options)]
    spec = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    where = output if is_remote(output) else local_path(output, manifest.folder)
    return Task(output, row.line, row.source, place, to, where, row.sha256, row.options, spec, fault, matched)
