"""Run one clip through both sides: the source framework's network in onnxruntime, the reference network in PyTorch."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.conversion.notes import channels_note, clip_notes, differences, settings_apart, settings_note
from converters.conversion.provenance import find_origin_layout
from converters.errors import Refused, UsageError
from converters.loading import build_network, canonical_state, require_torch
from converters.own_module.build import module_name
from converters.source_graphs.registry import NoSourceNet
from converters.tensor import FLOATS

from .blocks import compare_blocks, compare_values, one_sided
from .clips import make_inputs
from .exchanged import exchanged_back, exchanged_settings
from .order import was_made_from, wrong_order
from .outcome import (
    REFERENCE,
    ROUNDED,
    TOLERANCES,
    BlockResult,
    Comparison,
    DeclaredDifferences,
    FunctionalResult,
    RunOptions,
    TopClass,
    tolerance_for,
)
from .own_graph import own_blocks, own_graph
from .own_module import compare_module, loaded_module
from .reference_source import NotRun, run_reference
from .source_network import (
    SourceRun,
    build_source_net,
    fed_to,
    run_source_net,
    with_usual_head_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from converters.conversion.identify import Identified, UserHints
    from converters.mapping.schema import LayoutTable
    from converters.networks.layers import Network
    from converters.source_graphs.net import SourceNet
    from converters.tensor import Tensor

TOP = 5
"""How many of the most likely classes are listed."""


def compare(source: Identified, output: Identified, hints: UserHints, options: RunOptions) -> Comparison:
    """Run both sides and compare every block; see `verification.verify`."""
    project = _project_of(output)
    declared = DeclaredDifferences(tuple(_notes(source, output, project)))
    own = None if options.module is None else loaded_module(output, options.module)
    try:
        run = _source_run(source, output, hints, options)
    except NotRun as error:
        return Comparison(None, declared, str(error))
    state = canonical_state(output.checkpoint, output.match, output.info, unequal=True)
    tolerance, order = tolerance_for(run.device, rounded_to(source, output)), ""
    if own is None:
        blocks, logits = _compare_all(source, output, state, run, options.say)
    else:
        options.say("your own module")
        blocks, logits, order = compare_module(own, output, run, tolerance)
    reference = run.net.name == "reference"
    own_net = source.checkpoint.predict_net is not None or bool(source.checkpoint.nodes)
    if own_net or not output.info.classes:
        # A file's own net may name inner values differently, and a backbone pools where the head would.
        blocks = [block for block in blocks if block.source_name]
    if output.checkpoint.nodes:
        blocks.insert(0, _compare_own_graph(output, run))
    sides = (output, source) if "labels_file" in output.info.input else (source, output)
    labels = sides[0].info.input.get("labels") or sides[1].info.input.get("labels") or []
    result = FunctionalResult(
        device=run.device,
        tolerance=tolerance,
        rounded=rounded_to(source, output),
        source_network=REFERENCE if reference else f"{run.net.framework}'s network in onnxruntime",
        clip=run.clip,
        blocks=tuple(blocks),
        source_top=_top(run.logits, labels),
        output_top=_top(logits, labels),
        module="" if own is None else module_name(options.module),
        order=order,
    )
    model = None if own is not None else _project_network(source, output, project, state)
    if model is not None:
        options.say("what the output's own project computes differently")
        declared = _measure(declared, model, run)
    return Comparison(result, declared)


def rounded_to(source: Identified, output: Identified) -> str:
    """The least precise dtype of the output's weights where the source's are more precise, else ""."""
    least = _least_precise(output)
    return least if _bits(least) < _bits(_least_precise(source)) and least in ROUNDED else ""


def _least_precise(side: Identified) -> str:
    names = (side.match.file_name(slot) for slot in side.match.slots if slot.name)
    dtypes = {side.checkpoint.tensors[name].dtype for name in names if name in side.checkpoint.tensors}
    return min(dtypes & {*FLOATS}, key=_bits, default="float32")


def _bits(dtype: str) -> int:
    return ROUNDED.get(dtype, 24 if dtype == "float32" else 53)


def _source_run(source: Identified, output: Identified, hints: UserHints, options: RunOptions) -> SourceRun:
    """The source's side. Raises `NotRun` where there is no network of its to run."""
    if was_made_from(source, output):
        raise NotRun(wrong_order(source, output))
    tensors = with_usual_head_name(source)
    try:
        net = build_source_net(source, tensors, hints, headless=not output.info.classes)
    except NoSourceNet:
        if source.match.layout.format == "pytorch":
            return run_reference(source, output, _project_of(source), options, _device(options.device))
        raise NotRun(f"no reference graph of {source.info.title} in its source framework") from None
    return _run_source(source, net, tensors, options)


def _project_of(side: Identified) -> LayoutTable:
    """The layout whose project computes a file's network. The canonical layout has no project of its own: it stands for
    that of the layout a file comes from."""
    layout = side.match.layout
    return (find_origin_layout(side.checkpoint.provenance) if layout.identity else None) or layout


def _compare_all(
    source: Identified,
    output: Identified,
    state: Mapping[str, Any],
    run: SourceRun,
    say: Callable[[str], None],
) -> tuple[list[BlockResult], Any]:
    """Every block of the source's function over the output's weights, and the logits. What the output's project
    computes differently is measured apart.

    Where groups of channels have each other's place in the output, the blocks are compared with the groups back in
    theirs, and the logits as they are.
    """
    clips = _clips(source, output)
    blocks, logits = compare_blocks(_network(output, state, source.match.layout, clips), run, say)
    if directions := exchanged_settings(source, output):
        back = exchanged_back(state, source, output)
        compared, _ = compare_blocks(_network(output, back, source.match.layout, clips | directions), run)
        own = [block for block in blocks if block.name == "logits"]
        blocks = [*(block for block in compared if block.name != "logits"), *own]
    return blocks, logits


