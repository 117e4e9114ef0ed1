"""Convert a checkpoint: open and identify, choose the target, plan, write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import Refused, UsageError
from converters.formats.registry import format_named
from converters.locations import without_credentials
from converters.mapping.network_info import with_clips_of
from converters.mapping.variants import own_eps
from converters.printable import printable
from converters.tensor import FLOATS

from .choose_target import choose_target
from .execute import execute, open_input, output_of, refuse_paths
from .history import history_of
from .identify import UserHints, identify
from .notes import UNCHECKED, input_notes
from .options import VERIFY_OPTIONS, NetworkOptions, ReadOptions, WriteOptions
from .plan import make_plan
from .provenance import describe_origin, describe_source, record, restore_data
from .result import Result

if TYPE_CHECKING:
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable

    from .execute import Output
    from .history import History
    from .identify import Identified
    from .plan import Plan


def convert(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    to: str | None = None,
    source: str | None = None,
    dtype: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    backbone: bool = False,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
    mean: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    wrap: bool = False,
    force: bool = False,
    check: bool = False,
    verify: bool = False,
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

    ``to`` is the layout of the output (default: the source's own default), ``source`` that of the input (``"vmz"``,
    or ``"onnx"`` for that of an ONNX model; without one it is recognised). The output's suffix chooses its
    format: ``.pth``, ``.pt`` or ``.safetensors``, ``.onnx`` for the source framework's own network with its
    weights (``to="onnx"`` says the same), ``.pyth`` and ``.ckpt`` for PySlowFast's and Lightning's wrapper around the
    state dict. ``dtype`` casts (``"float16"``). ``variant`` and ``settings``
    (``{"pool1": True}``) decide what names and shapes cannot; ``inverse_std`` says that the file has inverse standard
    deviations for variances, as TSN's may. ``entry`` is the path of a state dict in a PyTorch file
    (``"ema_state_dict"``), where not the plain weights are wanted; ``head`` is what the file calls the last
    layer where that is not the layout's name. ``backbone`` leaves the head out, ``drop`` every tensor that one of its
    patterns matches (``["criterion.*"]``). ``mean`` is the mean file that
    goes with the weights: its shape, checksum and channels' means go into the provenance. ``labels`` is a
    file of the classes' names, one a line or JSON, which go into the output. ``wrap`` writes the
    ecosystem's own wrapper around the state dict. ``check`` reads the output back and compares every tensor
    with the source; ``verify`` then proves the output as the function `verify` does, and the result's ``verification``
    says whether it agrees; ``strict`` refuses NaN and Inf. ``sha256`` puts the input's hash into the provenance;
    without ``checksum`` those in the input are not compared. ``progress`` is called with (bytes done, bytes in all).

    ``mapping`` is a mapping file of the user's own, in place of ``source`` and ``to``; ``reverse`` reads it from
    right to left, ``accept_unsure`` takes rows in it that nobody has confirmed.

    Raises `ConverterError`: `Refused` where the conversion cannot be done, `BadInput` where the input cannot
    be read, `UsageError` where the call is wrong. The output appears whole or not at all.
    """
    path, output_path = os.fspath(input), os.fspath(output)
    read = ReadOptions(entry=entry, checksum=checksum, sha256=sha256)
    network = NetworkOptions(
        variant=variant,
        head=head,
        backbone=backbone,
        drop=(drop,) if isinstance(drop, str) else tuple(drop),
        settings=settings,
        inverse_std=inverse_std,
        mean=None if mean is None else os.fspath(mean),
        labels=None if labels is None else os.fspath(labels),
    )
    write = WriteOptions(
        force=force, dry_run=dry_run, check=check, wrap=wrap, dtype=dtype, strict=strict, progress=progress
    )
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"dtype {dtype!r} is unknown", hint=f"one of {', '.join(FLOATS)}")
    if verify:
        _require_verifiable(dry_run=dry_run, mapping=mapping is not None)
    refuse_paths(path, output_path, force=force)
    if mapping is not None:
        if source is not None or to is not None or network != NetworkOptions():
            raise UsageError(
                "a mapping file only renames tensors",
                hint="leave out the layout, --to and the network's options",
            )
        from .convert_by_mapping import MappingFile, convert_by_mapping

        file = MappingFile(os.fspath(mapping), reverse=reverse, accept_unsure=accept_unsure)
        return convert_by_mapping(file, path, output_path, read, write)
    if reverse or accept_unsure:
        raise UsageError("--reverse and --accept-unsure need a mapping file", hint="name it with --mapping")
    result = _convert(source, path, output_path, to, read, network, write)
    return _verified(result, path, source, read, network) if verify else result


def _verified(
    result: Result, path: str, source: str | None, read: ReadOptions, network: NetworkOptions
) -> Result:
    """The result with its verification. What verifies lies above what converts, and is known by its name only."""
    verify = import_module("converters.verification.verify").verify
    given = {**read.as_dict(), **network.as_dict()}
    options = {name: given[name] for name in VERIFY_OPTIONS}
    layout = None if source == "onnx" else source
    found = verify(path, result.output, source_layout=layout, layout=result.target, **options)
    return result.replace(verification=found)


def _require_verifiable(*, dry_run: bool, mapping: bool) -> None:
    """Raise `UsageError`, before any work, if the conversion cannot be verified."""
    if dry_run:
        raise UsageError("--verify cannot be combined with --dry-run", hint="use one of the two")
    if mapping:
        raise UsageError(
            "--verify cannot be combined with --mapping",
            hint="a mapping file names no network; --check compares every tensor",
        )


