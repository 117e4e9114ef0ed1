"""Convert between layouts that tables describe: open and identify, choose the target, plan, write."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

from converters.errors import Refused, UsageError
from converters.formats.registry import format_named
from converters.locations import without_credentials
from converters.mapping.layout_tables import known_layout
from converters.mapping.network_info import with_clips_of
from converters.mapping.variants import own_eps
from converters.printable import possessive, printable

from .choose_target import choose_target
from .execute import execute, open_input, output_of
from .history import history_of
from .identify import UserHints, identify
from .notes import UNCHECKED, input_notes
from .plan import make_plan
from .provenance import describe_origin, describe_source, record, restore_data
from .result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable

    from .execute import Output
    from .history import History
    from .identify import Identified
    from .options import NetworkOptions, ReadOptions, Request, WriteOptions
    from .plan import Plan


def convert_by_layout(request: Request) -> Result:
    """Do what is asked, by the tables. Raises as `convert` does."""
    path, output_path = request.input, request.output
    read, network, write = request.read, request.network, request.write
    started = perf_counter()
    if request.to is not None and request.to != "onnx":
        known_layout(request.to)  # before the input is opened, which has nothing to do with it
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
        source = identify(checkpoint, request.source, hints, backbone=network.backbone)
        target = _choose_target(source, request.to, output_path, backbone=network.backbone)
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
            f"has no head, which {target.owner} files must have",
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
        yield f"no layout states the eps of these weights; assumed: {source.info.bn_eps:g}"
    if not read.checksum:
        yield UNCHECKED
    yield from input_notes(checkpoint, match, source.info)
    if output.wrapper is not None and not write.wrap:
        yield f"the state dict is in {output.wrapper.key!r}, as in other files of this suffix"
    elif output.wrapper is None and write.wrap:
        yield f"no wrapper of {possessive(output.target.title)} is known: the file is a bare state dict"


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
        describe_source(checkpoint, match, sha256=sha256 and not dry_run),
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
