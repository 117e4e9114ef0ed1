"""Convert by a mapping file of the user's own."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

from converters.errors import UsageError
from converters.formats.registry import format_named
from converters.locations import without_credentials
from converters.printable import printable

from .by_user_mapping import mapped_plan, mapped_record, match, open_mapping
from .execute import execute, open_input, output_of
from .notes import UNCHECKED
from .provenance import describe_source
from .result import Result
from .write import refuse_input

if TYPE_CHECKING:
    from converters.mapping.user_mapping import Side

    from .options import MappingFile, Request
    from .plan import Plan


def convert_by_mapping(file: MappingFile, request: Request) -> Result:
    """Do what is asked, by a mapping file. Raises as `convert` does."""
    path, output_path = request.input, request.output
    read, write = request.read, request.write
    started = perf_counter()
    mapping = open_mapping(file.path, reverse=file.reverse, accept_unsure=file.accept_unsure)
    refuse_input(file.path, output_path)
    output = output_of(output_path, _writable(mapping.right, output_path), wrap=write.wrap)
    with open_input(path, output_path, read) as checkpoint:
        opened = perf_counter()
        matched = match(mapping, checkpoint.tensors, checkpoint.other_values)
        plan = mapped_plan(
            matched, checkpoint.tensors, dtype=write.dtype, path=checkpoint.path, record=checkpoint.provenance
        )
        notes = list(plan.notes)
        if mapping.accepted_rows:
            notes.append("rows of the mapping that nobody has confirmed were used")
        if not read.checksum:
            notes.append(UNCHECKED)

        def describe(plan: Plan) -> dict[str, Any]:
            source = describe_source(checkpoint, None, sha256=read.sha256 and not write.dry_run)
            return mapped_record(matched, plan, source, checkpoint.tensors, dry_run=write.dry_run)

        name = printable(os.path.basename(file.path))
        result = Result(
            source=without_credentials(path),
            output=None,
            info=None,
            layout=f"{name} [{mapping.left.name}]",
            target=f"{name} [{mapping.right.name}]",
            timings={"read": opened - started, "plan": perf_counter() - opened},
        )
        return execute(checkpoint, plan.replace(notes=tuple(notes)), output, describe, write, result)


def _writable(side: Side, path: str) -> Side:
    """The side that is written. An ONNX model's names come in a PyTorch file. Raises `UsageError` for a model."""
    if side.format != "onnx":
        return side
    if path.lower().endswith(format_named("onnx").suffixes):
        raise UsageError(
            "a mapping file has no network, which an ONNX model needs",
            path=path,
            hint="write the model's names to a .safetensors or .pth",
        )
    return side.replace(format="pytorch")
