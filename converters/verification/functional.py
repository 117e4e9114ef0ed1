"""One clip through both sides of a conversion: the source framework's network in onnxruntime, ours in PyTorch."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.conversion.plan import differences, pool1_note, settings_apart, settings_note
from converters.conversion.provenance import home_of
from converters.errors import BadInput, Refused, UsageError
from converters.loading import build_network, canonical_state, require_torch
from converters.mapping.catalog import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.network_info import model_name_in
from converters.source_graphs.registry import NoSourceNet, source_graph, source_net

from .verify import TOLERANCES, Block, Declared, Functional, TopClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified, UserHints
    from converters.formats.onnx.reader import OnnxNode
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.networks.layers import Network
    from converters.source_graphs.graph import Node, SourceNet
    from converters.tensor import Tensor

    Comparable = tuple[str, tuple[str, ...], tuple[str, ...], tuple[object, ...]]

LOGMELS = (1, 100, 40)
REGIONS = 3
"""Of every clip that a detector is given."""

TOP = 5


def compare(
    theirs: Identified,
    ours: Identified,
    said: UserHints,
    *,
    device: str,
    clip: str | os.PathLike[str] | None,
    seed: int,
) -> tuple[Functional | None, Declared, str]:
    """Run both sides and compare every block; see `verification.verify`. The third is why nothing was run."""
    variant, home = theirs.match.variant.name, theirs.match.layout
    # Our own layout has no network of its own, but that of the layout that a file comes from.
    own = (home_of(ours.checkpoint.provenance) if ours.match.layout.identity else None) or ours.match.layout
    declared = Declared(tuple(_notes(theirs, ours, own)))
    if home.format == "pytorch":
        return None, declared, "the source is a PyTorch file: no source framework's network to run"
    tensors = _under_usual_names(theirs)
    try:
        net = _net(theirs, tensors, said, headless=not ours.info.classes)
    except NoSourceNet:
        return None, declared, f"there is no source-side network of {theirs.info.title} here"
    where = _device(device)
    inputs, words = _inputs(theirs.info, clip, seed, regions="rois" in net.inputs)
    try:
        wanted = _source_side(net, tensors, inputs, "" if clip is None else os.fspath(clip))
    except Refused as error:
        raise error.at(theirs.checkpoint.path) from None
    state = canonical_state(ours.checkpoint, ours.match, ours.info)
    # The source's function over the output's weights; what the output's project does otherwise comes after.
    blocks, logits = _blocks(_network(ours, state, home), net, wanted, inputs, where)
    if theirs.checkpoint.net is not None or not ours.info.classes:
        # A net of the file's own may call inner values otherwise, and a backbone pools in the head's place.
        blocks = [block for block in blocks if block.source_name]
    if ours.checkpoint.nodes and (apart := _graph_apart(theirs, ours, net)):
        if ours.checkpoint.provenance:  # a graph that we wrote, and that is another now
            blocks.insert(0, _one_sided("graph", "", (), apart))
        else:
            told = f"its ONNX graph is not what this tool writes, and was not run: {apart}"
            declared = declared._replace(notes=(*declared.notes, told))
    labels = theirs.info.input.get("labels") or ours.info.input.get("labels") or []
    reference = _averaged(net, wanted[net.output], len(inputs[0])) if "logits" in net.blocks else None
    tops = _top(reference, labels), _top(logits, labels)
    found = Functional(where, TOLERANCES[where], words, tuple(blocks), *tops)
    other = settings_apart(ours.match, own, ours.info)
    if other or home.support_for(variant).config != own.support_for(variant).config:
        declared = _measured(declared, _network(ours, state, own, other), net, wanted, inputs, where)
    return found, declared, ""


def _notes(theirs: Identified, ours: Identified, own: LayoutTable) -> Iterator[str]:
    """What the output's project does otherwise, as its table says."""
    variant, eps = ours.match.variant.name, (ours.info.bn_eps, theirs.info.bn_eps)
    yield from differences(theirs.match.layout.support_for(variant), own.support_for(variant))
    if apart := settings_apart(ours.match, own, ours.info):
        yield settings_note(own, apart, ours.info)
    if pool := pool1_note(ours.match.layout, variant, ours.info.pool1):
        yield pool
    if eps[0] != eps[1]:
        yield f"batch-norm eps {eps[0]:g} for {eps[1]:g}, made up for in the variances"


