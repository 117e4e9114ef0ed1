"""The source's network: a graph of its own framework's operators with the source's weights, run in onnxruntime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.network_info import model_name_in
from converters.source_graphs.caffe2_predict_net import described_net
from converters.source_graphs.net import SourceNet
from converters.source_graphs.registry import source_graph, source_net

from .own_graph import own_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.conversion.identify import Identified, UserHints
    from converters.tensor import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """The source's network, run: ``inputs`` are what it was given, in the reference networks' order, and ``clip`` says
    so in words; ``values`` are its blocks' values by their names in the source framework. ``device`` is where the
    output's side will run."""

    net: SourceNet
    inputs: list[Any]
    clip: str
    values: Mapping[str, Any]
    device: str

    @property
    def logits(self) -> Any:
        """The logits of every clip; None of a backbone."""
        return self.mean_logits(self.values[self.net.output]) if "logits" in self.net.blocks else None

    def mean_logits(self, logits: Any) -> Any:
        """Logits ``[N, classes]``, averaged over frames that are images of their own, or over windows; those of regions
        are ``[K, classes]``."""
        if self.net.axes == "frames":
            return logits.reshape(len(self.inputs[0]), -1, logits.shape[1]).mean(axis=1)
        return logits.reshape(*logits.shape[:2], -1).mean(axis=2)


def with_usual_head_name(side: Identified) -> dict[str, Tensor]:
    """A source's tensors, with the head under its layout's usual name."""
    match, tensors = side.match, dict(side.checkpoint.tensors)
    if match.layout.naming.head:
        usual: dict[str, list[str]] = {}
        for slot in tensor_slots(load_layout(match.layout.name), match.variant, match.sizes, match.present):
            usual.setdefault(slot.canonical, []).append(slot.name)
        for own in match.slots:
            if own.name not in usual[own.canonical]:
                name = match.prefix + usual[own.canonical][0]
                tensors[name] = tensors.pop(match.file_name(own))._replace(name=name)
    return tensors


def build_source_net(
    side: Identified, tensors: Mapping[str, Tensor], hints: UserHints, *, headless: bool
) -> SourceNet:
    """The source's network, by its own file, then by what the user says of it and what the file stores beside the
    weights, and by default as its released files are. Raises `NoSourceNet` where there is none."""
    checkpoint = side.checkpoint
    if checkpoint.nodes and side.match.layout.format == "pytorch":
        return exported_net(checkpoint.local)
    recorded = ((checkpoint.provenance or {}).get("network") or {}).get("settings") or {}
    known = {*recorded, *checkpoint.declared, *hints.settings}
    if checkpoint.predict_net:
        net = described_net(checkpoint.predict_net, checkpoint.tensors)
    else:
        net = source_net(
            tensors,
            settings={name: value for name, value in side.info.settings.items() if name in known},
            inverse_std=hints.inverse_std,
            model=model_name_in(side.match.layout, side.info.as_data()),
            layout=side.match.layout.name,
        )
    if headless:
        blocks = {label: name for label, name in net.blocks.items() if not label.endswith("logits")}
        net = net.replace(blocks=blocks)
    return net


def exported_net(path: str) -> SourceNet:
    """The network of a model that PyTorch exported: only what goes in and what comes out have a meaning here."""
    graph = own_graph(path)
    return SourceNet(
        name="exported",
        framework="PyTorch",
        ops=(),
        inputs=dict.fromkeys(graph.inputs, ()),
        blocks={"logits": graph.logits},
        axes="frames" if len(graph.shape) == 4 else "NCTHW",
    )


def run_source_net(
    net: SourceNet, tensors: Mapping[str, Any], inputs: list[Any], origin: str
) -> dict[str, Any]:
    """Every block's value by its name in the source framework. ``origin`` is the file that a clip comes from, for
    errors."""
    from tempfile import TemporaryDirectory

    from converters.formats.onnx.runtime import run
    from converters.formats.onnx.writer import write_onnx

    outputs = list(dict.fromkeys(net.blocks.values()))
    feeds = dict(zip((*net.inputs, *net.states), fed_to(net, inputs), strict=True))
    with TemporaryDirectory(prefix="convert-verify-") as folder:
        path = os.path.join(folder, "source.onnx")
        with open(path, "wb") as out:
            write_onnx(out, source_graph(net, tensors, outputs=outputs))
        try:
            return run(path, feeds, outputs)
        except Refused as error:
            raise error.at(origin) from None


def fed_to(net: SourceNet, inputs: list[Any]) -> list[Any]:
    """Clips as a network takes them, with its order of axes, and the states before their first frame."""
    arrays = []
    for array in inputs:
        value = array
        if array.ndim == 5 and net.axes == "NTHWC":
            value = array.transpose(0, 2, 3, 4, 1)
        elif array.ndim == 5 and net.axes == "frames":
            value = array.transpose(0, 2, 1, 3, 4).reshape(-1, array.shape[1], *array.shape[3:])
        arrays.append(value.copy(order="C"))
    return arrays + [_zeros(shape, inputs[0]) for shape, _ in net.states.values()]


def _zeros(shape: tuple[int | str, ...], clip: Any) -> Any:
    """The zeros that a state is before the first frame of clips [N, C, T, H, W]."""
    import numpy

    sizes = dict(zip("NCTHW", clip.shape, strict=True))
    found = []
    for size in shape:
        axis, _, divisor = str(size).partition("/")
        found.append(-(-sizes[axis] // int(divisor or 1)) if isinstance(size, str) else size)
    return numpy.zeros(found, "<f4")
