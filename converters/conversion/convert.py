"""One conversion from end to end: open, fit, plan, write, check."""

from __future__ import annotations

import os
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.errors import BadInput, Refused, UsageError
from converters.formats.open import open_checkpoint
from converters.formats.registry import format_named
from converters.mapping.file_names import averaged_names
from converters.mapping.variants import own_eps
from converters.printable import printable
from converters.tensor import FLOATS

from .identify import UserHints, identify
from .operations import filled
from .plan import NOTHING, Plan, make_plan
from .provenance import FORM, before, former, home_of, origin_of, record, restoration, undoing
from .recognize import choose_target
from .write import Work, output_format, refuse_early, refuse_input, write_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.tensor import Tensor

    from .write import Target


UNCHECKED = "the input's own checksums were not verified"


class Result(NamedTuple):
    """What a conversion did.

    ``rows`` say which tensor became which, ``dropped`` which the mapping left out by name, ``notes`` what a
    user of the output must know, ``timings`` how long each step took, in seconds. ``output`` is None for a dry
    run; ``checked`` tells that every tensor was read back and compared. ``info`` is None where a mapping of the
    user's own was used: it knows names, no network.
    """

    source: str
    output: str | None
    info: NetworkInfo | None
    layout: str
    target: str
    rows: tuple[Any, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = MappingProxyType({})
    nbytes: int = 0
    timings: Mapping[str, float] = MappingProxyType({})
    checked: bool = False

    def as_data(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return {
            "source": self.source,
            "output": self.output,
            "layout": self.layout,
            "target": self.target,
            "network": self.info.as_data() if self.info else None,
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
            "checked": self.checked,
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
    head: str | None = None,
    backbone: bool = False,
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
    mean: str | os.PathLike[str] | None = None,
    wrap: bool = False,
    force: bool = False,
    check: bool = False,
    strict: bool = False,
    sha256: bool = False,
    checksum: bool = True,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
    mapping: str | os.PathLike[str] | None = None,
    reverse: bool = False,
    accept_unsure: bool = False,
) -> Result:
    """Convert a checkpoint file.

    ``source`` is the layout of the input (``"vmz"``; None or ``"auto"`` recognises it, ``"onnx"`` that of an
    ONNX model), ``to`` that of the output (default: the source's own default). The output's suffix chooses its
    format: ``.pth``, ``.pt`` or ``.safetensors``, ``.onnx`` for the source framework's own network with its
    weights (``to="onnx"`` says the same). ``dtype`` casts (``"float16"``). ``variant`` and ``settings``
    (``{"pool1": True}``) decide what names and shapes cannot; ``inverse_std`` says that the file has inverse standard
    deviations for variances, as TSN's may. ``entry`` is the path of a state dict in a PyTorch file
    (``"ema_state_dict"``), where not the plain weights are wanted; ``head`` is what the file calls the last
    layer where that is not the layout's name. ``backbone`` leaves the head out. ``mean`` is the mean file that
    goes with the weights: its shape, checksum and channels' means go into the provenance. ``wrap`` writes the
    ecosystem's own wrapper around the state dict. ``check`` reads the output back and compares every tensor
    with the source; ``strict`` refuses NaN and Inf. ``sha256`` puts the input's hash into the provenance;
    without ``checksum`` those in the input are not compared. ``progress`` is told (bytes done, bytes in all).

    ``mapping`` is a mapping file of the user's own, in place of ``source`` and ``to``; ``reverse`` reads it from
    right to left, ``accept_unsure`` takes rows in it that nobody has confirmed.

    Raises `ConverterError`: `Refused` where the conversion cannot be done, `BadInput` where the input cannot
    be read, `UsageError` where the call is wrong. The output appears whole or not at all.
    """
    path, out_path = os.fspath(input_path), os.fspath(output_path)
    started = perf_counter()
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is unknown", hint=f"one of {', '.join(FLOATS)}")
    refuse_input(path, out_path)
    refuse_early(out_path, force=force)
    if mapping is not None:
        if source not in (None, "auto") or any(
            one is not None
            for one in (to, variant, head, mean, settings or None, inverse_std or None, backbone or None)
        ):
            raise UsageError(
                "a mapping knows names alone", hint="leave out the layout, --to and what is of a network"
            )
        wish = WriteOptions(out_path, "", wrap, force, check, strict, dry_run, progress)
        use = UserMappingUse(os.fspath(mapping), reverse, accept_unsure)
        return _convert_mapped(path, use, wish, dtype=dtype, sha256=sha256, checksum=checksum, entry=entry)
    if reverse or accept_unsure:
        raise UsageError("only a mapping can be read so", hint="name it with --mapping")
    with open_checkpoint(path, checksum=checksum, entry=entry) as checkpoint:
        for file in checkpoint.files:
            refuse_input(file.path, out_path)
        read = perf_counter()
        said = UserHints(variant, variant, head, settings, inverse_std)
        _, fitted, info = identify(checkpoint, None if source == "auto" else source, said, backbone=backbone)
        if to is None and out_path.lower().endswith(format_named("onnx").suffixes):
            to = "onnx"
        target = choose_target(fitted, to, checkpoint.provenance)
        if not (target.storage.head_optional or fitted.sizes["classes"]):
            raise Refused(
                f"{target.title} files have a head", path=path, hint="choose another layout with --to"
            )
        if backbone and target.naming.backbone:
            target = target.without_backbone()
        write_format = chosen_format(out_path, target, wrap)
        if mean is not None:
            info = _with_mean(info, mean)
        undo = undoing(checkpoint.provenance, checkpoint.tensors)
        # What a former conversion moved comes back before anything moves to where the target has it.
        own = before(info, checkpoint.provenance, undo)
        wanted = own_eps(target, fitted.variant)
        eps = own.bn_eps if wanted is None else wanted
        begun = former(checkpoint.provenance, target.name)
        if write_format == "onnx" and not checkpoint.provenance:
            # The source's arrays as they are, under its own names.
            first = origin_of(fitted, checkpoint.tensors, NOTHING, own.bn_eps, {}, None, dry_run=dry_run)
            begun = former({"origin": first}, target.name)
        plan = make_plan(
            fitted,
            checkpoint.tensors,
            target,
            own,
            eps=eps,
            dtype=dtype,
            undo=undo,
            former=begun,
            home=home_of(checkpoint.provenance),
            path=path,
        )
        if plan.eps_shift and not checkpoint.provenance and own_eps(fitted.layout, fitted.variant) is None:
            plan = plan._replace(
                notes=(*plan.notes, f"no layout says these weights' eps: taken for {info.bn_eps:g}")
            )
        plan = plan._replace(notes=(*plan.notes, *_notes(checkpoint, fitted, target, info, checksum, wrap)))

        described = info._replace(settings=plan.settings)

        def describe(plan: Plan) -> dict[str, Any]:
            return record(
                fitted,
                plan,
                described,
                target,
                source_of(
                    checkpoint,
                    fitted.layout.name,
                    fitted.prefix,
                    sha256=sha256,
                    inverse_std=_is_inverse(fitted),
                ),
                restoration(plan, checkpoint.tensors, dry_run=dry_run),
                origin_of(
                    fitted,
                    checkpoint.tensors,
                    plan,
                    own.bn_eps,
                    checkpoint.details,
                    checkpoint.provenance,
                    dry_run=dry_run,
                ),
            )

        return carry_out(
            checkpoint,
            plan,
            target,
            describe,
            WriteOptions(out_path, write_format, wrap, force, check, strict, dry_run, progress),
            Result(
                path,
                None,
                described,
                fitted.layout.name,
                target.name,
                timings={"read": read - started, "plan": perf_counter() - read},
            ),
        )


class UserMappingUse(NamedTuple):
    """Which mapping file, and how it is to be read; see `convert`."""

    path: str
    reverse: bool
    accept_unsure: bool


class WriteOptions(NamedTuple):
    """How an output is wanted; see `convert`. ``format`` is the name of a file format."""

    path: str
    format: str
    wrap: bool
    force: bool
    check: bool
    strict: bool
    dry_run: bool
    progress: Callable[[int, int], None] | None


def _convert_mapped(
    path: str,
    use: UserMappingUse,
    wish: WriteOptions,
    *,
    dtype: str | None,
    sha256: bool,
    checksum: bool,
    entry: str | None,
) -> Result:
    """Convert by a mapping file of the user's own."""
    from .by_user_mapping import mapped_plan, mapped_record, match, open_mapping

    started = perf_counter()
    mapping = open_mapping(use.path, reverse=use.reverse, accept_unsure=use.accept_unsure)
    refuse_input(use.path, wish.path)
    wish = wish._replace(format=chosen_format(wish.path, mapping.right, wish.wrap))
    with open_checkpoint(path, checksum=checksum, entry=entry) as checkpoint:
        for file in checkpoint.files:
            refuse_input(file.path, wish.path)
        read = perf_counter()
        found = match(mapping, checkpoint.tensors, checkpoint.other_values)
        plan = mapped_plan(found, checkpoint.tensors, dtype=dtype, path=path)
        if use.accept_unsure:
            plan = plan._replace(
                notes=(*plan.notes, "rows of the mapping that nobody has confirmed were taken")
            )
        if not checksum:
            plan = plan._replace(notes=(*plan.notes, UNCHECKED))
        name = printable(os.path.basename(use.path))

        def describe(plan: Plan) -> dict[str, Any]:
            return mapped_record(
                found, plan, source_of(checkpoint, "", "", sha256=sha256), checkpoint.tensors
            )

        timings = {"read": read - started, "plan": perf_counter() - read}
        sides = (f"{name} [{mapping.left.name}]", f"{name} [{mapping.right.name}]")
        return carry_out(
            checkpoint, plan, mapping.right, describe, wish, Result(path, None, None, *sides, timings=timings)
        )


def chosen_format(path: str, target: Target, wrap: bool) -> str:
    """The format of an output, see `output_format`. Raises `UsageError`, too for a wrapper that it has not."""
    found = output_format(path, target)
    if wrap and found != "pth":
        raise UsageError("only a .pth has a wrapper", path=path, hint="leave --wrap out")
    return found


def carry_out(
    checkpoint: Checkpoint,
    plan: Plan,
    target: Target,
    describe: Callable[[Plan], dict[str, Any]],
    wish: WriteOptions,
    result: Result,
) -> Result:
    """Do what a plan says: the checks of the input's values, the record that ``describe`` makes, the output.

    Returns ``result`` with all that is known then. Raises as `convert` does.
    """
    started = perf_counter()
    tensors = [row.tensor(checkpoint.tensors) for row in plan.rows]
    if not wish.dry_run:
        _refuse_lost(plan, checkpoint)
        if wish.strict or wish.check:
            plan = _with_values(plan, checkpoint, strict=wish.strict)
    draft = describe(plan)
    timings = {**result.timings, "plan": result.timings["plan"] + perf_counter() - started}
    result = result._replace(
        rows=plan.rows,
        dropped=plan.dropped,
        notes=plan.notes,
        provenance=draft,
        nbytes=sum(tensor.nbytes for tensor in tensors),
        timings=timings,
    )
    if wish.dry_run:
        return result
    written = write_output(
        wish.path,
        wish.format,
        Work(checkpoint, plan, tensors, target, draft, wish.wrap),
        force=wish.force,
        check=wish.check,
        progress=wish.progress,
    )
    return result._replace(
        output=wish.path,
        provenance=written.provenance,
        timings={**timings, **written.timings},
        checked=wish.check,
    )


def _with_mean(info: NetworkInfo, path: str | os.PathLike[str]) -> NetworkInfo:
    """The facts with those of a mean file."""
    if "mean_cube" not in info.input:
        raise UsageError(f"{info.title} takes no mean cube", hint="leave --mean out")
    from .mean import convert_mean

    found = convert_mean(path, None)
    told = {
        "name": printable(os.path.basename(found.source)),
        "shape": list(found.shape),
        "means": list(found.means),
        "crc32": found.crc32,
    }
    return info._replace(input={**info.input, "mean_file": told})


def source_of(
    checkpoint: Checkpoint, layout: str, scope: str, *, sha256: bool, inverse_std: bool = False
) -> dict[str, Any]:
    """An input as its output's record describes it."""
    described: dict[str, Any] = {
        "name": printable(os.path.basename(checkpoint.path)),
        "size": checkpoint.size,
        "layout": layout,
        "format": checkpoint.format,
        "container": checkpoint.container,
        "scope": scope,
        **{key: value for key, value in checkpoint.details.items() if key not in FORM},
    }
    if inverse_std:
        described["inverse_std"] = True
    earlier = (checkpoint.provenance or {}).get("source")
    if earlier is not None:
        described["converted_from"] = earlier
    if sha256:
        described["sha256"] = _sha256(checkpoint)
    return described


def _is_inverse(fitted: Match) -> bool:
    return any(entry.stored.inverse for entry in fitted.slots)


def _sha256(checkpoint: Checkpoint) -> str:
    from hashlib import sha256

    digest = sha256()
    for file in checkpoint.files:
        for chunk in file.chunks(0, file.size):
            digest.update(chunk)
    return digest.hexdigest()


def _notes(
    checkpoint: Checkpoint, fitted: Match, target: LayoutTable, info: NetworkInfo, checksum: bool, wrap: bool
) -> Iterator[str]:
    """What a user must know beside what the plan says."""
    if not checksum:
        yield UNCHECKED
    if _is_inverse(fitted):
        yield "the file's variances were read as inverse standard deviations, as told (--inverse-std)"
    yield from _naming_notes(fitted)
    beside = checkpoint.details.get("beside")
    if beside:
        which = (
            f"those in {checkpoint.details['wrapper']}" if checkpoint.details["wrapper"] else "the file's own"
        )
        names = ", ".join(beside[:8]) + (f" and {len(beside) - 8} more" if len(beside) > 8 else "")
        yield f"the weights are {which}; beside them are {names} (--entry takes another)"
    if wrap and target.storage.container == "state_dict":
        yield f"no wrapper of {target.title}'s is known: the file is a bare state dict"
    usual = fitted.variant.values.get("stem_t")
    frames = fitted.sizes.get("stem_t")
    if usual and len(usual) == 2 and frames != usual[0] and "stem_stride" in info.settings:
        yield (
            f"the stem's kernel spans {frames} frames; its stride in time, which no weight shows, is taken for "
            f"{info.settings['stem_stride']} (--set stem_stride=N)"
        )


def _naming_notes(fitted: Match) -> Iterator[str]:
    """What a file's names have otherwise than its layout's, and whether it has a head."""
    if fitted.prefix and fitted.layout.format == "pytorch":
        yield f"every name in the input has {printable(fitted.prefix)} in front"
    if fitted.layout.naming.absent:
        yield f"no name in the input has {fitted.layout.naming.absent} in front: it is a file of the backbone alone"
    if averaged_names([*fitted.dropped, *(entry.name for entry in fitted.slots)]):
        yield "averages of the weights lie among them (ema_*): the plain names were taken"
    if fitted.layout.naming.head:
        yield f"the input's head is {printable(fitted.layout.naming.head)}, as told (--head)"
    if not fitted.sizes["classes"]:
        yield "there is no head: the output ends with features"


def _with_values(plan: Plan, checkpoint: Checkpoint, *, strict: bool) -> Plan:
    """The plan with a note on NaN and Inf in the input, which ``strict`` refuses. Reads all tensors."""
    bad = _not_finite(list(checkpoint.tensors.values()))
    if not bad:
        return plan
    what = f"{len(bad)} tensor{'s hold' if len(bad) > 1 else ' holds'} NaN or Inf"
    where = ", ".join(bad[:3])
    if strict:
        hint = "leave --strict out to convert them as they are"
        raise BadInput(what, path=checkpoint.path, where=where, faults=tuple(bad), hint=hint)
    return plan._replace(notes=(*plan.notes, f"{what}: {where}"))


def _not_finite(tensors: Sequence[Tensor]) -> list[str]:
    """The names of tensors that hold NaN or Inf. Reads them all."""
    from .tensor_stats import not_finite

    return [tensor.name for tensor in tensors if tensor.dtype in FLOATS and not_finite(tensor)]


def _refuse_lost(plan: Plan, checkpoint: Checkpoint) -> None:
    """Refuse a target that does not store a tensor whose values it cannot imply, and a file whose two names of one
    tensor have different values."""
    for one, other in plan.equal:
        if checkpoint.tensors[one].tobytes() != checkpoint.tensors[other].tobytes():
            raise Refused(
                "two names of one tensor have different values",
                path=checkpoint.path,
                where=f"{one}, {other}",
                hint="the file is damaged, or was changed under one of them",
            )
    for name, value in plan.implied:
        tensor = checkpoint.tensors[name]
        if name in plan.dropped and not _is_filled(tensor, value):
            raise Refused(
                f"these networks have no such tensor, which is not {value:g} everywhere",
                where=name,
                path=checkpoint.path,
                hint="the file is of another network than its names say",
            )
        refuse_unlike(tensor, value, checkpoint.path, where=name)


def refuse_unlike(tensor: Tensor, value: float, path: str, *, where: str) -> None:
    """Refuse a target that takes a tensor of the file ``path`` for ``value`` everywhere, which it is not."""
    if not _is_filled(tensor, value):
        raise Refused(
            f"the target stores no such tensor and takes it for {value:g} everywhere",
            where=where,
            path=path,
            hint="choose another target",
        )


def _is_filled(tensor: Tensor, value: float) -> bool:
    return tensor.tobytes() == filled(tensor.name, tensor.dtype, tensor.shape, value).tobytes()
