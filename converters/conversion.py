"""One conversion from end to end: open, fit, plan, write, check."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from .checkpoint import Checkpoint, open_checkpoint
from .errors import BadInput, Refused, UsageError
from .facts import Facts, facts_of
from .mapping.fit import Fit, fit, inverted
from .mapping.layout import families
from .mapping.tables import LayoutTable, layout_names, load_layout
from .ops import filled
from .output import Work, output_format, refuse_early, refuse_input, write_output
from .plan import Plan, make_plan
from .provenance import former, origin_of, record, restoration, shift_of, undoing
from .tensor import FLOATS
from .text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .tensor import Tensor


class Result(NamedTuple):
    """What a conversion did.

    ``rows`` say which tensor became which, ``dropped`` which the mapping left out by name, ``notes`` what a
    user of the output must know, ``timings`` how long each step took, in seconds. ``output`` is None for a dry
    run; ``verified`` tells that every tensor was read back and compared.
    """

    source: str
    output: str | None
    facts: Facts
    layout: str
    target: str
    rows: tuple[Any, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    nbytes: int
    timings: Mapping[str, float]
    verified: bool = False

    def as_data(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return {
            "source": self.source,
            "output": self.output,
            "layout": self.layout,
            "target": self.target,
            "network": self.facts.as_data(),
            "tensors": len(self.rows),
            "bytes": self.nbytes,
            "rows": [
                {
                    "source": row.source,
                    "target": row.target,
                    "dtype": row.dtype,
                    "shape": list(row.shape),
                    "operations": [op.describe() for op in row.ops],
                }
                for row in self.rows
            ],
            "dropped": list(self.dropped),
            "notes": list(self.notes),
            "verified": self.verified,
            "timings": dict(self.timings),
        }


def convert(
    source: str | None,
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    to: str | None = None,
    dtype: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    pool1: bool | None = None,
    stem_stride: int | None = None,
    inverse_std: bool = False,
    mean: str | os.PathLike[str] | None = None,
    wrap: bool = False,
    force: bool = False,
    verify: bool = False,
    strict: bool = False,
    sha256: bool = False,
    checksum: bool = True,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Convert a checkpoint file.

    ``source`` is the layout of the input (``"vmz"``; None or ``"auto"`` recognises it), ``to`` that of the
    output (default: the source's own default). The output's suffix chooses its format: ``.pth``, ``.pt`` or
    ``.safetensors``. ``dtype`` casts (``"float16"``). ``variant``, ``pool1`` and ``stem_stride`` decide what
    names and shapes cannot; ``inverse_std`` says that the file has inverse standard deviations for variances, as
    TSN's may. ``entry`` is the path of a state dict in a PyTorch file (``"ema_state_dict"``), where not the plain
    weights are wanted. ``mean`` is the mean file that goes with the weights: its shape, checksum and channels' means go
    into the provenance. ``wrap`` writes the ecosystem's own wrapper around the state dict. ``verify`` reads
    the output back and compares every tensor with the source; ``strict`` refuses NaN and Inf. ``sha256`` puts
    the input's hash into the provenance; without ``checksum`` those in the input are not compared. ``progress``
    is told (bytes done, bytes in all).

    Raises `ConverterError`: `Refused` where the conversion cannot be done, `BadInput` where the input cannot
    be read, `UsageError` where the call is wrong. The output appears whole or not at all.
    """
    path, out_path = os.fspath(input_path), os.fspath(output_path)
    started = perf_counter()
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is unknown", hint=f"one of {', '.join(FLOATS)}")
    refuse_input(path, out_path)
    refuse_early(out_path, force=force)
    with open_checkpoint(path, checksum=checksum, entry=entry) as checkpoint:
        for file in checkpoint.files:
            refuse_input(file.path, out_path)
        read = perf_counter()
        fitted = recognise(checkpoint, None if source == "auto" else source, variant=variant)
        if inverse_std:
            fitted = inverted(fitted)
        target = choose_target(fitted, to)
        write_format = output_format(out_path, target)
        if wrap and write_format != "pth":
            raise UsageError("only a .pth has a wrapper", path=out_path, hint="leave --wrap out")
        facts = facts_of(fitted, checkpoint.provenance, pool1=pool1, stem_stride=stem_stride)
        if mean is not None:
            facts = _with_mean(facts, mean)
        undo = undoing(checkpoint.provenance, checkpoint.tensors)
        # Variances come back to what they were before they move to the target's eps.
        before = shift_of(checkpoint.provenance) if undo else 0.0
        own = facts._replace(bn_eps=facts.bn_eps + before)
        wanted = target.eps(fitted.variant.name)
        eps = own.bn_eps if wanted is None else wanted
        plan = make_plan(
            fitted,
            checkpoint.tensors,
            target,
            own,
            eps=eps,
            dtype=dtype,
            undo=undo,
            former=former(checkpoint.provenance, target.name),
            path=path,
        )
        plan = plan._replace(notes=(*plan.notes, *_notes(checkpoint, fitted, target, facts, checksum, wrap)))
        # What a record of checksums is written for is compared with them then, at no cost.
        free = write_format in ("pth", "safetensors") and not strict
        sources = checkpoint.tensors if free else checkpoint.checked()
        tensors = [row.tensor(sources) for row in plan.rows]
        _refuse_lost(plan, checkpoint)
        if (strict or verify) and (bad := _not_finite(list(checkpoint.tensors.values()))):
            what = f"{len(bad)} tensor{'s hold' if len(bad) > 1 else ' holds'} NaN or Inf"
            where = ", ".join(bad[:3])
            if strict:
                hint = "leave --strict out to convert them as they are"
                raise BadInput(what, path=path, where=where, faults=tuple(bad), hint=hint)
            plan = plan._replace(notes=(*plan.notes, f"{what}: {where}"))
        described = facts._replace(bn_eps=eps)
        draft = record(
            fitted,
            plan,
            described,
            target,
            _source(checkpoint, fitted, sha256=sha256),
            restoration(plan, checkpoint.tensors),
            origin_of(
                fitted, checkpoint.tensors, plan, own.bn_eps, checkpoint.details, checkpoint.provenance
            ),
        )
        planned = perf_counter()
        timings = {"read": read - started, "plan": planned - read}
        total = sum(tensor.nbytes for tensor in tensors)
        result = Result(
            path,
            None,
            described,
            fitted.layout.name,
            target.name,
            plan.rows,
            plan.dropped,
            plan.notes,
            draft,
            total,
            timings,
        )
        if dry_run:
            return result
        written = write_output(
            out_path,
            write_format,
            Work(checkpoint, plan, tensors, target, draft, wrap),
            force=force,
            verify=verify,
            progress=progress,
        )
    return result._replace(
        output=out_path,
        provenance=written.provenance,
        timings={**timings, **written.timings},
        verified=verify,
    )


