"""Source-side graphs over arrays, written, checked by onnx and run by onnxruntime."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from converters.formats.onnx.runtime import run
from converters.formats.onnx.writer import write_onnx
from converters.source_graphs.registry import source_graph, source_net
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.formats.graph import Graph
    from converters.source_graphs.net import SourceNet


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays as lazy tensors."""
    return {
        name: Tensor(
            name, str(array.dtype), array.shape, Held(memoryview(np.ascontiguousarray(array)).cast("B"))
        )
        for name, array in arrays.items()
    }


def written(graph: Graph) -> bytes:
    """The file of a graph, which must pass onnx's full check."""
    out = io.BytesIO()
    write_onnx(out, graph)
    onnx.checker.check_model(out.getvalue(), full_check=True)
    return out.getvalue()


def computed(
    arrays: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], **choices: Any
) -> tuple[SourceNet, dict[str, np.ndarray]]:
    """A source network over its arrays, and all its blocks' values."""
    held = tensors(arrays)
    net = source_net(held, **choices)
    outputs = list(dict.fromkeys(net.blocks.values()))
    return net, run(written(source_graph(net, held, outputs=outputs)), inputs, outputs)
