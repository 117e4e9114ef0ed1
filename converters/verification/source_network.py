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
from converters.source_graphs.registry import source_graph, source_net

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.conversion.identify import Identified, UserHints
    from converters.formats.graph import Node
    from converters.source_graphs.net import SourceNet
    from converters.tensor import Tensor

    NodeKey = tuple[str, tuple[str, ...], tuple[str, ...], tuple[object, ...]]


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
        usual_slots = tensor_slots(load_layout(match.layout.name), match.variant, match.sizes, match.present)
        for own, usual in zip(match.slots, usual_slots, strict=True):
            if own.name != usual.name:
                name = match.prefix + usual.name
                tensors[name] = tensors.pop(match.file_name(own))._replace(name=name)
    return tensors


def build_source_net(
    side: Identified, tensors: Mapping[str, Tensor], hints: UserHints, *, headless: bool
) -> SourceNet:
    """The source's network, by its own file, then by what the user says of it and what the file stores beside the
    weights, and by default as its released files are. Raises `NoSourceNet` where there is none."""
    checkpoint = side.checkpoint
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
        )
    if headless:
        blocks = {label: name for label, name in net.blocks.items() if not label.endswith("logits")}
        net = net.replace(blocks=blocks)
    return net


def run_source_net(
    net: SourceNet, tensors: Mapping[str, Any], inputs: list[Any], origin: str
) -> dict[str, Any]:
    """Every block's value by its name in the source framework. ``origin`` is the file that a clip comes from, for
    errors."""
    from tempfile import TemporaryDirectory

    from converters.formats.onnx.runtime import run
    from converters.formats.onnx.writer import write_onnx

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


def graph_difference(source: Identified, output: Identified, net: SourceNet) -> str:
    """In words, the first node of the output's ONNX graph that differs from the one this tool writes; empty where none
    does."""
    tensors, info = source.checkpoint.tensors, source.info
    nets = [net]
    if source.checkpoint.predict_net is not None:  # the output may have been written from the weights alone
        nets.append(source_net(tensors, settings=info.settings))
    nodes = [_node_key(node) for node in output.checkpoint.nodes if node.kind != "Constant"]
    differences = [
        _first_difference(nodes, [_node_key(node) for node in source_graph(each, tensors).nodes])
        for each in nets
    ]
    return differences[0] if all(differences) else ""


def _first_difference(nodes: list[NodeKey], expected: list[NodeKey]) -> str:
    for node, other in zip(nodes, expected, strict=False):
        if node != other:
            return f"the node {node[0]} of {', '.join(node[2])} is different"
    return f"{len(nodes)} nodes instead of {len(expected)}" if len(nodes) != len(expected) else ""


def _node_key(node: Node) -> NodeKey:
    """A node in comparable form, its numbers rounded as a file stores them."""
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