def recognise(checkpoint: Checkpoint, layout: str | None, *, variant: str | None = None) -> Fit:
    """Fit a file with a named layout, or find the one it is in.

    Without a name the provenance decides, else every layout of the file's format is tried; where more than one
    fits, the one whose table ranks first. Raises `Refused` or `BadInput`.
    """
    path = checkpoint.path
    if layout is not None:
        table = _layout(layout)
        if table.format != checkpoint.format:
            also = (load_layout(name) for name in table.also)
            table = next((other for other in also if other.format == checkpoint.format), table)
        if table.format != checkpoint.format:
            raise BadInput(
                f"is a {checkpoint.container}; {table.title} comes as {_FORMAT_WORDS[table.format]}",
                path=path,
                hint=_other_source(checkpoint),
            )
        return fit(table, checkpoint.tensors, checkpoint.others, variant=variant, path=path)
    told = (checkpoint.provenance or {}).get("layout")
    if isinstance(told, str) and told in layout_names():
        return recognise(checkpoint, told, variant=variant)
    found: list[Fit] = []
    refusals: list[Refused] = []
    for name in layout_names():
        table = load_layout(name)
        if table.format == checkpoint.format:
            try:
                found.append(fit(table, checkpoint.tensors, checkpoint.others, variant=variant, path=path))
            except Refused as error:
                refusals.append(error)
    if not found:
        nearest = max(refusals, key=lambda error: -len(error.faults) if error.faults else float("-inf"))
        if nearest.faults:
            raise nearest
        raise Refused(
            "is no network that is known here",
            path=path,
            hint="`convert models` shows what is; `convert inspect` what the file holds",
        )
    return min(found, key=lambda one: (one.layout.rank, one.layout.name))


def choose_target(fitted: Fit, to: str | None) -> LayoutTable:
    """The layout to write: the one asked for, else the first of the source's defaults that holds the network."""
    if to is not None:
        return _layout(to)
    for name in fitted.layout.to:
        table = load_layout(name)
        if fitted.variant.family in families(table) and not table.holding(fitted.variant.name).refuse:
            return table
    raise Refused(f"no default layout holds {fitted.variant.title}", hint="choose one with --to")