def _under_usual_names(side: Identified) -> dict[str, Tensor]:
    """A source's tensors, those of a head that the file calls otherwise under its layout's name."""
    match, tensors = side.match, dict(side.checkpoint.tensors)
    if match.layout.naming.head:
        usual = tensor_slots(load_layout(match.layout.name), match.variant, match.sizes, match.present)
        for own, entry in zip(match.slots, usual, strict=True):
            if own.name != entry.name:
                name = match.prefix + entry.name
                tensors[name] = tensors.pop(match.prefix + own.name)._replace(name=name)
    return tensors


def _net(side: Identified, tensors: Mapping[str, Tensor], said: UserHints, *, headless: bool) -> SourceNet:
    """The source's network, by its own file, what a user says of it, what stands in it beside the weights, and else as
    its released files are."""
    checkpoint = side.checkpoint
    told = {**_recorded(checkpoint.provenance), **checkpoint.told}
    net = checkpoint.net or source_net(
        tensors,
        pool1=told.get("pool1") if said.pool1 is None else said.pool1,
        stem_stride=told.get("stem_stride") if said.stem_stride is None else said.stem_stride,
        inverse_std=said.inverse_std,
        model=model_name_in(side.match.layout, side.info.as_data()),
    )
    if headless:
        kept = {label: name for label, name in net.blocks.items() if not label.endswith("logits")}
        net = net._replace(blocks=kept)
    return net


def _graph_apart(theirs: Identified, ours: Identified, net: SourceNet) -> str:
    """In words, the first node of the output's ONNX graph that is not as we would write it; empty where all are."""
    tensors, variant = theirs.checkpoint.tensors, theirs.info
    nets = [net]
    if theirs.checkpoint.net is not None:  # ours may be of the weights alone
        nets.append(source_net(tensors, pool1=variant.pool1, stem_stride=variant.stem_stride))
    found = [_comparable(node) for node in ours.checkpoint.nodes if node.kind != "Constant"]
    apart = [
        _first_apart(found, [_comparable(node) for node in source_graph(one, tensors).nodes]) for one in nets
    ]
    return apart[0] if all(apart) else ""


def _first_apart(found: list[Comparable], wanted: list[Comparable]) -> str:
    for node, other in zip(found, wanted, strict=False):
        if node != other:
            return f"the node {node[0]} of {', '.join(node[2])} is another"
    return f"{len(found)} nodes for {len(wanted)}" if len(found) != len(wanted) else ""


def _comparable(node: OnnxNode | Node) -> Comparable:
    """A node with its numbers as a file holds them."""
    numbers = {
        name: tuple(value)
        if isinstance(value, (list, tuple))
        else float(f"{value:.6g}")
        if isinstance(value, float)
        else value
        for name, value in node.attributes.items()
        if not isinstance(value, str)
    }
    return node.kind, tuple(node.inputs), tuple(node.outputs), tuple(sorted(numbers.items()))


def _device(name: str) -> str:
    """``cpu`` or ``cuda``. Raises `UsageError` where there is no such device."""
    torch = require_torch()
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("PyTorch finds no CUDA device here", hint="leave --device out, or say cpu")
    return ("cuda" if there else "cpu") if name == "auto" else name


def _network(
    side: Identified,
    state: Mapping[str, Any],
    home: LayoutTable,
    other: Mapping[str, Any] = MappingProxyType({}),
) -> Network:
    """Our network over one side's weights, padding and pooling as those of the layout ``home``, with ``other`` settings
    than the weights go with."""
    info = side.info
    return build_network(
        side.match,
        dict(state),
        eps=info.bn_eps,
        pool1=info.pool1,
        stem_stride=info.stem_stride,
        home=home,
        chosen={**info.settings, **other},
    )


