"""TensorFlow 2's operators and the layers of its model garden that MoViNet consists of, in ONNX.

As in `channels_last`, all values between are N, C, T, H, W. Images of a clip, [N T, H, W, C] in TensorFlow, stay a clip
whose kernels have one frame.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from . import channels_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_LAST = (1 << 31) - 1


def _convolve_frames(emit: Emitter, op: SourceOp) -> None:
    """A kernel H, W, I, O over every frame."""
    _over_frames(emit, op, [3, 2, 0, 1], 1)


def _depthwise(emit: Emitter, op: SourceOp) -> None:
    """A kernel H, W, C, 1 over every frame."""
    _over_frames(emit, op, [2, 3, 0, 1], emit.shape(op.inputs[1])[2])


def _over_frames(emit: Emitter, op: SourceOp, order: Sequence[int], groups: int) -> None:
    value, kernel = op.inputs
    turned = emit("Transpose", [kernel], f"{kernel}/OIHW", perm=order)
    wide = emit("Unsqueeze", [turned, emit.integers(2)], f"{kernel}/OI1HW")
    emit(
        "Conv",
        [value, wide],
        op.outputs[0],
        kernel_shape=(1, *emit.shape(kernel)[:2]),
        strides=(1, *op.args["strides"]),
        auto_pad=channels_last.PADDING[op.args["padding"]],
        group=groups,
    )


def _temporal(emit: Emitter, op: SourceOp) -> None:
    """A kernel T, 1, C, 1 over frames, which the first ones have had put before them."""
    value, kernel = op.inputs
    frames, _, channels, _ = emit.shape(kernel)
    turned = emit("Transpose", [kernel], f"{kernel}/CIT1", perm=[2, 3, 0, 1])
    wide = emit("Unsqueeze", [turned, emit.integers(4)], f"{kernel}/CIT11")
    emit("Conv", [value, wide], op.outputs[0], kernel_shape=(frames, 1, 1), group=channels)


def _normalise(emit: Emitter, op: SourceOp) -> None:
    """Of gamma, beta, mean and variance."""
    emit("BatchNormalization", op.inputs, op.outputs[0], epsilon=op.args["epsilon"])


def _relu6(emit: Emitter, op: SourceOp) -> str:
    """relu6(x + 3)."""
    name = op.outputs[0]
    shifted = emit("Add", [op.inputs[0], emit.floats(3)], f"{name}/shifted")
    return emit("Min", [emit("Relu", [shifted], f"{name}/relu"), emit.floats(6)], f"{name}/relu6")


def _hard_swish(emit: Emitter, op: SourceOp) -> None:
    """x relu6(x + 3) / 6."""
    product = emit("Mul", [op.inputs[0], _relu6(emit, op)], f"{op.outputs[0]}/product")
    emit("Mul", [product, emit.floats(1 / 6)], op.outputs[0])


def _hard_sigmoid(emit: Emitter, op: SourceOp) -> None:
    """Keras's, 0.2 x + 0.5 from 0 to 1, or the garden's, relu6(x + 3) times the slope."""
    if op.args["slope"] == 0.2:
        emit("HardSigmoid", op.inputs, op.outputs[0], alpha=0.2, beta=0.5)
    else:
        emit("Mul", [_relu6(emit, op), emit.floats(op.args["slope"])], op.outputs[0])


def _all_positions(emit: Emitter, op: SourceOp) -> None:
    emit("ReduceMean", [op.inputs[0], emit.integers(2, 3, 4)], op.outputs[0], keepdims=1)


def _each_frame(emit: Emitter, op: SourceOp) -> None:
    emit("ReduceMean", [op.inputs[0], emit.integers(3, 4)], op.outputs[0], keepdims=1)


def _squeeze(emit: Emitter, op: SourceOp) -> None:
    emit("Squeeze", [op.inputs[0], emit.integers(2, 3, 4)], op.outputs[0])


def _buffer(emit: Emitter, op: SourceOp) -> None:
    """Earlier frames and a clip's; and the last ``frames`` of them."""
    joined = emit("Concat", op.inputs, op.outputs[0], axis=2)
    _last(emit, joined, op.outputs[1], op.args["frames"])


