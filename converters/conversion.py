"""One conversion from end to end: open, fit, plan, write, check."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from .checkpoint import Checkpoint, open_checkpoint
from .errors import BadInput, ConverterError, Refused, UsageError
from .facts import Facts, facts_of
from .mapping.fit import Fit, fit
from .mapping.layout import families
from .mapping.tables import LayoutTable, layout_names, load_layout
from .ops import filled
from .plan import Plan, make_plan
from .provenance import dump, former, record, restoration, shift_of, undoing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .tensor import Tensor

FLOATS = ("float32", "float16", "bfloat16", "float64")
"""The dtypes that weights can be cast to."""

PTH = (".pth", ".pt", ".pth.tar", ".bin")
SAFETENSORS = (".safetensors",)
PICKLE = (".pkl", ".pickle")


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
    pool1: bool | None = None,
    stem_stride: int | None = None,
    wrap: bool = False,
    force: bool = False,
    verify: bool = False,
    strict: bool = False,
    sha256: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Convert a checkpoint file.

    ``source`` is the layout of the input (``"vmz"``; None or ``"auto"`` recognises it), ``to`` that of the
    output (default: the source's own default). The output's suffix chooses its format: ``.pth``, ``.pt`` or
    ``.safetensors``. ``dtype`` casts (``"float16"``). ``variant``, ``pool1`` and ``stem_stride`` decide what
    names and shapes cannot. ``wrap`` writes the ecosystem's own wrapper around the state dict. ``verify`` reads
    the output back and compares every tensor with the source; ``strict`` refuses NaN and Inf. ``sha256`` puts
    the input's hash into the provenance. ``progress`` is told (bytes done, bytes in all).

    Raises `ConverterError`: `Refused` where the conversion cannot be done, `BadInput` where the input cannot
    be read, `UsageError` where the call is wrong. The output appears whole or not at all.
    """
    path, out_path = os.fspath(input_path), os.fspath(output_path)
    started = perf_counter()
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is unknown", hint=f"one of {', '.join(FLOATS)}")
    _refuse_output_early(path, out_path, force=force, dry_run=dry_run)
    with open_checkpoint(path) as checkpoint:
        read = perf_counter()
        fitted = recognise(checkpoint, None if source == "auto" else source, variant=variant)
        target = choose_target(fitted, to)
        write_format = output_format(out_path, target)
        facts = facts_of(fitted, checkpoint.provenance, pool1=pool1, stem_stride=stem_stride)
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
        tensors = [row.tensor(checkpoint.tensors) for row in plan.rows]
        _refuse_lost(plan, checkpoint)
        if strict:
            _refuse_not_finite(tensors, path)
        described = facts._replace(bn_eps=eps)
        draft = record(
            fitted,
            plan,
            described,
            target,
            _source(checkpoint, fitted, sha256=sha256),
            restoration(plan, checkpoint.tensors),
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
        provenance, timings_after = _write(
            checkpoint,
            plan,
            tensors,
            target,
            draft,
            write_format,
            out_path,
            wrap=wrap,
            force=force,
            verify=verify,
            total=total,
            progress=progress,
        )
    return Result(
        path,
        out_path,
        described,
        fitted.layout.name,
        target.name,
        plan.rows,
        plan.dropped,
        plan.notes,
        provenance,
        total,
        {**timings, **timings_after},
        verify,
    )


def recognise(checkpoint: Checkpoint, layout: str | None, *, variant: str | None = None) -> Fit:
    """Fit a file with a named layout, or find the one it is in.

    Without a name the provenance decides, else every layout of the file's format is tried; where more than one
    fits, the one whose table ranks first. Raises `Refused` or `BadInput`.
    """
    path = checkpoint.file.path
    if layout is not None:
        table = _layout(layout)
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


def output_format(path: str, target: LayoutTable) -> str:
    """``pth``, ``safetensors`` or ``pickle``, by the output's suffix. Raises `UsageError`."""
    lower = path.lower()
    if target.format == "caffe2-pickle":
        if lower.endswith(PICKLE):
            return "pickle"
        raise UsageError(f"{target.title} are written as .pkl", path=path, hint="name the output so")
    if lower.endswith(PTH):
        return "pth"
    if lower.endswith(SAFETENSORS):
        return "safetensors"
    raise UsageError(
        "the output's name must end in .pth, .pt or .safetensors",
        path=path,
        hint="the suffix chooses the format",
    )


_FORMAT_WORDS = {"caffe2-pickle": "a Caffe2 pickle (.pkl)", "pytorch": "a PyTorch or safetensors file"}


def _other_source(checkpoint: Checkpoint) -> str:
    names = [name for name in layout_names() if load_layout(name).format == checkpoint.format]
    return (
        f"use `convert {names[0]} ...`" if len(names) == 1 else f"its layout may be one of {', '.join(names)}"
    )


def _layout(name: str) -> LayoutTable:
    if name not in layout_names():
        from difflib import get_close_matches

        near = get_close_matches(name, layout_names(), 1)
        raise UsageError(
            f"there is no layout {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(layout_names())}",
        )
    return load_layout(name)


def _refuse_output_early(path: str, out_path: str, *, force: bool, dry_run: bool) -> None:
    from .write.atomic import refuse_output, same_file

    if same_file(path, out_path):
        raise UsageError("input and output are the same file", path=out_path, hint="choose another output")
    if not dry_run:
        refuse_output(out_path, force=force)


def _source(checkpoint: Checkpoint, fitted: Fit, *, sha256: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": os.path.basename(checkpoint.file.path),
        "size": checkpoint.file.size,
        "layout": fitted.layout.name,
        "format": checkpoint.format,
        "container": checkpoint.container,
        "scope": fitted.scope,
        **checkpoint.details,
    }
    earlier = (checkpoint.provenance or {}).get("source")
    if earlier is not None:
        described["converted_from"] = earlier
    if sha256:
        described["sha256"] = _sha256(checkpoint)
    return described


def _sha256(checkpoint: Checkpoint) -> str:
    from hashlib import sha256

    digest = sha256()
    for chunk in checkpoint.file.chunks(0, checkpoint.file.size):
        digest.update(chunk)
    return digest.hexdigest()


def _write(
    checkpoint: Checkpoint,
    plan: Plan,
    tensors: Sequence[Tensor],
    target: LayoutTable,
    draft: dict[str, Any],
    write_format: str,
    out_path: str,
    *,
    wrap: bool,
    force: bool,
    verify: bool,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write, check and rename; returns the final provenance and timings."""
    from .write.atomic import replacing
    from .write.crc import crc32_function

    crc = crc32_function()
    final: dict[str, Any] = {}
    times = {"start": perf_counter()}

    def complete(crcs: list[int]) -> str:
        final.clear()
        final.update(draft)
        # safetensors asks before the data too, with zeros, to know how long the record will be
        sums = _source_crcs(checkpoint, plan, crcs, crc) if any(crcs) else _no_crcs(plan)
        final["source"] = {**draft["source"], "crc32": sums}
        return dump(final)

    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    def check(temporary: str) -> None:
        times["written"] = perf_counter()
        try:
            _check_output(temporary, plan, checkpoint, verify=verify)
        except ConverterError as error:
            raise Refused(
                f"read back, the output {error.what}", path=out_path, where=error.where, hint=error.hint
            ) from None
        times["checked"] = perf_counter()

    with replacing(out_path, force=force, check=check) as out:
        if write_format == "pth":
            from .write.pth import write_pth

            write_pth(
                out,
                tensors,
                crc=crc,
                progress=moved if progress else None,
                records=lambda crcs: {"provenance.json": complete(crcs).encode()},
                wrap=_wrapper(target, draft) if wrap else None,
            )
        elif write_format == "safetensors":
            from .write.safetensors import write_safetensors

            if wrap:
                raise UsageError(
                    "a .safetensors file has no wrapper", path=out_path, hint="write a .pth with --wrap"
                )
            write_safetensors(
                out,
                tensors,
                crc=crc,
                progress=moved if progress else None,
                metadata=lambda crcs: {"format": "pt", "provenance": complete(crcs)},
            )
        else:
            from .write.caffe2 import write_caffe2_pickle

            if wrap:
                raise UsageError("a Caffe2 pickle has no wrapper", path=out_path, hint="leave --wrap out")
            nested = (draft["source"].get("converted_from") or {}).get("nested", True)
            write_caffe2_pickle(out, tensors, nested=nested)
            final.update(draft)
    ended = perf_counter()
    written, checked = times.get("written", ended), times.get("checked", ended)
    return final, {"write": written - times["start"], "check": checked - written, "finish": ended - checked}


def _wrapper(target: LayoutTable, draft: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What an ecosystem expects beside the state dict, as plain data; None where its files are bare."""
    if target.container == "mmcv":
        return {"meta": {"converted_by": f"{draft['tool']['name']} {draft['tool']['version']}"}}
    return None


def _source_crcs(
    checkpoint: Checkpoint, plan: Plan, crcs: Sequence[int], crc: Callable[[Any, int], int]
) -> dict[str, str]:
    """CRC-32 of every source tensor's bytes (little-endian, C order): the written one where the bytes are the
    same, else computed."""
    out: dict[str, str] = {}
    for row, written in zip(plan.rows, crcs, strict=True):
        if row.source is None:
            continue
        value = written
        if not all(op.keeps_bytes for op in row.ops):
            value = 0
            for chunk in checkpoint.tensors[row.source].data.chunks():
                value = crc(chunk, value)
        out[row.source] = f"{value:08x}"
    return out


def _no_crcs(plan: Plan) -> dict[str, str]:
    return {row.source: "0" * 8 for row in plan.rows if row.source is not None}


def _check_output(temporary: str, plan: Plan, checkpoint: Checkpoint, *, verify: bool) -> None:
    """Open what was written and compare names, shapes and dtypes with the plan; with ``verify`` every byte."""
    with open_checkpoint(temporary) as written:
        expected = {row.target: (row.dtype, row.shape) for row in plan.rows}
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in written.tensors.items()}
        if expected != found:
            raise Refused("differs from the plan", hint="please report this; nothing was kept")
        if verify:
            for row in plan.rows:
                for wanted, got in _pairs(row.tensor(checkpoint.tensors), written.tensors[row.target]):
                    if wanted != got:
                        raise Refused(
                            "differs from the source", where=row.target, hint="check disk and memory"
                        )


def _pairs(one: Tensor, other: Tensor) -> Any:
    """Both tensors' bytes in pieces of equal length, the last pair unequal if one is longer."""
    left, right = b"", b""
    ones, others = one.data.chunks(), other.data.chunks()
    while True:
        left = left or bytes(next(ones, b""))
        right = right or bytes(next(others, b""))
        size = min(len(left), len(right))
        if size == 0:
            yield left, right
            return
        yield left[:size], right[:size]
        left, right = left[size:], right[size:]


def _refuse_lost(plan: Plan, checkpoint: Checkpoint) -> None:
    """Refuse a target that does not store a tensor whose values it cannot imply."""
    for name, value in plan.implied:
        tensor = checkpoint.tensors[name]
        if tensor.tobytes() != filled(name, tensor.dtype, tensor.shape, value).tobytes():
            raise Refused(
                f"the target stores no such tensor and takes it for {value:g} everywhere",
                where=name,
                path=checkpoint.file.path,
                hint="choose another layout with --to",
            )


def _refuse_not_finite(tensors: Sequence[Tensor], path: str) -> None:
    from .statistics import not_finite

    bad = [tensor.name for tensor in tensors if tensor.dtype in FLOATS and not_finite(tensor)]
    if bad:
        raise BadInput(
            f"{len(bad)} tensors hold NaN or Inf",
            path=path,
            where=", ".join(bad[:3]),
            faults=tuple(bad),
            hint="leave --strict out to convert them as they are",
        )
