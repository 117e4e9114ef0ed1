"""PaddlePaddle's operators in ONNX: those of PaddleVideo's networks, under their names in Paddle's operator
list (``paddle/phi/ops/yaml/ops.yaml``), whose arguments they have.

Facts from Paddle's kernels: ``temporal_shift`` takes the first channels from the frame before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_INT64, _DOUBLE = 7, 11
"""Element types by their numbers."""


def _conv(emit: Emitter, op: SourceOp) -> None:
    kernel = emit.shape(op.inputs[1])[2:]
    pads = [*op.args["paddings"]] * 2
    emit("Conv", op.inputs, op.outputs[0], kernel_shape=kernel, strides=op.args["strides"], pads=pads)


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """Inputs are Paddle's: the value, mean, variance, scale and bias."""
    value, mean, variance, scale, bias = op.inputs
    inputs = [value, scale, bias, mean, variance]
    emit("BatchNormalization", inputs, op.outputs[0], epsilon=op.args["epsilon"])


def _pool(emit: Emitter, op: SourceOp) -> None:
    kind = {"max": "MaxPool", "avg": "AveragePool"}[op.args["pooling_type"]]
    window = {"kernel_shape": op.args["kernel_size"], "strides": op.args["strides"]}
    if op.args.get("ceil_mode"):
        window["ceil_mode"] = 1
    emit(kind, op.inputs, op.outputs[0], **window, pads=[*op.args["paddings"]] * 2)


def _adaptive_pool(emit: Emitter, op: SourceOp) -> None:
    """To one value for each channel."""
    emit("GlobalAveragePool", op.inputs, op.outputs[0])


def _linear(emit: Emitter, op: SourceOp) -> None:
    """The last axis times a matrix ``[in, out]``, plus a bias."""
    value, weight, bias = op.inputs
    product = emit("MatMul", [value, weight], f"{op.outputs[0]}/product")
    emit("Add", [product, bias], op.outputs[0])


def _flatten(emit: Emitter, op: SourceOp) -> None:
    emit("Flatten", op.inputs, op.outputs[0], axis=op.args["start_axis"])


def _transpose(emit: Emitter, op: SourceOp) -> None:
    emit("Transpose", op.inputs, op.outputs[0], perm=op.args["perm"])


def _mean(emit: Emitter, op: SourceOp) -> None:
    emit("ReduceMean", [op.inputs[0], emit.integers(*op.args["axis"])], op.outputs[0], keepdims=1)


def _concat(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=op.args["axis"])


def _leaky_relu(emit: Emitter, op: SourceOp) -> None:
    emit("LeakyRelu", op.inputs, op.outputs[0], alpha=op.args["negative_slope"])


def _same(kind: str) -> Callable[[Emitter, SourceOp], None]:
    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, op.inputs, op.outputs[0])

    return write


def _temporal_shift(emit: Emitter, op: SourceOp) -> None:
    """Frames [N * ``seg_num``, C, H, W]: of ``channels``, the first ``shift_ratio`` of them come from the frame before,
    as many again from the frame after, zeros beyond a video's ends."""
    (value,), (output,), segments = op.inputs, op.outputs, op.args["seg_num"]
    first = int(op.args["channels"] * op.args["shift_ratio"])
    second = int(op.args["channels"] * 2 * op.args["shift_ratio"])

    def add(kind: str, inputs: list[str], name: str, **attributes: int | str) -> str:
        return emit(kind, inputs, f"{output}/{name}", **attributes)

    def part(of: str, start: int, end: int, axis: int, name: str) -> str:
        return add("Slice", [of, *(emit.integers(number) for number in (start, end, axis))], name)

    whole = add("Shape", [value], "whole")
    video = add(
        "Concat", [emit.integers(-1, segments), add("Shape", [value], "frame", start=1)], "shape", axis=0
    )
    videos = add("Reshape", [value, video], "videos")
    padded = add("Pad", [videos, emit.integers(0, 1, 0, 0, 0, 0, 1, 0, 0, 0)], "padded")
    pieces = [
        part(part(padded, start, start + segments, 1, f"from{start}"), low, high, 2, f"channels{start}")
        for start, low, high in ((0, 0, first), (2, first, second), (1, second, op.args["channels"]))
    ]
    emit("Reshape", [add("Concat", pieces, "shifted", axis=2), whole], output)


def _pack_output(emit: Emitter, op: SourceOp) -> None:
    """PaddleVideo's own, from its pipeline ``PackOutput``: of T frames those at ``linspace(0, T - 1, T // alpha)``
    rounded down, as numpy computes it: in float64, every place a multiple of the step but the last."""
    (value,), (output,) = op.inputs, op.outputs
    one = emit.integers(1)

    def add(kind: str, inputs: list[str], name: str, **attributes: int) -> str:
        return emit(kind, inputs, f"{output}/{name}", **attributes)

    def real(name: str) -> str:
        return emit("Cast", [name], f"{name}/double", to=_DOUBLE)

    def scalar(name: str, label: str) -> str:
        return add("Squeeze", [name], label)

    frames = add("Shape", [value], "frames", start=2, end=3)
    count = add("Div", [frames, emit.integers(op.args["alpha"])], "count")
    limits = [scalar(emit.integers(0), "first"), scalar(count, "end"), scalar(one, "by")]
    number = add("Range", limits, "number")
    last, gaps = add("Sub", [frames, one], "last"), add("Sub", [count, one], "gaps")
    step = add("Div", [real(last), real(add("Max", [gaps, one], "divisor"))], "step")
    place = add("Mul", [real(number), step], "place")
    rounded = add("Cast", [place], "rounded", to=_INT64)
    is_inner = add("Less", [number, add("Max", [gaps, one], "final")], "inner")
    emit("Gather", [value, add("Where", [is_inner, rounded, last], "index")], output, axis=2)


VOCABULARY = {
    "adaptive_avg_pool2d": _adaptive_pool,
    "add": _same("Add"),
    "batch_norm": _batch_norm,
    "concat": _concat,
    "conv2d": _conv,
    "conv3d": _conv,
    "flatten": _flatten,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "mean": _mean,
    "pack_output": _pack_output,
    "pool2d": _pool,
    "pool3d": _pool,
    "relu": _same("Relu"),
    "temporal_shift": _temporal_shift,
    "transpose": _transpose,
}
"""How each operator is written."""
