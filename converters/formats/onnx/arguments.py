"""Which inputs of ONNX's operators say how something is done: shapes, axes, indices, limits. They are not weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from converters.formats.graph import Node

ARGUMENTS = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Pad": (1, 2, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "OneHot": (1, 2),
    "TopK": (1,),
    "Range": (0, 1, 2),
    "Clip": (1, 2),
    "CenterCropPad": (1,),
    "AffineGrid": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Trilu": (1,),
    "NonMaxSuppression": (2, 3, 4),
    "Dropout": (1, 2),
    "Loop": (0, 1),
    "If": (0,),
} | dict.fromkeys(
    (
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
    ),
    (1,),
)
"""The places of such inputs, by operator."""


def arguments(nodes: Iterable[Node]) -> set[str]:
    """The names that the graph uses only to say how something is done."""
    how: set[str] = set()
    what: set[str] = set()
    for node in nodes:
        places = ARGUMENTS.get(node.kind, ())
        for place, name in enumerate(node.inputs):
            (how if place in places else what).add(name)
    return how - what