def _recorded(provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    network = (provenance or {}).get("network") or {}
    return {key: network[key] for key in ("pool1", "stem_stride") if key in network}


def _inputs(
    info: NetworkInfo, path: str | os.PathLike[str] | None, seed: int, *, regions: bool
) -> tuple[list[Any], str]:
    """What is fed, as float32 arrays in the reference networks' order, and where it comes from. ``regions`` are fed to
    detectors beside the clip."""
    import numpy

    if not 0 <= seed < 1 << 32:
        raise UsageError(f"a seed of {seed} is not from 0 to {(1 << 32) - 1:,}", hint="choose another --seed")
    random = numpy.random.RandomState(seed)
    audio = info.family == "resnet2d_audio"
    if path is not None:
        first, origin = _loaded(os.fspath(path), audio), shown_name(path)
    else:
        size, origin = info.input.get("clip"), f"noise of seed {seed}"
        if audio:
            first = _spread(random.random_sample((1, *LOGMELS)))
        elif size is not None:
            first = _ranged(random.random_sample((1, info.channels, *size)), info)
        else:
            raise UsageError("no table says what clip the network was made for", hint="name one with --clip")
    values = [first]
    if info.family == "audiovisual":
        values.append(_spread(random.random_sample((len(first), *LOGMELS))))
    if regions:
        values.append(_regions(random, first.shape))
    inputs = [numpy.ascontiguousarray(value, "<f4") for value in values]
    return inputs, f"{' and '.join('x'.join(map(str, array.shape)) for array in inputs)}, {origin}"


def _regions(random: Any, shape: tuple[int, ...]) -> Any:
    """Regions inside the frames of clips [N, C, T, H, W] and around their middle: rows of (clip, x1, y1, x2, y2) in
    pixels."""
    import numpy

    clips, (height, width) = numpy.repeat(numpy.arange(shape[0]), REGIONS), shape[3:]
    low, high = random.random_sample((2, len(clips), 2)) / 2
    frame = numpy.array([width, height])
    return numpy.column_stack([clips, low * frame, (1 - high) * frame])


def _spread(noise: Any) -> Any:
    """Noise of 0..1 with mean 0 and deviation 1."""
    return (noise - 0.5) * 12**0.5


def _ranged(values: Any, info: NetworkInfo) -> Any:
    """Noise of 0..1 as pixels (or flow) after the network's own preprocessing."""
    import numpy

    told = info.input
    if "range" not in told:
        return _spread(values)
    low, high = told["range"]
    middle = [(low + high) / 2] * info.channels
    mean, std = (
        numpy.array(told.get(key, other), "f8").reshape(-1, 1, 1, 1)
        for key, other in (("mean", middle), ("std", [1.0]))
    )
    return (low + values * (high - low) - mean) / std


def _loaded(path: str, audio: bool) -> Any:
    """A clip from an ``.npy`` as float32, or several; an array without an axis for clips is one. Raises `BadInput`."""
    import numpy

    from converters.formats.npz.reader import read_npy
    from converters.tensor import SourceFile

    wanted = "[N, 1, 100, 40], log-mels" if audio else "[N, C, T, H, W], preprocessed"
    axes = 4 if audio else 5
    with SourceFile(path) as file:
        tensor = read_npy(file)
        if tensor.dtype == "bool" or len(tensor.shape) not in (axes, axes - 1) or 0 in tensor.shape:
            raise BadInput(
                f"is no clip: {tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}",
                path=path,
                hint=f"an array of {axes} axes is wanted, {wanted}",
            )
        value = numpy.frombuffer(tensor.tobytes(), numpy.dtype(tensor.dtype).newbyteorder("<"))
    with numpy.errstate(over="ignore", invalid="ignore"):
        value = value.reshape((1,) * (axes - len(tensor.shape)) + tensor.shape).astype("<f4")
    if not numpy.isfinite(value).all():
        raise BadInput("holds NaN, Inf or what float32 cannot hold", path=path, hint="preprocess it again")
    return value


def shown_name(path: str | os.PathLike[str]) -> str:
    """A file's name for a report."""
    from converters.printable import printable

    return printable(os.path.basename(os.fspath(path)))


def _source_side(
    net: SourceNet, tensors: Mapping[str, Any], inputs: list[Any], origin: str
) -> dict[str, Any]:
    """Every block's value by its name in the source framework. ``origin`` is the file that a clip comes from."""
    from tempfile import TemporaryDirectory

    from converters.formats.onnx.writer import write_onnx
    from converters.source_graphs.runtime import run

    outputs = list(dict.fromkeys(net.blocks.values()))
    feeds = {}
    for name, array in zip(net.inputs, inputs, strict=True):
        value = array
        if array.ndim == 5 and net.axes == "NTHWC":
            value = array.transpose(0, 2, 3, 4, 1)
        elif array.ndim == 5 and net.axes == "frames":
            value = array.transpose(0, 2, 1, 3, 4).reshape(-1, array.shape[1], *array.shape[3:])
        feeds[name] = value.copy(order="C")
    with TemporaryDirectory(prefix="convert-verify-") as folder:
        path = os.path.join(folder, "source.onnx")
        with open(path, "wb") as out:
            write_onnx(out, source_graph(net, tensors, outputs=outputs))
        try:
            return run(path, feeds, outputs)
        except Refused as error:
            raise error.at(origin) from None


def _averaged(net: SourceNet, logits: Any, clips: int) -> Any:
    """Logits [N, classes] of so many clips, whose frames may be images of their own, or which have several windows; of
    regions [K, classes]."""
    if net.axes == "frames":
        return logits.reshape(clips, -1, logits.shape[1]).mean(axis=1)
    return logits.reshape(*logits.shape[:2], -1).mean(axis=2)


def _blocks(
    model: Network, net: SourceNet, wanted: Mapping[str, Any], inputs: list[Any], device: str
) -> tuple[list[Block], Any]:
    """Every block of either side, in the order computed, and our logits, if it came to them."""
    found: dict[str, Block] = {}
    order = list(net.blocks)
    logits, before, missing = None, 0, "the output has no such block"
    try:
        for name, value in _steps(model, inputs, device):
            if name not in net.blocks:
                order.insert(before, name)
                found[name] = _one_sided(name, "", value.shape, "the source has no such block")
            else:
                reference = wanted[net.blocks[name]]
                if name == "logits":
                    logits, reference = value, _averaged(net, reference, len(inputs[0]))
                found[name] = _block(name, net.blocks[name], reference, value)
            before = order.index(name) + 1
    except (RuntimeError, ValueError) as error:  # sizes that do not go together
        why = str(error).splitlines()[0][:200]
        if not found:
            raise Refused(why, hint="choose another clip") from None
        missing = f"the output's network stopped: {why}"
    for name, source_name in net.blocks.items():
        if name not in found:
            found[name] = _one_sided(name, source_name, wanted[source_name].shape, missing)
    return [found[name] for name in order], logits


def _one_sided(name: str, source_name: str, shape: tuple[int, ...], fault: str) -> Block:
    return Block(name, source_name, tuple(shape), 0.0, 0.0, float("inf"), 0.0, fault)


def _steps(model: Network, inputs: list[Any], device: str) -> Iterator[tuple[str, Any]]:
    """Each block of our network as it is computed, in true float32 and always the same way."""
    import torch

    on = [torch.from_numpy(array).to(device) for array in inputs]
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with flags, torch.inference_mode():
            for name, value in model.to(device).steps(*on):
                yield name, value.cpu().numpy()
    finally:
        torch.set_float32_matmul_precision(precision)


def _block(name: str, source_name: str, reference: Any, value: Any) -> Block:
    import numpy

    shape = tuple(value.shape)
    if _bare(shape) != _bare(reference.shape):
        fault = f"{'x'.join(map(str, shape))} for {'x'.join(map(str, reference.shape))}"
        return _one_sided(name, source_name, shape, fault)
    ours, theirs = (array.reshape(-1) for array in (value, reference))
    with numpy.errstate(invalid="ignore", over="ignore"):  # Inf less Inf: said below
        largest, max_abs = float(numpy.abs(theirs).max()), float(numpy.abs(ours - theirs).max())
    if not numpy.isfinite(max_abs) or not numpy.isfinite(largest):
        side = "the source's" if not numpy.isfinite(largest) else "the output's"
        return Block(
            name, source_name, shape, largest, max_abs, float("inf"), 0.0, f"NaN or Inf on {side} side"
        )
    relative = max_abs / largest if largest else (0.0 if max_abs == 0 else float("inf"))
    dot, one, other = (_dot(*pair) for pair in ((ours, theirs), (ours, ours), (theirs, theirs)))
    norms = (one * other) ** 0.5
    return Block(name, source_name, shape, largest, max_abs, relative, dot / norms if norms else 1.0)


def _dot(one: Any, other: Any) -> float:
    """A product of two vectors summed up in float64, a piece at a time."""
    import numpy

    step = 1 << 20
    return sum(
        float(numpy.dot(one[at : at + step].astype("f8"), other[at : at + step].astype("f8")))
        for at in range(0, one.size, step)
    )


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without axes of size one: pools leave some."""
    return tuple(size for size in shape if size != 1)


def _measured(
    declared: Declared,
    model: Network,
    net: SourceNet,
    wanted: Mapping[str, Any],
    inputs: list[Any],
    device: str,
) -> Declared:
    """The output's own project's network on the same clip: where it departs first, and how far the logits are off."""
    try:
        blocks, _ = _blocks(model, net, wanted, inputs, device)
    except Refused as error:
        note = f"its own network does not take this clip: {error.what}"
        return declared._replace(notes=(*declared.notes, note))
    first = next((block.name for block in blocks if not block.relative <= TOLERANCES[device]), "")
    return declared._replace(first=first, relative=blocks[-1].relative)


def _top(logits: Any, labels: list[str]) -> tuple[TopClass, ...]:
    if logits is None:
        return ()
    row = logits[0]
    return tuple(
        TopClass(int(index), labels[index] if index < len(labels) else "", float(row[index]))
        for index in row.argsort()[::-1][:TOP]
    )