def _run_source(
    source: Identified, net: SourceNet, tensors: Mapping[str, Tensor], options: RunOptions
) -> SourceRun:
    device, clip = _device(options.device), options.clip
    options.say("the source's network, in onnxruntime")
    origin = "" if clip is None else os.fspath(clip)
    graph = own_graph(source.checkpoint.local) if source.checkpoint.nodes else None
    size = graph.clip_size if graph else None
    inputs, words = make_inputs(source.info, clip, options.seed, regions="rois" in net.inputs, size=size)
    try:
        if graph:
            net = net.replace(blocks=own_blocks(graph, net.blocks))
            values = graph.run(fed_to(net, inputs), list(dict.fromkeys(net.blocks.values())))
        else:
            values = run_source_net(net, tensors, inputs, origin)
    except Refused as error:
        raise error.at(origin or source.checkpoint.path) from None
    return SourceRun(net=net, inputs=inputs, clip=words, values=values, device=device)


def _compare_own_graph(output: Identified, run: SourceRun) -> BlockResult:
    """What the graph in an ONNX output gives, compared with the source's network: the first of its outputs, whatever
    else in it has the same name."""
    name = run.net.output
    try:
        graph = own_graph(output.checkpoint.local)
        value = graph.run(fed_to(run.net, run.inputs), [graph.output])[graph.output]
    except Refused as error:
        fault = f"{error.told.what}: {error.where}" if error.where else error.told.what
        return one_sided("graph", name, run.values[name].shape, fault)
    return compare_values("graph", name, run.values[name], value)


def _notes(source: Identified, output: Identified, project: LayoutTable) -> Iterator[str]:
    """What the output's project computes differently, as its table says."""
    variant, eps = output.match.variant.name, (output.info.bn_eps, source.info.bn_eps)
    yield from differences(source.match.layout.support_for(variant), project.support_for(variant))
    yield from channels_note(output.match, project)
    settings = settings_apart(output.match, project, output.info)
    given = {name: value for name, value in settings.items() if name in _clips(source, output)}
    yield from clip_notes(output.match, project, output.info, given)
    if own := {name: value for name, value in settings.items() if name not in given}:
        yield settings_note(project, own, output.info)
    if "labels_file" in output.info.input:
        yield f"the names of its classes are those of {output.info.input['labels_file']}, on the record's word"
    if eps[0] != eps[1]:
        yield f"batch norm eps {eps[0]:g} instead of {eps[1]:g}, absorbed in the variances"


def _device(name: str) -> str:
    """``cpu`` or ``cuda``. Raises `UsageError` if there is no such device."""
    torch = require_torch()
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("PyTorch finds no CUDA device here", hint="leave --device out, or choose cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


def _network(
    side: Identified,
    state: Mapping[str, Any],
    layout: LayoutTable,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Network:
    """The reference network over one side's weights, padding and pooling as in the project of ``layout``, with these
    settings in place of those that the weights go with."""
    return build_network(side.match, dict(state), {**side.info.settings, **settings}, origin_layout=layout)


def _clips(source: Identified, output: Identified) -> dict[str, Any]:
    """The settings by which both sides take the source's clips: those that differ as one side's clips have what the
    other side's network chooses itself."""
    before, after = source.info.settings, output.info.settings
    given = source.match.variant.table.given
    return {
        name: before[name]
        for name, words in given.items()
        if not {before[name], after.get(name)}.isdisjoint(words)
    }


def _project_network(
    source: Identified, output: Identified, project: LayoutTable, state: Mapping[str, Any]
) -> Network | None:
    """The network of the output's project, None where it is the source's. Groups of channels are where the source has
    them, so that only what the project computes differently differs."""
    variant = source.match.variant.name
    settings = settings_apart(output.match, project, output.info)
    config = source.match.layout.support_for(variant).config
    if not settings and config == project.support_for(variant).config:
        return None
    # A number of frames is the project's own: its code takes a longer clip for several videos.
    clips = {
        name: value
        for name, value in _clips(source, output).items()
        if not isinstance(settings.get(name), int)
    }
    directions = exchanged_settings(source, output)
    if directions:
        state = exchanged_back(state, source, output)
    return _network(output, state, project, {**settings, **clips, **directions})


def _measure(declared: DeclaredDifferences, model: Network, run: SourceRun) -> DeclaredDifferences:
    """Run the output's own project's network on the same clip: where it differs first, and by how much the logits."""
    try:
        blocks, _ = compare_blocks(model, run)
    except Refused as error:
        note = f"its own network does not take this clip: {error.told.what}"
        return declared._replace(notes=(*declared.notes, note))
    first = next((block.name for block in blocks if not block.relative <= TOLERANCES[run.device]), "")
    return declared._replace(first=first, relative=blocks[-1].relative)


def _top(logits: Any, labels: list[str]) -> tuple[TopClass, ...]:
    if logits is None:
        return ()
    row = logits[0]
    return tuple(
        TopClass(int(index), labels[index] if index < len(labels) else "", float(row[index]))
        for index in row.argsort()[::-1][:TOP]
    )