def _last(emit: Emitter, value: str, name: str, frames: int) -> None:
    bounds = [emit.integers(-frames), emit.integers(_LAST), emit.integers(2)]
    emit("Slice", [value, *bounds], name)


def _so_far(emit: Emitter, op: SourceOp) -> None:
    """For every frame the mean of it and all before it; and the sum after the last."""
    value, buffer, frames = op.inputs
    name, after = op.outputs
    own = emit("CumSum", [value, emit.integers(2)], f"{name}/own")
    sums = emit("Add", [own, buffer], f"{name}/sums")
    _last(emit, sums, after, 1)
    counts = emit("Add", [_numbers(emit, value, frames, name), emit.floats(1)], f"{name}/counts")
    emit("Div", [sums, counts], name)


def _mean_of_all(emit: Emitter, op: SourceOp) -> None:
    """The mean of all frames so far; and their sum."""
    value, buffer, frames = op.inputs
    name, after = op.outputs
    own = emit("ReduceSum", [value, emit.integers(2)], f"{name}/own", keepdims=1)
    total = emit("Add", [own, buffer], after)
    emit("Div", [total, emit("Add", [_length(emit, value, name), frames], f"{name}/count")], name)


def _count(emit: Emitter, op: SourceOp) -> None:
    """The frames so far, after a clip's."""
    value, frames = op.inputs
    emit("Add", [frames, _length(emit, value, op.outputs[0])], op.outputs[0])


def _encode(emit: Emitter, op: SourceOp) -> None:
    """Add the sinusoidal encoding of each frame's number, times a factor."""
    value, frames, factor = op.inputs
    name, channels = op.outputs[0], op.args["channels"]
    angles = [_float32(1 / _float32(10_000 ** _float32(at // 2 * 2 / channels))) for at in range(channels)]
    numbers = _numbers(emit, value, frames, name)
    halves = []
    for kind, half in (("Sin", angles[0::2]), ("Cos", angles[1::2])):
        angles_of = emit.vector(f"{name}/{kind}/float32", half)
        column = emit("Reshape", [angles_of, emit.integers(1, -1, 1, 1, 1)], f"{name}/{kind}/angles")
        radians = emit("Mul", [numbers, column], f"{name}/{kind}/radians")
        halves.append(emit(kind, [radians], f"{name}/{kind}"))
    encoding = emit("Concat", halves, f"{name}/encoding", axis=1)
    emit("Add", [value, emit("Mul", [encoding, factor], f"{name}/scaled")], name)


def _numbers(emit: Emitter, value: str, frames: str, name: str) -> str:
    """The numbers of a clip's frames, [1, 1, T, 1, 1]."""
    zero, one = (emit("Squeeze", [emit.integers(at)], f"{name}/int{at}") for at in (0, 1))
    length = emit("Squeeze", [emit("Shape", [value], f"{name}/T1", start=2, end=3)], f"{name}/T")
    count = emit("Cast", [emit("Range", [zero, length, one], f"{name}/range")], f"{name}/from0", to=1)
    wide = emit("Reshape", [count, emit.integers(1, 1, -1, 1, 1)], f"{name}/places")
    return emit("Add", [wide, frames], f"{name}/numbers")


def _length(emit: Emitter, value: str, name: str) -> str:
    """How many frames a clip has, without axes."""
    length = emit("Squeeze", [emit("Shape", [value], f"{name}/T1", start=2, end=3)], f"{name}/T")
    return emit("Cast", [length], f"{name}/frames", to=1)


def _float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


VOCABULARY = {
    "AddV2": channels_last.elementwise("Add"),
    "AverageSoFar": _mean_of_all,
    "Conv2D": _convolve_frames,
    "CountFrames": _count,
    "CumulativeAverage": _so_far,
    "DepthwiseConv2dNative": _depthwise,
    "FusedBatchNormV3": _normalise,
    "GlobalAveragePool3D": _all_positions,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Mul": channels_last.elementwise("Mul"),
    "PositionalEncoding": _encode,
    "Sigmoid": channels_last.elementwise("Sigmoid"),
    "SpatialAveragePool3D": _each_frame,
    "Squeeze3D": _squeeze,
    "StreamBuffer": _buffer,
    "TemporalConv2D": _temporal,
}
"""How each operator is written."""