def _convert(
    layout: str | None,
    path: str,
    output_path: str,
    to: str | None,
    read: ReadOptions,
    network: NetworkOptions,
    write: WriteOptions,
) -> Result:
    """The four steps."""
    started = perf_counter()
    with open_input(path, output_path, read) as checkpoint:
        opened = perf_counter()
        hints = UserHints(
            variant=network.variant,
            model=network.variant,
            head=network.head,
            drop=network.drop,
            settings=network.settings,
            inverse_std=network.inverse_std,
        )
        source = identify(checkpoint, layout, hints, backbone=network.backbone)
        target = _choose_target(source, to, output_path, backbone=network.backbone)
        output = output_of(output_path, target, wrap=write.wrap)
        info = _with_files(source.info, network)
        history = history_of(source, info, target, as_graph=output.format == "onnx", dry_run=write.dry_run)
        plan = _plan(source, target, history, write.dtype)
        plan = plan.replace(notes=(*plan.notes, *_notes(source, output, plan, read, write)))
        described = _described(source, info.replace(settings=plan.settings), target, history)

        def describe(plan: Plan) -> dict[str, Any]:
            return _record(
                source, plan, described, target, history, sha256=read.sha256, dry_run=write.dry_run
            )

        result = Result(
            source=without_credentials(path),
            output=None,
            info=described,
            layout=source.match.layout.name,
            target=target.name,
            timings={"read": opened - started, "plan": perf_counter() - opened},
        )
        return execute(checkpoint, plan, output, describe, write, result)


def _choose_target(source: Identified, to: str | None, output_path: str, *, backbone: bool) -> LayoutTable:
    """The layout of the output. Raises `Refused` if it needs a head that the file does not have."""
    if to is None and output_path.lower().endswith(format_named("onnx").suffixes):
        to = "onnx"
    target = choose_target(source.match, to, source.checkpoint.provenance)
    if not (target.storage.head_optional or source.match.sizes["classes"]):
        raise Refused(
            f"{target.title} files have a head",
            path=source.checkpoint.path,
            hint="choose another layout with --to",
        )
    return target.without_backbone() if backbone and target.naming.backbone else target


def _plan(source: Identified, target: LayoutTable, history: History, dtype: str | None) -> Plan:
    """The plan for the target's own eps, or the weights' where it leaves that open."""
    eps = own_eps(target, source.match.variant)
    return make_plan(
        source.match,
        source.checkpoint.tensors,
        target,
        history.info,
        eps=history.info.bn_eps if eps is None else eps,
        dtype=dtype,
        undo=history.undo,
        original=history.original,
        origin_layout=history.origin_layout,
        path=source.checkpoint.path,
    )


def _notes(
    source: Identified, output: Output, plan: Plan, read: ReadOptions, write: WriteOptions
) -> Iterator[str]:
    """What a user must know beside what the plan says."""
    match, checkpoint = source.match, source.checkpoint
    if plan.eps_shift and not checkpoint.provenance and own_eps(match.layout, match.variant) is None:
        yield f"no layout says these weights' eps: taken for {source.info.bn_eps:g}"
    if not read.checksum:
        yield UNCHECKED
    yield from input_notes(checkpoint, match, source.info)
    if output.wrapper is not None and not write.wrap:
        yield f"the state dict is in {output.wrapper.key!r}, as in other files of this suffix"
    elif output.wrapper is None and write.wrap:
        yield f"no wrapper of {output.target.title}'s is known: the file is a bare state dict"


def _record(
    source: Identified,
    plan: Plan,
    info: NetworkInfo,
    target: LayoutTable,
    history: History,
    *,
    sha256: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """The provenance record. A dry run reads no tensor, so it does not know what rounding takes."""
    match, checkpoint = source.match, source.checkpoint
    eps = history.info.bn_eps
    return record(
        match,
        plan,
        info,
        target,
        describe_source(checkpoint, match, sha256=sha256),
        restore_data(plan, checkpoint.tensors, dry_run=dry_run),
        describe_origin(
            match, checkpoint.tensors, plan, eps, checkpoint.details, checkpoint.provenance, dry_run=dry_run
        ),
    )


def _described(source: Identified, info: NetworkInfo, target: LayoutTable, history: History) -> NetworkInfo:
    """The network in the output, with the clips of its own layout where these have what a setting chooses in others."""
    before = source.info.settings
    if all(info.settings[name] == before[name] for name in source.match.variant.table.given):
        return info
    layout = history.origin_layout or source.match.layout if target.identity else target
    return with_clips_of(info, layout, source.match)


def _with_files(info: NetworkInfo, network: NetworkOptions) -> NetworkInfo:
    """The network with what the user's files say of it."""
    if network.labels is not None:
        from .labels import with_labels

        info = with_labels(info, network.labels)
    return info if network.mean is None else _with_mean(info, network.mean)


def _with_mean(info: NetworkInfo, path: str) -> NetworkInfo:
    """The network with the shape, checksum and means of a mean file."""
    if "mean_cube" not in info.input:
        raise UsageError(f"{info.title} takes no mean cube", hint="leave --mean out")
    from .mean import convert_mean

    mean = convert_mean(path, None)
    described = {
        "name": printable(os.path.basename(mean.source)),
        "shape": list(mean.shape),
        "means": list(mean.means),
        "crc32": mean.crc32,
    }
    return info.replace(input={**info.input, "mean_file": described})