_FORMAT_WORDS = {
    "caffe2-pickle": "a Caffe2 pickle (.pkl)",
    "pytorch": "a PyTorch or safetensors file",
    "tensorflow": "a TensorFlow checkpoint",
    "caffe": "a Caffe model (.caffemodel)",
    "chainer": "a Chainer file (.npz or .h5)",
}


def _other_source(checkpoint: Checkpoint) -> str:
    names = [name for name in layout_names() if load_layout(name).format == checkpoint.format]
    return (
        f"use `convert {names[0]} ...`" if len(names) == 1 else f"its layout may be one of {', '.join(names)}"
    )


def _with_mean(facts: Facts, path: str | os.PathLike[str]) -> Facts:
    """The facts with those of a mean file."""
    if "mean_cube" not in facts.input:
        raise UsageError(f"{facts.title} takes no mean cube", hint="leave --mean out")
    from .mean import convert_mean

    found = convert_mean(path, None)
    told = {
        "name": shown(os.path.basename(found.source)),
        "shape": list(found.shape),
        "means": list(found.means),
        "crc32": found.crc32,
    }
    return facts._replace(input={**facts.input, "mean_file": told})


def _layout(name: str) -> LayoutTable:
    if name not in layout_names():
        from difflib import get_close_matches

        near = get_close_matches(name, layout_names(), 1)
        raise UsageError(
            f"there is no layout {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(layout_names())}",
        )
    return load_layout(name)


def _source(checkpoint: Checkpoint, fitted: Fit, *, sha256: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": shown(os.path.basename(checkpoint.path)),
        "size": checkpoint.size,
        "layout": fitted.layout.name,
        "format": checkpoint.format,
        "container": checkpoint.container,
        "scope": fitted.scope,
        **checkpoint.details,
    }
    if any(entry.stored.inverse for entry in fitted.entries):
        described["inverse_std"] = True
    earlier = (checkpoint.provenance or {}).get("source")
    if earlier is not None:
        described["converted_from"] = earlier
    if sha256:
        described["sha256"] = _sha256(checkpoint)
    return described


def _sha256(checkpoint: Checkpoint) -> str:
    from hashlib import sha256

    digest = sha256()
    for file in checkpoint.files:
        for chunk in file.chunks(0, file.size):
            digest.update(chunk)
    return digest.hexdigest()


def _notes(
    checkpoint: Checkpoint, fitted: Fit, target: LayoutTable, facts: Facts, checksum: bool, wrap: bool
) -> Iterator[str]:
    """What a user must know beside what the plan says."""
    if not checksum:
        yield "the input's own checksums were not verified"
    if any(entry.stored.inverse for entry in fitted.entries):
        yield "the file's variances were read as inverse standard deviations, as told (--inverse-std)"
    beside = checkpoint.details.get("beside")
    if beside:
        which = checkpoint.details["wrapper"] or "itself"
        yield f"the weights are those in {which}; beside them are {', '.join(beside)} (--entry takes another)"
    if wrap and target.container == "state_dict":
        yield f"{target.title} files are bare state dicts: there is no wrapper to add"
    usual = fitted.variant.values.get("stem_t")
    frames = fitted.bound.get("stem_t")
    if usual and len(usual) == 2 and frames != usual[0]:
        yield (
            f"the stem's kernel spans {frames} frames; its stride in time, which no weight shows, is taken for "
            f"{facts.stem_stride} (--stem-stride)"
        )


def _not_finite(tensors: Sequence[Tensor]) -> list[str]:
    """The names of tensors that hold NaN or Inf. Reads them all."""
    from .statistics import not_finite

    return [tensor.name for tensor in tensors if tensor.dtype in FLOATS and not_finite(tensor)]


def _refuse_lost(plan: Plan, checkpoint: Checkpoint) -> None:
    """Refuse a target that does not store a tensor whose values it cannot imply."""
    for name, value in plan.implied:
        tensor = checkpoint.tensors[name]
        if tensor.tobytes() != filled(name, tensor.dtype, tensor.shape, value).tobytes():
            raise Refused(
                f"the target stores no such tensor and takes it for {value:g} everywhere",
                where=name,
                path=checkpoint.path,
                hint="choose another layout with --to",
            )
