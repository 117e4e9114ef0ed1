"""Carry out a plan: check the input's values, make the record, write the output."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import UsageError
from converters.formats.open import open_checkpoint

from .output_format import output_format
from .values import refuse_lost, refuse_unequal, with_finite_note
from .write import Work, refuse_early, refuse_input, wrapper_of, write_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.formats.checkpoint import Checkpoint
    from converters.formats.format import Wrapper

    from .options import ReadOptions, WriteOptions
    from .output_format import Target
    from .plan import Plan
    from .result import Result


class Output(NamedTuple):
    """Where an output goes, in which file format (its name), with whose names, and what is around its state dict."""

    path: str
    format: str
    target: Target
    wrapper: Wrapper | None


def open_input(path: str, output_path: str, options: ReadOptions) -> Checkpoint:
    """Open the input. Raises `UsageError` if the output is one of its files, `BadInput` if it cannot be read."""
    checkpoint = open_checkpoint(path, checksum=options.checksum, entry=options.entry)
    try:
        for file in checkpoint.files:
            refuse_input(file.path, output_path)
    except UsageError:
        checkpoint.close()
        raise
    return checkpoint


def refuse_paths(path: str, output_path: str, *, force: bool) -> None:
    """Raise before any work if the output is the input or cannot be written."""
    refuse_input(path, output_path)
    refuse_early(output_path, force=force)


def output_of(path: str, target: Target, *, wrap: bool) -> Output:
    """The output at ``path``. Raises `UsageError` for an unknown suffix, or a wrapper that the format does not have."""
    return Output(path, output_format(path, target), target, wrapper_of(path, target, wrap=wrap))


def execute(
    checkpoint: Checkpoint,
    plan: Plan,
    output: Output,
    describe: Callable[[Plan], dict[str, Any]],
    options: WriteOptions,
    result: Result,
) -> Result:
    """Do what a plan says. ``describe`` makes the provenance record.

    Returns ``result``, completed. Raises as `convert` does.
    """
    started = perf_counter()
    tensors = [row.tensor(checkpoint.tensors) for row in plan.rows]
    if not options.dry_run:
        refuse_unequal(plan, checkpoint)
        refuse_lost(plan, checkpoint)
        if options.strict or options.check:
            plan = with_finite_note(plan, checkpoint, strict=options.strict)
    draft = describe(plan)
    timings = {**result.timings, "plan": result.timings["plan"] + perf_counter() - started}
    result = result.replace(
        rows=plan.rows,
        dropped=plan.dropped,
        told=plan.notes,
        provenance=draft,
        nbytes=sum(tensor.nbytes for tensor in tensors),
        timings=timings,
    )
    if options.dry_run:
        return result
    written = write_output(
        output.path,
        output.format,
        Work(
            checkpoint=checkpoint,
            plan=plan,
            tensors=tensors,
            target=output.target,
            draft=draft,
            wrapper=output.wrapper,
        ),
        options,
    )
    return result.replace(
        output=output.path,
        provenance=written.provenance,
        timings={**timings, **written.timings},
        checked=options.check,
        checksums=written.checksums,
    )
