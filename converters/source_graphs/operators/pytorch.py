"""PyTorch's modules and functions in ONNX: those that networks over frames consist of.

Clips are [N, C, T, H, W]; their frames, images of their own, are [N * T, C, H, W].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_FLOAT = 1
_END = (1 << 63) - 1


def _same(kind: str) -> Callable[[Emitter, SourceOp], None]:
    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, op.inputs, op.outputs[0])

    return write


def _conv(emit: Emitter, op: SourceOp) -> None:
    """A convolution with the arguments ``stride`` and ``padding``, one for each axis, and perhaps ``groups``."""
    kernel = emit.shape(op.inputs[1])[2:]
    pads, strides, group = [*op.args["padding"]] * 2, [*op.args["stride"]], op.args.get("groups", 1)
    emit("Conv", op.inputs, op.outputs[0], kernel_shape=kernel, strides=strides, pads=pads, group=group)


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """Weight, bias, mean and variance, in ONNX's order too."""
    emit("BatchNormalization", op.inputs, op.outputs[0], epsilon=op.args["eps"])


def _max_pool(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    emit(
        "MaxPool",
        op.inputs,
        op.outputs[0],
        kernel_shape=args["kernel"],
        strides=args["stride"],
        pads=[*args["padding"]] * 2,
    )


def _average(emit: Emitter, op: SourceOp) -> None:
    """The means over all positions, [N, C]."""
    (output,) = op.outputs
    emit("Flatten", [emit("GlobalAveragePool", op.inputs, f"{output}/map")], output)


def _linear(emit: Emitter, op: SourceOp) -> None:
    emit("Gemm", op.inputs, op.outputs[0], transB=1)


def _softmax(emit: Emitter, op: SourceOp) -> None:
    emit("Softmax", op.inputs, op.outputs[0], axis=-1)


def _over_keys(emit: Emitter, op: SourceOp) -> None:
    """A matrix divided by the number of its columns."""
    (output,) = op.outputs
    keys = emit("Shape", op.inputs, f"{output}/keys", start=2, end=3)
    emit("Div", [op.inputs[0], emit("Cast", [keys], f"{output}/number", to=_FLOAT)], output)


def _matmul(emit: Emitter, op: SourceOp) -> None:
    """The product of [N, rows, columns], the first or the second transposed where that is said."""
    sides = []
    for place, name in enumerate(op.inputs):
        turned = f"{op.outputs[0]}/{place}"
        flips = place in op.args["transposed"]
        sides.append(emit("Transpose", [name], turned, perm=[0, 2, 1]) if flips else name)
    emit("MatMul", sides, op.outputs[0])


def _positions(emit: Emitter, op: SourceOp) -> None:
    """[N, C, ...] -> [N, C, positions]."""
    emit("Reshape", [op.inputs[0], emit.integers(0, 0, -1)], op.outputs[0])


def _like(emit: Emitter, op: SourceOp) -> None:
    """[N, C, positions] with another value's axes behind N and C."""
    value, other = op.inputs
    (output,) = op.outputs
    axes = emit("Shape", [other], f"{output}/axes", start=2)
    shape = emit("Concat", [emit.integers(0, 0), axes], f"{output}/shape", axis=0)
    emit("Reshape", [value, shape], output)


def _frames(emit: Emitter, op: SourceOp) -> None:
    """[N, C, T, H, W] -> [N * T, C, H, W]."""
    (value,), (output,) = op.inputs, op.outputs
    turned = emit("Transpose", [value], f"{output}/frames", perm=[0, 2, 1, 3, 4])
    image = emit("Shape", [turned], f"{output}/image", start=2)
    shape = emit("Concat", [emit.integers(-1), image], f"{output}/shape", axis=0)
    emit("Reshape", [turned, shape], output)


def _videos(emit: Emitter, value: str, clip: str, output: str, segments: int) -> str:
    """[N * T, ...] -> [N, T, ...]; T is the clip's, or ``segments``."""
    frames = emit.integers(segments) if segments else emit("Shape", [clip], f"{output}/T", start=2, end=3)
    image = emit("Shape", [value], f"{output}/image", start=1)
    shape = emit("Concat", [emit.integers(-1), frames, image], f"{output}/shape", axis=0)
    return emit("Reshape", [value, shape], f"{output}/videos")


def _clips(emit: Emitter, op: SourceOp) -> None:
    """[N * T, C, H, W] -> [N, C, T, H, W], T as in the clip."""
    value, clip = op.inputs
    videos = _videos(emit, value, clip, op.outputs[0], op.args.get("segments", 0))
    emit("Transpose", [videos], op.outputs[0], perm=[0, 2, 1, 3, 4])


def _mean_over_frames(emit: Emitter, op: SourceOp) -> None:
    """[N * T, classes] -> [N, classes]."""
    value, clip = op.inputs
    videos = _videos(emit, value, clip, op.outputs[0], 0)
    emit("ReduceMean", [videos, emit.integers(1)], op.outputs[0], keepdims=0)


def _temporal_shift(emit: Emitter, op: SourceOp) -> None:
    """Frames, of whose channels the first ``fold`` are the next frame's and as many after them the previous one's, or
    the other way round where not ``next_first``; zeros where there is no such frame."""
    value, clip = op.inputs
    (output,), fold = op.outputs, op.args["fold"]
    videos = _videos(emit, value, clip, output, op.args["segments"])

    def cut(name: str, start: int, end: int, axis: int, label: str) -> str:
        places = [emit.integers(number) for number in (start, end, axis)]
        return emit("Slice", [name, *places], f"{output}/{label}")

    groups = [cut(videos, 0, fold, 2, "first"), cut(videos, fold, 2 * fold, 2, "second")]
    moved = []
    for place, group in enumerate(groups):
        ahead = (place == 0) == op.args["next_first"]
        kept = cut(group, 1, _END, 1, f"{place}/kept") if ahead else cut(group, 0, -1, 1, f"{place}/kept")
        before, after = (0, 1) if ahead else (1, 0)
        pads = emit.integers(0, before, 0, 0, 0, 0, after, 0, 0, 0)
        moved.append(emit("Pad", [kept, pads], f"{output}/{place}/shifted"))
    rest = cut(videos, 2 * fold, _END, 2, "rest")
    whole = emit("Concat", [*moved, rest], f"{output}/shifted", axis=2)
    emit("Reshape", [whole, emit("Shape", [value], f"{output}/whole")], output)


VOCABULARY = {
    "add": _same("Add"),
    "average": _average,
    "average_map": _same("GlobalAveragePool"),
    "batch_norm": _batch_norm,
    "clips": _clips,
    "conv": _conv,
    "frames": _frames,
    "like": _like,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "mean_over_frames": _mean_over_frames,
    "mul": _same("Mul"),
    "over_keys": _over_keys,
    "positions": _positions,
    "relu": _same("Relu"),
    "sigmoid": _same("Sigmoid"),
    "softmax": _softmax,
    "temporal_shift": _temporal_shift,
}
"""How each operator is written."""
