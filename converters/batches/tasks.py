"""The single conversions that a manifest's rows stand for. Only names are looked at, no file is opened."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from converters.checksums import sha256_of
from converters.conversion.output_names import fill, stem_of
from converters.errors import BadInput, ConverterError, UsageError
from converters.locations import is_remote
from converters.record import Record

from .manifest_keys import PATHS
from .storage import is_pattern, local_path, matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .manifest import Manifest, ManifestRow


class Task(Record):
    """One conversion.

    ``name`` is the output as the manifest spells it and unique in a batch; ``input`` and ``output`` are absolute
    paths or URLs; ``to`` is empty where the input's own default is meant. ``spec`` is a hash of all that the manifest
    asks for. ``fault`` says why it cannot be done at all; ``matched`` is whether a pattern found the input.
    """

    name: str
    line: int
    source: str
    input: str
    to: str
    output: str
    hash: Sequence[str]
    options: Mapping[str, Any]
    spec: str
    fault: str = ""
    matched: bool = False


def tasks_of(manifest: Manifest) -> list[Task]:
    """All conversions of a manifest, in order; a row without an input becomes a task with a fault.

    Raises `UsageError` if two tasks write one output, or one task writes another's input.
    """
    tasks: list[Task] = []
    for row in manifest.rows:
        tasks += _row_tasks(manifest, row)
    tasks = _without_outputs(tasks)
    writers: dict[str, Task] = {}
    for task in tasks:
        other = writers.setdefault(task.output.removesuffix(".index"), task)
        if other is not task:
            raise UsageError(
                f"two conversions write {task.name}",
                path=manifest.path,
                where=f"line {other.line} and line {task.line}",
                hint="{stem}, {folder} and {to} in the output distinguish them",
            )
    for task in tasks:
        if writer := writers.get(task.input.removesuffix(".index")):
            raise UsageError(
                f"{writer.name} is both an output and an input", path=manifest.path, where=f"line {task.line}"
            )
    return tasks


def _without_outputs(tasks: list[Task]) -> list[Task]:
    """The tasks, without inputs that a pattern matches only because an earlier run of this manifest wrote them."""
    outputs = {task.output: task for task in tasks}
    return [
        task
        for task in tasks
        if not task.matched or task.input not in outputs or outputs[task.input].input in outputs
    ]


def _row_tasks(manifest: Manifest, row: ManifestRow) -> list[Task]:
    fault = ""
    try:
        inputs = matches(row.input, manifest.folder)
    except ConverterError as error:
        inputs, fault = [], f"{error.told.what}: {error.told.hint}" if error.told.hint else error.told.what
    if not inputs:
        fault = fault or "no file matches"
        inputs = [row.input if is_remote(row.input) else local_path(row.input, manifest.folder)]
    matched = is_pattern(row.input, manifest.folder)
    return [_task(manifest, row, path, to, fault, matched=matched) for path in inputs for to in row.to]


def _task(manifest: Manifest, row: ManifestRow, path: str, to: str, fault: str, *, matched: bool) -> Task:
    name = path if is_remote(path) else os.path.relpath(path, manifest.folder)
    plain = path.partition("?")[0] if is_remote(path) else path  # a query may sign
    values = {
        "stem": stem_of(plain),
        "folder": os.path.basename(os.path.dirname(plain)),
        "to": to,
        "source": row.source,
    }
    if any(value in (os.curdir, os.pardir) for value in values.values()):  # a store may have such names
        fault = fault or "its name leads to another folder"
        values = dict.fromkeys(values, "unnamed")
    output = fill(row.output, values)
    request = [name, row.source, to, list(row.hash), dict(row.options)]
    paths = {key: local_path(row.options[key], manifest.folder) for key in PATHS if key in row.options}
    try:
        request += [sha256_of(paths["labels"])] if "labels" in paths else []
    except BadInput as error:
        fault = fault or f"the labels {row.options['labels']!r}: {error.told.what}"
    return Task(
        name=output,
        line=row.line,
        source=row.source,
        input=path,
        to=to,
        output=output if is_remote(output) else local_path(output, manifest.folder),
        hash=row.hash,
        options={**row.options, **paths},
        spec=sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16],
        fault=fault,
        matched=matched,
    )
