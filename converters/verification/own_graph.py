"""The network that an ONNX file itself holds, run as it is in onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError, Refused
from converters.formats.onnx.runtime import require_onnx, run
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class OwnGraph(Record):
    """An ONNX model: the names of its ``inputs`` to feed, of the values that its nodes compute, and of its first
    ``output``. Where that is what a Softmax gives, ``before_softmax`` is what it takes, else "". ``shape`` is that of
    the first input, 0 where any size fits."""

    path: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    values: frozenset[str]
    output: str
    before_softmax: str

    @property
    def logits(self) -> str:
        """The output, or what a Softmax makes probabilities of."""
        return self.before_softmax or self.output

    @property
    def clip_size(self) -> tuple[int, ...] | None:
        """Frames, height and width of the clips that it takes; None where it takes several sizes."""
        size = self.shape[2:]
        return size if len(size) == 3 and all(size) else None

    def run(self, arrays: Sequence[Any], wanted: Sequence[str]) -> dict[str, Any]:
        """The values ``wanted`` for ``arrays`` as inputs, in order. Raises `Refused` where onnxruntime cannot load the
        model or run it on them, and where `logits` are wanted of which its Softmax makes something other than
        the probabilities of the classes."""
        if len(arrays) != len(self.inputs):
            raise Refused(
                f"its graph takes {len(self.inputs)} inputs, its network {len(arrays)}", path=self.path
            )
        model = _load(self.path)
        _take_any_number(model.graph, self.inputs)
        listed = {value.name for value in model.graph.output}
        for name in wanted:
            if name not in listed:
                model.graph.output.add().name = name
        feeds = dict(zip(self.inputs, arrays, strict=True))
        if self.before_softmax not in wanted:
            return run(model.SerializeToString(), feeds, wanted, named=self.path)
        values = run(model.SerializeToString(), feeds, [*wanted, self.output], named=self.path)
        _require_probabilities(values[self.before_softmax], values[self.output], self.path)
        return values


def own_graph(path: str) -> OwnGraph:
    """The graph of an ONNX file. Raises `Refused` for one without outputs."""
    graph = _load(path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    if not graph.output:
        raise Refused("its graph has no output", path=path)
    output, before = graph.output[0].name, ""
    if output in made_by and made_by[output].op_type == "Softmax" and not made_by[output].domain:
        before = made_by[output].input[0]
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    return OwnGraph(
        path=path,
        inputs=tuple(value.name for value in inputs),
        shape=tuple(size.dim_value for size in inputs[0].type.tensor_type.shape.dim) if inputs else (),
        values=frozenset(made_by),
        output=output,
        before_softmax=before,
    )


def _require_probabilities(logits: Any, given: Any, path: str) -> None:
    """Raise `Refused` where these are not the probabilities of the classes, the second axis of ``logits``."""
    import numpy

    with numpy.errstate(all="ignore"):  # of Inf and NaN, which are reported with the block
        exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        right = exponentials / exponentials.sum(axis=1, keepdims=True)
    if not numpy.allclose(right, given, rtol=0, atol=1e-5, equal_nan=True):
        raise Refused("its graph ends with a Softmax, but not over the classes", path=path)


def own_blocks(graph: OwnGraph, blocks: Mapping[str, str]) -> dict[str, str]:
    """The blocks of a source network that a file's graph computes under their names. Logits are there in any case:
    they are what the graph gives, whatever else in it has their name."""
    found = {label: name for label, name in blocks.items() if name in graph.values}
    last = list(blocks)[-1]
    return found if last in found and last != "logits" else {**found, last: graph.logits}


def _take_any_number(graph: Any, inputs: Sequence[str]) -> None:
    """Let a model that was exported with one clip take several. Other sizes may be part of what its nodes compute."""
    del graph.value_info[:]
    values = [value for value in graph.input if value.name in inputs]  # old models list their weights too
    for value in (*values, *graph.output):
        for size in value.type.tensor_type.shape.dim[:1]:
            size.dim_param = f"{value.name}_0"


def _load(path: str) -> Any:
    try:
        return require_onnx().load(path)
    except Exception as error:  # of protobuf, of onnx, of the system
        if isinstance(error, ConverterError):
            raise
        raise Refused(
            "onnx cannot load the model", path=path, where=str(error).splitlines()[0][:200]
        ) from None
