"""TensorFlow 1's operators in ONNX: those that kinetics-i3d consists of, batch norm as Sonnet builds it.

TensorFlow keeps clips as N, T, H, W, C and kernels as D, H, W, I, O. ONNX knows N, C, T, H, W only: a placeholder is
transposed once, every kernel where it is used, and all values in between are N, C, T, H, W. ``SAME_UPPER`` is
TensorFlow's rule for ``SAME``: as much padding as ``ceil(size / stride)`` outputs need for the actual input size, with
the smaller half before the first row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_PADDING = {"SAME": "SAME_UPPER", "VALID": "VALID"}
_AXES = {0: 0, 1: 2, 2: 3, 3: 4, 4: 1}
"""TensorFlow's axes of a clip in ONNX's order."""


def _placeholder(emit: Emitter, op: SourceOp) -> None:
    emit("Transpose", op.inputs, op.outputs[0], perm=[0, 4, 1, 2, 3])


def _conv3d(emit: Emitter, op: SourceOp) -> None:
    value, kernel = op.inputs
    turned = emit("Transpose", [kernel], f"{kernel}/OIDHW", perm=[4, 3, 0, 1, 2])
    sizes = emit.shape(kernel)[:3]
    emit(
        "Conv",
        [value, turned],
        op.outputs[0],
        kernel_shape=sizes,
        strides=op.args["strides"],
        auto_pad=_PADDING[op.args["padding"]],
    )


def _bias_add(emit: Emitter, op: SourceOp) -> None:
    value, bias = op.inputs
    wide = emit("Reshape", [bias, emit.integers(1, -1, 1, 1, 1)], f"{bias}/1C111")
    emit("Add", [value, wide], op.outputs[0])


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """(x - mean) rsqrt(variance + epsilon) + beta. The vectors are [C] or [1, 1, 1, 1, C]."""
    value, *vectors = op.inputs
    mean, variance, beta = (emit("Reshape", [name, emit.integers(-1)], f"{name}/C") for name in vectors)
    scale = emit.floats(1, emit.shape(vectors[0])[-1])
    emit(
        "BatchNormalization",
        [value, scale, beta, mean, variance],
        op.outputs[0],
        epsilon=op.args["variance_epsilon"],
    )


def _max_pool3d(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    emit(
        "MaxPool",
        op.inputs,
        op.outputs[0],
        kernel_shape=args["ksize"],
        strides=args["strides"],
        auto_pad=_PADDING[args["padding"]],
    )


def _avg_pool3d(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    emit(
        "AveragePool",
        op.inputs,
        op.outputs[0],
        kernel_shape=args["ksize"],
        strides=args["strides"],
        auto_pad=_PADDING[args["padding"]],
    )


def _squeeze(emit: Emitter, op: SourceOp) -> None:
    """Remove height and width: [N, T, C] is left, again in TensorFlow's order."""
    axes = [_AXES[axis] for axis in op.args["axis"]]
    bare = emit("Squeeze", [op.inputs[0], emit.integers(*axes)], f"{op.outputs[0]}/NCT")
    emit("Transpose", [bare], op.outputs[0], perm=[0, 2, 1])


def _concat(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=_AXES[op.args["axis"]])


def _mean(emit: Emitter, op: SourceOp) -> None:
    """Over an axis of what `_squeeze` left."""
    emit("ReduceMean", [op.inputs[0], emit.integers(op.args["axis"])], op.outputs[0], keepdims=0)


def _relu(emit: Emitter, op: SourceOp) -> None:
    emit("Relu", op.inputs, op.outputs[0])


VOCABULARY = {
    "AvgPool3D": _avg_pool3d,
    "BatchNorm": _batch_norm,
    "BiasAdd": _bias_add,
    "ConcatV2": _concat,
    "Conv3D": _conv3d,
    "MaxPool3D": _max_pool3d,
    "Mean": _mean,
    "Placeholder": _placeholder,
    "Relu": _relu,
    "Squeeze": _squeeze,
}
"""How each operator is written."""
