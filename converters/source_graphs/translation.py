"""Source networks in ONNX: the translation of a list of a source framework's operators."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.formats.graph import Graph, Node
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .net import SourceNet, SourceOp

    Vocabulary = Mapping[str, Callable[["Emitter", SourceOp], None]]
    """How each operator of a framework is written in ONNX, by its name."""


class Emitter:
    """Takes the nodes of a graph that is being made."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.nodes: list[Node] = []
        self.constants: dict[str, Tensor] = {}

    def __call__(
        self, kind: str, inputs: Sequence[str], output: str, **attributes: int | float | str | Sequence[int]
    ) -> str:
        """Add a node of one output; returns the output's name."""
        self.nodes.append(Node(kind, tuple(inputs), (output,), attributes))
        return output

    def integers(self, *values: int) -> str:
        """The name of a constant int64 vector."""
        name = f"int64/{'_'.join(map(str, values))}"
        data = struct.pack(f"<{len(values)}q", *values)
        return self._constant(Tensor(name, "int64", (len(values),), Held(data)))

    def floats(self, value: float, count: int = 1) -> str:
        """The name of a constant float32 vector of one value."""
        name = f"float32/{value!r}/{count}"
        return self._constant(Tensor(name, "float32", (count,), Held(struct.pack("<f", value) * count)))

    def vector(self, name: str, values: Sequence[float]) -> str:
        """A constant float32 vector with a name of its own; returns the name."""
        data = struct.pack(f"<{len(values)}f", *values)
        return self._constant(Tensor(name, "float32", (len(values),), Held(data)))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a source tensor."""
        return self.tensors[name].shape

    def _constant(self, tensor: Tensor) -> str:
        self.constants[tensor.name] = tensor
        return tensor.name


def translate(
    net: SourceNet,
    vocabulary: Vocabulary,
    tensors: Mapping[str, Tensor],
    *,
    outputs: Sequence[str] = (),
) -> Graph:
    """The ONNX graph of a source network over ``tensors``, of which it holds what it reads.

    ``outputs`` are the values that it gives, by default the logits and the states after them. A value that is written
    more than once has its name once it is final; before that it is ``NAME#0``, ``NAME#1`` ...

    Raises `Refused` for an operator that the vocabulary does not have, and for one that reads a value that no operator
    wrote.
    """
    emit = Emitter(tensors)
    last = {output: place for place, op in enumerate(net.ops) for output in op.outputs}
    current = {name: name for name in (*net.inputs, *net.states, *tensors)}
    versions: dict[str, int] = {}
    read: dict[str, Tensor] = {}
    for place, op in enumerate(net.ops):
        if op.kind not in vocabulary:
            raise Refused(
                f"the {net.framework} operator {op.kind} has no translation to ONNX",
                where=op.outputs[0] if op.outputs else "",
                hint=f"known are {', '.join(sorted(vocabulary))}",
            )
        for name in op.inputs:
            if name not in current:
                raise Refused(f"the {net.framework} operator {op.kind} reads {name}, which nothing wrote")
            if current[name] == name and name in tensors:
                read[name] = tensors[name]
        names = []
        for output in op.outputs:
            if last[output] == place:
                names.append(output)
            else:
                names.append(f"{output}#{versions.get(output, 0)}")
                versions[output] = versions.get(output, 0) + 1
        vocabulary[op.kind](
            emit, op._replace(inputs=tuple(current[name] for name in op.inputs), outputs=tuple(names))
        )
        current.update(zip(op.outputs, names, strict=True))
    return Graph(
        name=net.name,
        nodes=tuple(emit.nodes),
        inputs={**net.inputs, **{name: shape for name, (shape, _) in net.states.items()}},
        outputs=tuple(outputs) or (net.output, *(after for _, after in net.states.values())),
        weights=read,
        constants=emit.constants,
    )
